/**
 * An upstream that speaks HTTP/2, or also HTTP/1.1 where it is told to, over real TLS with ALPN. It keeps what it was
 * asked as raw fields, and answers as it is told; in raw mode a test writes the frames itself.
 */
import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import http2, { type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { H2Wire } from './h2-wire.ts'
import type { TestAuthority } from './test-authority.ts'

export interface H2Request {
  /** Raw pairs, pseudo-header fields included. */
  readonly fields: readonly string[]
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly stream: ServerHttp2Stream
  body: Buffer
  trailers: readonly string[]
}

export type H2Answer = (request: H2Request) => void

/** Once the whole request is there. */
const answerOk: H2Answer = ({ stream }) => {
  stream.once('end', () => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
}

export class H2Upstream {
  readonly requests: H2Request[] = []
  /** Connections, and what each agreed on. */
  readonly protocols: (string | false | null)[] = []
  readonly sockets = new Set<TLSSocket>()
  /** Bytes of request bodies are kept. */
  recording = true
  settings: http2.Settings = {}
  readonly #server: tls.Server
  readonly #h1 = http.createServer()
  #authority: TestAuthority | null = null
  #answer: H2Answer = answerOk
  #raw: ((wire: H2Wire) => unknown) | null = null

  private constructor(protocols: readonly string[]) {
    this.#server = tls.createServer({
      ALPNProtocols: [...protocols],
      SNICallback: (name, done) => {
        void this.#contextInto(name, done)
      },
    })
    this.#server.on('tlsClientError', () => undefined)
    this.#server.on('secureConnection', (socket) => this.#serve(socket))
    this.#h1.on('request', (_request, response) => response.end('ok over HTTP/1.1'))
  }

  /** Speaks h2 alone unless told otherwise. It needs an authority before it is connected to. */
  static async start(protocols: readonly string[] = ['h2']): Promise<H2Upstream> {
    const upstream = new H2Upstream(protocols)
    upstream.#server.listen(0, '127.0.0.1')
    await once(upstream.#server, 'listening')
    return upstream
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get last(): H2Request {
    const last = this.requests.at(-1)
    if (last === undefined) throw new Error('the upstream received no request')
    return last
  }

  certifiedBy(authority: TestAuthority): void {
    this.#authority = authority
  }

  answerWith(answer: H2Answer): void {
    this.#answer = answer
  }

  answerH1With(answer: RequestListener): void {
    this.#h1.removeAllListeners('request').on('request', answer)
  }

  /** New connections get no HTTP server but this. */
  takeRaw(serve: (wire: H2Wire) => unknown): void {
    this.#raw = serve
  }

  /** As new: closes every connection, forgets what was received and answers as at the start. */
  clear(): void {
    for (const socket of this.sockets) socket.destroy()
    this.requests.length = 0
    this.protocols.length = 0
    this.recording = true
    this.settings = {}
    this.#answer = answerOk
    this.#raw = null
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async #contextInto(name: string, done: (error: Error | null, context?: tls.SecureContext) => void): Promise<void> {
    try {
      if (this.#authority === null) throw new Error('the upstream has no authority yet')
      done(null, await this.#authority.contextFor(name))
    } catch (error) {
      done(error as Error)
    }
  }

  #serve(socket: TLSSocket): void {
    this.protocols.push(socket.alpnProtocol)
    this.sockets.add(socket)
    socket.once('close', () => this.sockets.delete(socket))
    socket.on('error', () => undefined)
    if (this.#raw !== null) void this.#raw(new H2Wire(socket))
    else if (socket.alpnProtocol === 'h2') this.#serveH2(socket)
    else this.#h1.emit('connection', socket as Socket)
  }

  #serveH2(socket: TLSSocket): void {
    const session = http2.performServerHandshake(socket, { settings: this.settings, strictSingleValueFields: false })
    session.on('error', () => undefined)
    session.on('stream', (stream, headers, _flags, fields) => {
      stream.on('error', () => undefined)
      const request: H2Request = {
        fields,
        headers: headers as H2Request['headers'],
        stream,
        body: Buffer.alloc(0),
        trailers: [],
      }
      this.requests.push(request)
      stream.on('trailers', (_headers: unknown, _flags: unknown, trailers: string[]) => {
        request.trailers = trailers
      })
      if (this.recording) this.#record(request)
      this.#answer(request)
    })
  }

  #record(request: H2Request): void {
    const chunks: Buffer[] = []
    request.stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.stream.on('end', () => {
      request.body = Buffer.concat(chunks)
    })
  }
}
