/**
 * The one error class of the project: a stable code, a message (what happened) and a hint (how to fix it).
 *
 * Messages and hints are shown to sandboxes and API callers, so they never hold a value, upstream text,
 * or a target after substitution. What only the operator may see goes into `cause`.
 * HTTP statuses are known in proxy/rejection.ts and api/respond.ts, nowhere else.
 */

/** Why an exchange, a call or a start failed. Codes are a contract: add, never rename. */
export type ErrorCode =
  // identity and shape of a proxied request
  | 'identity_required'
  | 'bad_request'
  | 'invalid_host'
  | 'authority_mismatch'
  | 'misdirected'
  | 'sni_mismatch'
  | 'method_not_allowed'
  | 'version_not_supported'
  | 'loop_detected'
  | 'headers_too_large'
  | 'body_too_large'
  | 'rate_limited'
  // egress policy
  | 'egress_denied'
  | 'port_denied'
  | 'address_denied'
  // release policy; `unknown_placeholder` also answers foreign and not-mounted ones
  | 'unknown_placeholder'
  | 'host_not_allowed'
  | 'placement_not_allowed'
  | 'plaintext'
  | 'expired'
  | 'exhausted'
  | 'disabled'
  | 'value_not_placeable'
  | 'signature_invalid'
  | 'audit_unavailable'
  | 'store_unavailable'
  // upstream
  | 'upstream_unresolved'
  | 'upstream_unreachable'
  | 'upstream_tls'
  | 'upstream_timeout'
  | 'upstream_failed'
  | 'unmaskable_response'
  // control plane
  | 'invalid_input'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'gone'
  // start and local files
  | 'config_invalid'
  | 'keyring_unusable'
  | 'authority_unusable'
  | 'database_unusable'
  | 'usage'
  | 'unreachable'
  | 'internal'

export class CoatcheckError extends Error {
  readonly code: ErrorCode
  readonly hint: string

  constructor(code: ErrorCode, message: string, hint: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'CoatcheckError'
    this.code = code
    this.hint = hint
  }
}

/** Any thrown thing as a CoatcheckError: unknown ones become `internal` outward and keep their detail as `cause`. */
export function asCoatcheckError(thrown: unknown): CoatcheckError {
  if (thrown instanceof CoatcheckError) return thrown
  return new CoatcheckError('internal', 'coatcheck failed to handle this.', 'Look up the request id in the log.', {
    cause: thrown,
  })
}
