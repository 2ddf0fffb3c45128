/**
 * What was granted once and lasts: a tunnel, an exchange under way, a WebSocket into whose messages secrets may be put. Each
 * is asked about again and again, and ended within about a second of being withdrawn, whichever way the sandbox came in.
 */
import type { Socket } from 'node:net'
import { CoatcheckError } from '../core/errors.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'

const CHECK_MS = 500

export interface Grant {
  /** Why it does not stand any more; null while it does. */
  readonly withdrawn: () => Promise<CoatcheckError | null>
  /** Called once, when it was withdrawn. */
  readonly end: (why: CoatcheckError) => void
}

export const SANDBOX_GONE = new CoatcheckError('identity_required', 'The sandbox is gone.', 'Create a sandbox.')

export class StandingGrants {
  readonly #sandboxes: SandboxReader
  readonly #standing = new Set<Grant>()
  #scheduled = false

  constructor(sandboxes: SandboxReader) {
    this.#sandboxes = sandboxes
  }

  /** Looks after it until the returned function is called. */
  watch(grant: Grant): () => void {
    this.#standing.add(grant)
    this.#schedule()
    return () => this.#standing.delete(grant)
  }

  /** Cuts the socket once its sandbox was deleted or has another token, until the returned function is called. */
  connection(sandbox: SandboxIdentity, socket: Socket): () => void {
    return this.watch({
      withdrawn: async () => ((await this.#sandboxes.isCurrent(sandbox)) ? null : SANDBOX_GONE),
      end: () => socket.destroy(),
    })
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setTimeout(() => void this.#check(), CHECK_MS).unref()
  }

  async #check(): Promise<void> {
    for (const grant of this.#standing) {
      // While that cannot be told it stands: each request and each message in it asks again, and is refused.
      const why = await grant.withdrawn().catch(() => null)
      if (why !== null && this.#standing.delete(grant)) grant.end(why)
    }
    this.#scheduled = false
    if (this.#standing.size > 0) this.#schedule()
  }
}
