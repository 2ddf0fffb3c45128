/** The open tunnels: whose each is, how many a sandbox has, and that none outlives its sandbox by more than a second. */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { CoatcheckError } from '../core/errors.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { Tunnel } from './message.ts'

const REVOCATION_CHECK_MS = 500

export class TunnelSet {
  readonly #sandboxes: SandboxReader
  readonly #perSandbox: number
  readonly #open = new Map<Socket, SandboxIdentity>()
  readonly #counts = new Map<string, number>()
  readonly #served = new WeakMap<Duplex, Tunnel>()
  #closing: (() => void) | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(sandboxes: SandboxReader, perSandbox: number) {
    this.#sandboxes = sandboxes
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
    this.#open.set(socket, sandbox)
    this.#timer ??= setInterval(() => void this.#closeRevoked(), REVOCATION_CHECK_MS).unref()
    socket.once('close', () => this.#remove(socket, sandbox))
  }

  /** Remembers what a stream is served as. */
  serve(stream: Duplex, tunnel: Tunnel): void {
    this.#served.set(stream, tunnel)
  }

  of(stream: Duplex): Tunnel | undefined {
    return this.#served.get(stream)
  }

  destroyAll(): void {
    for (const socket of this.#open.keys()) socket.destroy()
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
    if (this.#open.size > 0) return
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#closing?.()
  }

  async #closeRevoked(): Promise<void> {
    for (const [socket, sandbox] of this.#open) {
      // While that cannot be told, the tunnel stays: each of its requests asks again, and is refused.
      const current = await this.#isCurrent(sandbox).catch(() => true)
      if (!current) socket.destroy()
    }
  }

  async #isCurrent(sandbox: SandboxIdentity): Promise<boolean> {
    return await this.#sandboxes.isCurrent(sandbox)
  }
}
