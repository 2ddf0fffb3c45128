/** A token bucket for each sandbox: a steady rate with a burst of ten seconds' worth. Memory is bounded. */
import type { Clock } from '../core/ports.ts'

interface Bucket {
  tokens: number
  at: number
}

const BURST_SECONDS = 10
const MAX_BUCKETS = 10_000

export class RateLimit {
  readonly #perSecond: number
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond
    this.#clock = clock
  }

  /** Takes one; false when the sandbox has none left. */
  take(key: string): boolean {
    const now = this.#clock()
    const full = this.#perSecond * BURST_SECONDS
    const bucket = this.#buckets.get(key) ?? { tokens: full, at: now }
    bucket.tokens = Math.min(full, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * this.#perSecond)
    bucket.at = now
    // Moved to the end, so that the first entry is the one unused for longest.
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > MAX_BUCKETS) this.#buckets.delete(this.#buckets.keys().next().value as string)
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }
}
