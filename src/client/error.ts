/** The one error of the client: a stable code, a message (what), a hint (how to fix it). It never holds a value, a token or a body. */

/** What a coatcheck server answers, and what it means here. Codes are a contract: they are added, never renamed. */
export type ServerCode =
  | 'bad_request'
  | 'invalid_input'
  | 'invalid_host'
  | 'value_not_placeable'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'gone'
  | 'expired'
  | 'exhausted'
  | 'disabled'
  | 'precondition_failed'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'rate_limited'
  | 'headers_too_large'
  | 'audit_unavailable'
  | 'store_unavailable'
  | 'internal'

/**
 * What only this side knows: `usage` (a call written wrongly; nothing was sent), `unreachable` (no answer), `timeout` (no answer in time),
 * `unexpected_answer` (an answer that is none of a coatcheck server).
 */
export type ClientCode = 'usage' | 'unreachable' | 'timeout' | 'unexpected_answer'

/** Known codes are offered by editors; a newer server may say others. */
export type CoatcheckErrorCode = ServerCode | ClientCode | (string & {})

export interface CoatcheckErrorDetails {
  /** HTTP status; null when there was no answer. */
  readonly status?: number | null
  /** Names the request in the operator's log. */
  readonly requestId?: string | null
  /** Milliseconds that the server asked to wait. */
  readonly retryAfterMs?: number | null
}

export class CoatcheckError<Code extends string = CoatcheckErrorCode> extends Error {
  readonly code: Code
  readonly hint: string
  readonly status: number | null
  readonly requestId: string | null
  readonly retryAfterMs: number | null

  constructor(code: Code, message: string, hint: string, details: CoatcheckErrorDetails = {}) {
    super(message)
    this.name = 'CoatcheckError'
    this.code = code
    this.hint = hint
    this.status = details.status ?? null
    this.requestId = details.requestId ?? null
    this.retryAfterMs = details.retryAfterMs ?? null
  }

  /** True when it is an error of this client with one of the codes; with any code when none is named. */
  static is<const C extends ServerCode | ClientCode>(
    thrown: unknown,
    ...codes: readonly C[]
  ): thrown is CoatcheckError<C> {
    if (!(thrown instanceof CoatcheckError)) return false
    const { code } = thrown as CoatcheckError
    return codes.length === 0 || (codes as readonly string[]).includes(code)
  }
}

/** A call that was written wrongly: nothing was sent. */
export function misused(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('usage', message, hint)
}
