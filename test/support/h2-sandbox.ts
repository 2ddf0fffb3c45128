/** What a sandbox does over HTTP/2: opens a tunnel, agrees on h2, and asks with exactly the fields a test wrote. */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { FRAME, frame, H2Wire, PREFACE } from './h2-wire.ts'
import type { Rig, RigSandbox } from './rig.ts'
import type { Answer } from './sandbox-client.ts'
import { openTls } from './sandbox-client.ts'

export interface H2Where {
  readonly host?: string
  readonly port?: number
  readonly sandbox?: RigSandbox
}

export interface H2Ask {
  readonly method?: string
  readonly path?: string
  /** Of the `:authority`; the tunnel's own unless given. */
  readonly authority?: string
  /** Raw pairs. */
  readonly headers?: readonly string[]
  readonly body?: Buffer | string
}

export interface H2Got extends Pick<Answer, 'status' | 'body' | 'error'> {
  /** Raw pairs. */
  readonly fields: readonly string[]
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly trailers: Readonly<Record<string, string | undefined>>
  readonly informational: readonly (readonly string[])[]
  /** The head ended the stream. */
  readonly endedWithHead: boolean
}

export class H2Sandbox {
  readonly session: ClientHttp2Session
  readonly #rig: Rig
  readonly #authority: string

  private constructor(rig: Rig, session: ClientHttp2Session, authority: string) {
    this.#rig = rig
    this.session = session
    this.#authority = authority
    session.on('error', () => undefined)
  }

  static async open(rig: Rig, where: H2Where = {}): Promise<H2Sandbox> {
    const { host = 'api.test', port = rig.upstream.port } = where
    const socket = await openTls(rig, host, { ...where, port, ALPNProtocols: ['h2'] })
    if (socket.alpnProtocol !== 'h2') throw new Error('the proxy did not agree on h2')
    const options = { createConnection: () => socket, strictSingleValueFields: false }
    const session = http2.connect(`https://${host}:${port}`, options)
    return new H2Sandbox(rig, session, `${host}:${port}`)
  }

  /** The stream of a request that has begun. */
  begin(ask: H2Ask = {}, endStream = true): ClientHttp2Stream {
    const { method = 'GET', path = '/', authority = this.#authority, headers = [] } = ask
    const pseudo = [':method', method, ':scheme', 'https', ':authority', authority, ':path', path]
    const stream = this.session.request([...pseudo, ...headers], { endStream })
    stream.on('error', () => undefined)
    return stream
  }

  /** One request; rejects when its stream is reset. */
  ask(ask: H2Ask = {}): Promise<H2Got> {
    const stream = this.begin(ask, ask.body === undefined)
    if (ask.body !== undefined) stream.end(ask.body)
    return this.answerTo(stream)
  }

  answerTo(stream: ClientHttp2Stream): Promise<H2Got> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      const informational: (readonly string[])[] = []
      let head: Pick<H2Got, 'fields' | 'headers' | 'endedWithHead'> | null = null
      let trailers = {}
      stream.on('headers', (_headers, _flags, raw) => informational.push(raw))
      stream.once('response', (headers, flags, fields) => {
        head = { fields, headers: headers as H2Got['headers'], endedWithHead: (flags & 1) === 1 }
      })
      stream.once('trailers', (fields: object) => {
        trailers = fields
      })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.once('close', () => {
        if (head === null || stream.rstCode !== 0) {
          reject(new Error(`the stream was reset: ${stream.rstCode}`))
          return
        }
        const body = Buffer.concat(chunks)
        this.#rig.seen.push(Buffer.from(JSON.stringify([head.fields, trailers, informational])), body)
        const ours = head.headers['coatcheck-error'] !== undefined && body.length > 0
        const error = ours ? (JSON.parse(body.toString()) as { error: H2Got['error'] }).error : null
        resolve({ ...head, status: Number(head.headers[':status']), body, trailers, informational, error })
      })
    })
  }

  close(): void {
    this.session.destroy()
  }
}

/** A connection whose frames a test writes itself; the preface and empty settings are sent. */
export async function openFrames(rig: Rig, where: H2Where = {}): Promise<H2Wire> {
  const { host = 'api.test', port = rig.upstream.port } = where
  const socket = await openTls(rig, host, { ...where, port, ALPNProtocols: ['h2'] })
  socket.removeAllListeners('close')
  const wire = new H2Wire(socket, false)
  wire.write(PREFACE, frame(FRAME.settings, 0, 0))
  return wire
}
