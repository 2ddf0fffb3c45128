/**
 * Whether a call is made again, and how long to wait before.
 *
 * 429 and 503 say that nothing was done, so every call may be repeated. Without an answer nobody knows, so only calls that may
 * happen twice are. What Retry-After asks for is waited out in full; otherwise the wait doubles, with jitter so that many clients do not
 * come back at once.
 */
const FIRST_MS = 200
const LONGEST_MS = 5_000
const REFUSED_FOR_NOW: readonly number[] = [429, 503]

export interface Attempt {
  /** 0 for the first one. */
  readonly number: number
  /** HTTP status; null when there was no answer. */
  readonly status: number | null
  /** Milliseconds; null when the server did not say. */
  readonly retryAfterMs: number | null
  /** Doing it twice is as doing it once. */
  readonly repeatable: boolean
}

export interface RetryLimits {
  /** Attempts after the first one. */
  readonly retries: number
  /** Milliseconds that the call may still take. */
  readonly leftMs: number
}

export type RetryDecision =
  | { readonly again: true; readonly waitMs: number }
  | { readonly again: false; readonly reason: 'final' | 'not_repeatable' | 'no_retries_left' | 'no_time_left' }

/** `random` gives numbers from 0 to 1, as Math.random. */
export function decideRetry(attempt: Attempt, limits: RetryLimits, random: () => number): RetryDecision {
  const { number, status, retryAfterMs, repeatable } = attempt
  if (status !== null && !REFUSED_FOR_NOW.includes(status)) return { again: false, reason: 'final' }
  if (status === null && !repeatable) return { again: false, reason: 'not_repeatable' }
  if (number >= limits.retries) return { again: false, reason: 'no_retries_left' }
  const step = Math.min(LONGEST_MS, FIRST_MS * 2 ** number)
  const jittered = Math.round(step * (0.5 + random() / 2))
  const waitMs = retryAfterMs === null ? jittered : retryAfterMs + Math.round(FIRST_MS * random())
  return waitMs < limits.leftMs ? { again: true, waitMs } : { again: false, reason: 'no_time_left' }
}

/** Seconds or an HTTP date (RFC 9110 section 10.2.3) as milliseconds from `now`; null when it is neither. */
export function retryAfter(header: string | null, now: number): number | null {
  if (header === null) return null
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000
  const date = /^[A-Za-z]+, .* GMT$/.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

/** Resolves after the time; rejects with the signal's reason when it is aborted before. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', aborted)
      resolve()
    }, ms)
    signal.addEventListener('abort', aborted, { once: true })
  })
}
