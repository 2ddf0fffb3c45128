/** A server on one address, and its end: no new connections, a while for those that are busy, then none at all. */
import type { AddressInfo, Server, Socket } from 'node:net'

export class Listening {
  readonly #server: Server
  /** All of them: Node's HTTP server forgets those that it handed over to another protocol. */
  readonly #sockets = new Set<Socket>()

  constructor(server: Server, maxConnections: number) {
    this.#server = server
    server.maxConnections = maxConnections
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** Rejects with the system's error. */
  async open(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, fail) => {
      this.#server.once('error', fail)
      this.#server.listen(port, host, () => {
        this.#server.removeListener('error', fail)
        resolve()
      })
    })
    return this.#server.address() as AddressInfo
  }

  /** Stops accepting; resolves when every connection is gone, which is after `graceMs` at the latest. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const deadline = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, graceMs)
    await closed
    clearTimeout(deadline)
  }
}
