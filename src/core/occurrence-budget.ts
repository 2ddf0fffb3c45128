/**
 * How often one exchange may put each secret outside of headers: a placeholder that was multiplied, or that turns up
 * in a second place, is withheld there.
 */
import type { MountedSecret } from './secret.ts'

export const DEFAULT_MAX_OCCURRENCES = 1

export function maxOccurrencesOf(secret: MountedSecret): number {
  return secret.maxOccurrences ?? DEFAULT_MAX_OCCURRENCES
}

/** For one exchange: its target, body and trailers, or its WebSocket messages, share it. */
export class OccurrenceBudget {
  #used: Map<string, number> | null = null

  /** True while one more of this secret may be put. */
  allows(secret: MountedSecret): boolean {
    return (this.#used?.get(secret.id) ?? 0) < maxOccurrencesOf(secret)
  }

  /** Uses one; false, and nothing used, when none is left. */
  take(secret: MountedSecret): boolean {
    if (!this.allows(secret)) return false
    this.#used ??= new Map()
    this.#used.set(secret.id, (this.#used.get(secret.id) ?? 0) + 1)
    return true
  }
}
