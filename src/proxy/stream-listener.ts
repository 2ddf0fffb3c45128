/**
 * A port for connections whose first bytes say which tunnel they are: how many there may be, and how long that may take.
 * A connection that has not said it is cut when the time is over, or the port is closed.
 */
import net, { type AddressInfo, type Socket } from 'node:net'
import { Listening } from './listening.ts'
import type { TunnelCall } from './message.ts'
import type { TunnelServer } from './tunnel-server.ts'

export interface StreamLimits {
  readonly connections: number
  readonly handshakeTimeoutMs: number
}

/** Resolves with the tunnel that is asked for; null when the connection was answered otherwise. Must not reject. */
export type Greet = (socket: Socket) => Promise<TunnelCall | null>

export class StreamListener {
  readonly #listening: Listening
  readonly #tunnels: TunnelServer
  readonly #greet: Greet
  readonly #timeoutMs: number
  readonly #unsaid = new Set<Socket>()

  constructor(limits: StreamLimits, greet: Greet, tunnels: TunnelServer) {
    this.#greet = greet
    this.#tunnels = tunnels
    this.#timeoutMs = limits.handshakeTimeoutMs
    // Half-open, as tunnels through CONNECT are: a sandbox may be done sending and still wait.
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#take(socket))
    this.#listening = new Listening(server, limits.connections)
  }

  listen(host: string, port: number): Promise<AddressInfo> {
    return this.#listening.open(host, port)
  }

  /** Tunnels are closed by their server. */
  close(graceMs: number): Promise<void> {
    const closed = this.#listening.close(graceMs)
    for (const socket of this.#unsaid) socket.destroy()
    return closed
  }

  async #take(socket: Socket): Promise<void> {
    socket.on('error', () => socket.destroy())
    const deadline = setTimeout(() => socket.destroy(), this.#timeoutMs)
    this.#unsaid.add(socket)
    const call = await this.#greet(socket)
    this.#unsaid.delete(socket)
    clearTimeout(deadline)
    if (call === null) refuseMore(socket, this.#timeoutMs)
    else await this.#tunnels.open(call)
  }
}

/** What was refused is ended, and gone for good once it was answered. */
function refuseMore(socket: Socket, timeoutMs: number): void {
  if (socket.destroyed) return
  socket.end()
  socket.resume()
  socket.once('end', () => socket.destroySoon())
  socket.setTimeout(timeoutMs, () => socket.destroy())
}
