/** Counts TCP connections to servers, whether or not a TLS handshake followed: zero means that nothing was dialled. */
import type { Server, Socket } from 'node:net'

export class DialCounter {
  #count = 0

  constructor(...servers: readonly Server[]) {
    for (const server of servers) {
      server.on('connection', (_socket: Socket) => {
        this.#count += 1
      })
    }
  }

  get count(): number {
    return this.#count
  }

  reset(): void {
    this.#count = 0
  }
}
