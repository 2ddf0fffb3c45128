/** An upstream that keeps every byte it received, as it came, and answers as it is told. Real sockets, real TLS. */
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type tls from 'node:tls'
import type { TestAuthority } from './test-authority.ts'
import { Wire } from './wire.ts'

export interface RecordedRequest {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly headers: http.IncomingHttpHeaders
  body: Buffer
}

/** Once the whole request is there. */
const answerOk: RequestListener = (request, response) => {
  request.once('end', () => response.end('ok'))
  request.resume()
}

export class RecordingUpstream {
  readonly requests: RecordedRequest[] = []
  /** All bytes received on all connections, decrypted, in order of arrival. */
  readonly chunks: Buffer[] = []
  connections = 0
  /** Open connections. */
  readonly sockets = new Set<Socket>()
  readonly server: http.Server | https.Server
  /** False: bytes and requests are not kept, for bodies that would not fit. */
  recording = true
  readonly #initial: RequestListener
  #answer: RequestListener
  #raw: ((wire: Wire) => unknown) | null = null

  private constructor(server: http.Server | https.Server, answer: RequestListener) {
    this.server = server
    this.#initial = answer
    this.#answer = answer
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#take(request, response))
    const opened = server instanceof https.Server ? 'secureConnection' : 'connection'
    const serve = server.listeners(opened) as ((this: unknown, socket: Socket) => void)[]
    server.removeAllListeners(opened)
    server.on(opened, (socket: Socket) => {
      this.connections += 1
      this.sockets.add(socket)
      socket.once('close', () => this.sockets.delete(socket))
      socket.on('error', () => undefined)
      if (this.#raw === null) for (const each of serve) each.call(server, socket)
      else void this.#raw(new Wire(socket))
      // After the server's own: Node's parser reads the handle itself until someone listens, and then nothing is seen.
      socket.prependListener('data', (chunk: Buffer) => {
        if (this.recording) this.chunks.push(Buffer.from(chunk))
      })
    })
  }

  /** Answers `200 ok` unless told otherwise. Without an authority it speaks plain HTTP. */
  static async start(
    options: {
      authority?: TestAuthority
      host?: string
      answer?: RequestListener
      tlsOptions?: tls.TlsOptions
      port?: number
    } = {},
  ): Promise<RecordingUpstream> {
    const { authority, host = 'api.test' } = options
    const server =
      authority === undefined
        ? http.createServer()
        : https.createServer({
            ...options.tlsOptions,
            SNICallback: (name, done) => {
              void contextInto(authority, name === '' ? host : name, done)
            },
          })
    if (authority !== undefined) (server as https.Server).addContext(host, await authority.contextFor(host))
    const upstream = new RecordingUpstream(server, options.answer ?? answerOk)
    await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
    return upstream
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get last(): RecordedRequest {
    const last = this.requests.at(-1)
    if (last === undefined) throw new Error('the upstream received no request')
    return last
  }

  answerWith(answer: RequestListener): void {
    this.#answer = answer
  }

  /** New connections get no HTTP server but this: what it writes is what goes out. */
  takeRaw(serve: (wire: Wire) => unknown): void {
    this.#raw = serve
  }

  /** As new: closes every connection, forgets what was received and answers as at the start. */
  clear(): void {
    for (const socket of this.sockets) socket.destroy()
    this.#raw = null
    this.#answer = this.#initial
    this.recording = true
    this.requests.length = 0
    this.chunks.length = 0
    this.connections = 0
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      target: request.url ?? '',
      rawHeaders: request.rawHeaders,
      headers: request.headers,
      body: Buffer.alloc(0),
    }
    this.requests.push(recorded)
    if (this.recording) {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        recorded.body = Buffer.concat(chunks)
      })
    }
    this.#answer(request, response)
  }
}

async function contextInto(
  authority: TestAuthority,
  host: string,
  done: (error: Error | null, context?: tls.SecureContext) => void,
): Promise<void> {
  try {
    done(null, await authority.contextFor(host))
  } catch (error) {
    done(error as Error)
  }
}
