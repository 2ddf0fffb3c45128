/**
 * An upstream on one port whose TLS changes from test to test: it presents what it is told, and keeps every application
 * byte it gets and every server name it was asked for. It answers each request `200 ok`.
 */
import { once } from 'node:events'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import tls, { TLSSocket } from 'node:tls'
import type { Holder } from './certificate-forge.ts'

export class TlsOrigin {
  /** Application data, decrypted. */
  received: Buffer = Buffer.alloc(0)
  /** Per finished handshake. */
  readonly handshakes: { servername: string | null; resumed: boolean; clientCertificate: boolean; protocol: string }[] =
    []
  /** True: every request needs a handshake of its own. */
  closeAfterAnswer = false
  /** TCP connections. */
  dials = 0
  readonly #server: Server
  readonly #open = new Set<Socket>()
  #options: tls.TlsOptions & tls.TLSSocketOptions = {}

  private constructor() {
    this.#server = net.createServer((socket) => this.#serve(socket))
  }

  static async start(): Promise<TlsOrigin> {
    const origin = new TlsOrigin()
    origin.#server.listen(0, '127.0.0.1')
    await once(origin.#server, 'listening')
    return origin
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** From now on; forgets what was received. */
  present(holder: Holder, options: tls.SecureContextOptions & tls.TLSSocketOptions = {}): void {
    const key = holder.privateKey.export({ format: 'pem', type: 'pkcs8' })
    const { requestCert, rejectUnauthorized, ...context } = options
    const secureContext = tls.createSecureContext({ key, cert: holder.chain, ...context })
    this.#options = {
      secureContext,
      ...(requestCert === undefined ? {} : { requestCert }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    }
    this.clear()
  }

  clear(): void {
    this.closeAfterAnswer = false
    for (const socket of this.#open) socket.destroy()
    this.received = Buffer.alloc(0)
    this.handshakes.length = 0
    this.dials = 0
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(socket: Socket): void {
    this.dials += 1
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
    socket.on('error', () => undefined)
    const secure = new TLSSocket(socket, { isServer: true, ...this.#options })
    secure.on('error', () => socket.destroy())
    secure.on('secure', () => this.#record(secure))
    let head = ''
    secure.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
      head += chunk.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      head = ''
      const last = this.closeAfterAnswer
      secure.write(`HTTP/1.1 200 OK\r\n${last ? 'Connection: close\r\n' : ''}Content-Length: 2\r\n\r\nok`)
      if (last) secure.end()
    })
  }

  #record(secure: TLSSocket): void {
    const { servername } = secure as TLSSocket & { servername?: string | false | null }
    this.handshakes.push({
      servername: typeof servername === 'string' ? servername : null,
      resumed: secure.isSessionReused(),
      clientCertificate: Object.keys(secure.getPeerCertificate()).length > 0,
      protocol: secure.getProtocol() ?? '',
    })
    if (this.#options.requestCert === true && this.#options.rejectUnauthorized === true && !secure.authorized) {
      secure.destroy()
    }
  }
}
