/** An upstream that keeps every byte it received, as it came, and answers as it is told. Real sockets, real TLS. */
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'
import type { TestAuthority } from './test-authority.ts'

export interface RecordedRequest {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly headers: http.IncomingHttpHeaders
  body: Buffer
}

export class RecordingUpstream {
  readonly requests: RecordedRequest[] = []
  /** All bytes received on all connections, decrypted, in order of arrival. */
  readonly chunks: Buffer[] = []
  connections = 0
  readonly server: http.Server | https.Server
  #answer: RequestListener

  private constructor(server: http.Server | https.Server, answer: RequestListener) {
    this.server = server
    this.#answer = answer
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#take(request, response))
    server.on(server instanceof https.Server ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.connections += 1
      const read = socket.push.bind(socket)
      // Sees what the parser sees: bytes are recorded as they are pushed into the stream.
      socket.push = (chunk: unknown, ...rest: [BufferEncoding?]) => {
        if (Buffer.isBuffer(chunk)) this.chunks.push(Buffer.from(chunk))
        return read(chunk, ...rest)
      }
      socket.on('error', () => undefined)
    })
  }

  /** Answers `200 ok` unless told otherwise. Without an authority it speaks plain HTTP. */
  static async start(
    options: { authority?: TestAuthority; host?: string; answer?: RequestListener; tlsOptions?: tls.TlsOptions } = {},
  ): Promise<RecordingUpstream> {
    const { authority, host = 'api.test' } = options
    const server =
      authority === undefined
        ? http.createServer()
        : https.createServer({
            ...options.tlsOptions,
            SNICallback: (name, done) => {
              authority.contextFor(name === '' ? host : name).then((context) => done(null, context), done)
            },
          })
    if (authority !== undefined) (server as https.Server).addContext(host, await authority.contextFor(host))
    const upstream = new RecordingUpstream(server, options.answer ?? ((_request, response) => response.end('ok')))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
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

  clear(): void {
    this.requests.length = 0
    this.chunks.length = 0
    this.connections = 0
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      target: request.url ?? '',
      rawHeaders: request.rawHeaders,
      headers: request.headers,
      body: Buffer.alloc(0),
    }
    this.requests.push(recorded)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      recorded.body = Buffer.concat(chunks)
    })
    await this.#answer(request, response)
  }
}
