/** A server that answers what a test tells it, in order, and keeps what it was asked. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Scripted {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON. */
  readonly body?: string | object
}
/** `cut` ends the connection without an answer; `hang` never answers. */
export type Turn = Scripted | 'cut' | 'hang'

export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export class ScriptedServer {
  readonly asked: Asked[] = []
  readonly url: string
  readonly #server: Server

  private constructor(server: Server, asked: Asked[]) {
    this.#server = server
    this.asked = asked
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** The last turn is for all that comes after it. */
  static async start(...turns: readonly Turn[]): Promise<ScriptedServer> {
    const asked: Asked[] = []
    const server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const turn = turns[Math.min(asked.length, turns.length - 1)] ?? 'cut'
        asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
        if (turn === 'hang') return
        if (turn === 'cut') return void request.socket.destroy()
        const text = typeof turn.body === 'string' ? turn.body : JSON.stringify(turn.body ?? {})
        response.writeHead(turn.status, turn.headers).end(turn.status === 204 ? '' : text)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new ScriptedServer(server, asked)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
