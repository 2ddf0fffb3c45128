/**
 * The proxy behind the proxy: speaks HTTP CONNECT (RFC 9110 9.3.6) and SOCKS5 (RFC 1928, RFC 1929) on one port, dials
 * 127.0.0.1 whatever the name, and keeps what it was told and every byte it carried.
 */
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { Wire } from './wire.ts'

const SOCKS_VERSION = 5
const NO_AUTHENTICATION = 0
const USER_AND_PASSWORD = 2
const DOMAIN_NAME = 3

export interface Carried {
  readonly protocol: 'connect' | 'socks5'
  /** `host:port`, as it was asked for. */
  readonly authority: string
  /** `user:password`, or null when none were sent. */
  readonly credentials: string | null
}

export class NextProxy {
  readonly carried: Carried[] = []
  /** Bytes from the side that asked, after the tunnel was open. */
  readonly sent: Buffer[] = []
  /** What a CONNECT is answered instead of being served; SOCKS refuses too. */
  refusal: string | null = null
  /** True: asks are taken and never answered. */
  silent = false
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor() {
    this.#server = net.createServer((socket) => {
      this.#track(socket)
      // An ask that breaks off is the other side's business.
      this.#serve(new Wire(socket), socket).catch(() => socket.destroy())
    })
  }

  static async start(): Promise<NextProxy> {
    const proxy = new NextProxy()
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections that are open to it, and from it. */
  get open(): number {
    return this.#sockets.size
  }

  clear(): void {
    this.carried.length = 0
    this.sent.length = 0
    this.refusal = null
    this.silent = false
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    this.clear()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async #serve(wire: Wire, socket: Socket): Promise<void> {
    const [first] = await wire.take(1)
    const asked = first === SOCKS_VERSION ? await socksAsk(wire) : await connectAsk(wire)
    this.carried.push(asked)
    if (this.silent) return
    const socks = asked.protocol === 'socks5'
    if (this.refusal !== null) {
      socket.end(socks ? Buffer.from([SOCKS_VERSION, 2, 0, 1, 0, 0, 0, 0, 0, 0]) : this.refusal)
      return
    }
    const onward = net.connect(Number(asked.authority.split(':').at(-1)), '127.0.0.1')
    this.#track(onward)
    await new Promise<void>((resolve, reject) => onward.once('connect', resolve).once('error', reject))
    wire.write(
      socks ? Buffer.from([SOCKS_VERSION, 0, 0, 1, 127, 0, 0, 1, 0, 0]) : 'HTTP/1.1 200 Connection Established\r\n\r\n',
    )
    socket.on('data', (chunk: Buffer) => this.sent.push(chunk))
    socket.pipe(onward).pipe(socket)
    socket.once('close', () => onward.destroy())
    onward.once('close', () => socket.destroy())
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => this.#sockets.delete(socket))
  }
}

async function connectAsk(wire: Wire): Promise<Carried> {
  const text = await wire.upTo('\r\n\r\n')
  const basic = /^proxy-authorization: Basic (.*)$/im.exec(text)?.[1]
  const credentials = basic === undefined ? null : Buffer.from(basic.trim(), 'base64').toString('utf8')
  return { protocol: 'connect', authority: text.split(' ')[1] as string, credentials }
}

async function socksAsk(wire: Wire): Promise<Carried> {
  const methods = await wire.take((await wire.take(1))[0] as number)
  const method = methods.includes(USER_AND_PASSWORD) ? USER_AND_PASSWORD : NO_AUTHENTICATION
  wire.write(Buffer.from([SOCKS_VERSION, method]))
  let credentials: string | null = null
  if (method === USER_AND_PASSWORD) {
    await wire.take(1)
    credentials = `${await counted(wire)}:${await counted(wire)}`
    wire.write(Buffer.from([1, 0]))
  }
  const [, , , kind] = await wire.take(4)
  const host = kind === DOMAIN_NAME ? await counted(wire) : (await wire.take(4)).join('.')
  return { protocol: 'socks5', authority: `${host}:${(await wire.take(2)).readUInt16BE()}`, credentials }
}

/** A string behind its length. */
async function counted(wire: Wire): Promise<string> {
  return (await wire.take((await wire.take(1))[0] as number)).toString('utf8')
}
