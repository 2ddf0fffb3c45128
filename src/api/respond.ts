/**
 * How the API answers: the one file that knows the HTTP status of a code, and the shape and headers of every answer.
 * An error holds a code, a message, a hint and the request's id; what only the operator may see goes to the log.
 */
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { asCoatcheckError, CoatcheckError, type ErrorCode } from '../core/errors.ts'
import type { Log } from '../core/ports.ts'
import type { ErrorDocument } from './contract.ts'

/** A code that only this API speaks, next to those of the domain. */
type ApiCode = ErrorCode | 'unsupported_media_type' | 'precondition_failed'

interface Failure {
  readonly status: number
  readonly code: ApiCode
  readonly message: string
  readonly hint: string
}

/** Every status that an error of this API has. A code that is not here is our own failure: 500. */
const STATUS: Partial<Record<ApiCode, number>> = {
  bad_request: 400,
  invalid_input: 400,
  invalid_host: 400,
  value_not_placeable: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  gone: 410,
  expired: 410,
  exhausted: 410,
  disabled: 410,
  precondition_failed: 412,
  body_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  headers_too_large: 431,
  audit_unavailable: 503,
  store_unavailable: 503,
}

const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** First hook of every request: whatever answers later, these headers are there. */
export function nameRequest(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id })
  done()
}

/** Answers any thrown thing; tells the operator about those that are ours to fix. */
export function errorHandler(log: Log) {
  return (thrown: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const failure = failureOf(thrown)
    if (failure.status >= 500) {
      log.error({ requestId: request.id, ...routeOf(request), error: thrown }, 'An API request failed.')
    }
    if (failure.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer realm="coatcheck"')
    return reply.code(failure.status).type('application/json; charset=utf-8').send(documentOf(failure, request.id))
  }
}

export function notFoundHandler(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = failed(
    'not_found',
    'There is nothing at this path and method.',
    'See the API reference for the routes.',
  )
  return reply.code(failure.status).type('application/json; charset=utf-8').send(documentOf(failure, request.id))
}

/** The table of statuses in words: `400 bad_request, invalid_input; 401 …`. */
export function documentedFailures(): string {
  const byStatus = Map.groupBy(Object.entries(STATUS), ([, status]) => status)
  return [...byStatus].map(([status, codes]) => `${status} ${codes.map(([code]) => code).join(', ')}`).join('; ')
}

/** For what only this API refuses, and no error of the core names. */
export function refuse(reply: FastifyReply, code: ApiCode, message: string, hint: string): FastifyReply {
  const failure = failed(code, message, hint)
  return reply.code(failure.status).type('application/json; charset=utf-8').send(documentOf(failure, reply.request.id))
}

/** Bytes that are not HTTP never become a request: answer on the socket and close it. */
export function clientErrorHandler(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const failure = tooLarge
    ? failed('headers_too_large', 'The request headers are too large.', 'Send fewer or shorter headers.')
    : failed('bad_request', 'This is not an HTTP request.', 'Send HTTP/1.1.')
  const body = JSON.stringify(documentOf(failure, null))
  const head = `HTTP/1.1 ${failure.status} ${tooLarge ? 'Request Header Fields Too Large' : 'Bad Request'}`
  socket.end(
    `${head}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  )
}

/** The request as the log may name it: the route's pattern, never the path as sent. */
export function routeOf(request: FastifyRequest): { method: string; route: string } {
  return { method: request.method, route: request.routeOptions?.url ?? 'unknown' }
}

function documentOf({ code, message, hint }: Failure, requestId: string | null): ErrorDocument {
  return { error: { code, message, hint, requestId } }
}

function failed(code: ApiCode, message: string, hint: string): Failure {
  return { status: STATUS[code] ?? 500, code, message, hint }
}

function failureOf(thrown: FastifyError | Error): Failure {
  if (!(thrown instanceof CoatcheckError)) {
    const known = frameworkFailure((thrown as Partial<FastifyError>).code ?? '')
    if (known !== undefined) return known
  }
  const error = asCoatcheckError(thrown)
  const status = STATUS[error.code] ?? 500
  if (status >= 500 && STATUS[error.code] === undefined) {
    const { code, message, hint } = asCoatcheckError(undefined)
    return { status, code, message, hint }
  }
  return { status, code: error.code, message: error.message, hint: error.hint }
}

/** What Fastify refuses by itself, in our words: its own messages can quote the request. */
function frameworkFailure(code: string): Failure | undefined {
  switch (code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return failed('unsupported_media_type', 'The body is not JSON.', 'Send content-type: application/json.')
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return failed('body_too_large', 'The request body is too large.', 'Send at most 1 MiB.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return failed('bad_request', 'The body is not as long as Content-Length says.', 'Send the whole body.')
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_ASYNC_CONSTRAINT':
      return failed('bad_request', 'The path is not validly percent-encoded.', 'Encode the path as RFC 3986 says.')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return failed('invalid_input', 'A part of the path is too long.', 'Names have at most 256 characters.')
    default:
      return undefined
  }
}
