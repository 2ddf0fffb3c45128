/** What went wrong with an upstream, as an error of ours; what it says itself stays inside as the cause. */
import { CoatcheckError } from '../core/errors.ts'

const MOST_INFORMATIONAL = 64

/** They are written without waiting for a slow sandbox, so an upstream may not send them without end. */
export function requireFewInformational(count: number): void {
  if (count > MOST_INFORMATIONAL) throw new Error('more informational answers than anyone sends')
}

export function upstreamFailed(cause: unknown): CoatcheckError {
  if (cause instanceof CoatcheckError) return cause
  return new CoatcheckError(
    'upstream_failed',
    'The upstream broke off or answered with something that is not HTTP.',
    'Try again; the operator log has the detail under the request id.',
    { cause },
  )
}

export function upstreamTimedOut(cause?: unknown): CoatcheckError {
  return new CoatcheckError(
    'upstream_timeout',
    'The upstream did not answer in time.',
    'Try again; upstream.headersTimeout and upstream.idleTimeout set how long to wait.',
    { cause },
  )
}
