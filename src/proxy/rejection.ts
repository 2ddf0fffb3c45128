/**
 * The answer to a request that was refused or failed: the one place in the proxy that knows HTTP statuses.
 *
 * It carries a code, a message, a hint and the request id; never upstream text, a header, a target or a value. It is
 * marked with `coatcheck-error`, so that a client can tell it from the upstream's own answer.
 */
import { asCoatcheckError, type CoatcheckError, type ErrorCode } from '../core/errors.ts'
import type { ResponseSink } from './message.ts'

const STATUS: Partial<Record<ErrorCode, number>> = {
  identity_required: 407,
  bad_request: 400,
  invalid_host: 400,
  authority_mismatch: 400,
  not_found: 404,
  misdirected: 421,
  sni_mismatch: 421,
  method_not_allowed: 405,
  version_not_supported: 505,
  loop_detected: 508,
  headers_too_large: 431,
  body_too_large: 413,
  rate_limited: 429,
  audit_unavailable: 503,
  store_unavailable: 503,
  upstream_unresolved: 502,
  upstream_unreachable: 502,
  upstream_tls: 502,
  upstream_failed: 502,
  unmaskable_response: 502,
  upstream_timeout: 504,
  internal: 500,
}

const REASON: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  407: 'Proxy Authentication Required',
  413: 'Content Too Large',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  508: 'Loop Detected',
}

/** The status a code is answered with; refusals of policy are 403. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 403
}

/**
 * What the client takes us for: to the client of a gateway we are the origin, which asks for credentials with 401
 * (RFC 9110 15.5.2; `fetch` shows nothing of a 407 that does not come from a proxy).
 */
export type Role = 'proxy' | 'origin'

export interface Rejection {
  readonly status: number
  readonly reason: string
  readonly headers: readonly string[]
  readonly body: Buffer
}

export function rejectionOf(error: CoatcheckError, requestId: string, role: Role = 'proxy'): Rejection {
  const status = role === 'origin' && error.code === 'identity_required' ? 401 : statusOf(error.code)
  const document = { error: { code: error.code, message: error.message, hint: error.hint, requestId } }
  const body = Buffer.from(`${JSON.stringify(document)}\n`, 'utf8')
  const headers = [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(body.length),
    'cache-control',
    'no-store',
    'coatcheck-error',
    error.code,
  ]
  if (status === 407) headers.push('proxy-authenticate', 'Basic realm="coatcheck", charset="UTF-8"')
  if (status === 401) headers.push('www-authenticate', 'Coatcheck realm="gateway"')
  if (status === 405) headers.push('allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
  return { status, reason: REASON[status] ?? 'Error', headers, body }
}

/** Answers on a sink; a response that has begun is cut, so that it cannot pass for a whole one. Returns the status sent. */
export function reject(sink: ResponseSink, thrown: unknown, requestId: string, role?: Role): number | null {
  const rejection = rejectionOf(asCoatcheckError(thrown), requestId, role)
  if (sink.headSent || sink.gone) {
    sink.abort()
    return null
  }
  sink.head(rejection.status, rejection.reason, rejection.headers)
  sink.write(rejection.body)
  sink.end([])
  return rejection.status
}

/** The same answer as bytes, for a socket that has no HTTP server behind it any more; it closes the connection. */
export function rejectionBytes(error: CoatcheckError, requestId: string, role?: Role): Buffer {
  const { status, reason, headers, body } = rejectionOf(error, requestId, role)
  let head = `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\n`
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`
  return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body])
}
