/** The open tunnels: whose each is, how many a sandbox has, and that none outlives its sandbox (standing-grants.ts). */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { CoatcheckError } from '../core/errors.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { Tunnel } from './message.ts'
import type { StandingGrants } from './standing-grants.ts'

export class TunnelSet {
  readonly #grants: StandingGrants
  readonly #perSandbox: number
  readonly #open = new Set<Socket>()
  readonly #counts = new Map<string, number>()
  readonly #served = new WeakMap<Duplex, Tunnel>()
  #closing: (() => void) | null = null

  constructor(grants: StandingGrants, perSandbox: number) {
    this.#grants = grants
    this.#perSandbox = perSandbox
  }

  /** Throws `rate_limited` when the sandbox has as many tunnels as it may. */
  add(socket: Socket, sandbox: SandboxIdentity): void {
    const count = this.#counts.get(sandbox.id) ?? 0
    if (count >= this.#perSandbox) {
      throw new CoatcheckError(
        'rate_limited',
        'This sandbox has too many open tunnels.',
        'Close some; limits.tunnelsPerSandbox sets the bound.',
      )
    }
    this.#counts.set(sandbox.id, count + 1)
    this.#open.add(socket)
    const over = this.#grants.connection(sandbox, socket)
    socket.once('close', () => {
      over()
      this.#remove(socket, sandbox)
    })
  }

  /** Remembers what a stream is served as. */
  serve(stream: Duplex, tunnel: Tunnel): void {
    this.#served.set(stream, tunnel)
  }

  of(stream: Duplex): Tunnel | undefined {
    return this.#served.get(stream)
  }

  destroyAll(): void {
    for (const socket of this.#open) socket.destroy()
  }

  /** Resolves when the last tunnel is closed. */
  closed(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#closing = resolve
    })
  }

  #remove(socket: Socket, sandbox: SandboxIdentity): void {
    this.#open.delete(socket)
    const count = (this.#counts.get(sandbox.id) ?? 1) - 1
    if (count === 0) this.#counts.delete(sandbox.id)
    else this.#counts.set(sandbox.id, count)
    if (this.#open.size === 0) this.#closing?.()
  }
}
