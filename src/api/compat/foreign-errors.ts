/**
 * Every error below a contract's prefix in that contract's own shape: also those of authentication, validation, rate limits and
 * unknown routes. Status, message and log are decided where the API decides them; only the shape is translated here.
 */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CoatcheckError } from '../../core/errors.ts'
import type { ErrorDocument } from '../contract.ts'
import type { Api } from '../dependencies.ts'

export interface Failure {
  readonly status: number
  /** The reason phrase: `Not Found`. */
  readonly title: string
  readonly code: string
  /** Message and hint; never anything that was sent. */
  readonly text: string
  /** The route's pattern, never the path as sent. */
  readonly route: string
}

export interface ErrorDialect {
  /** The contract's status for one of ours, or for the code itself where the contract tells it apart. */
  readonly statuses: Readonly<Record<number | string, number>>
  readonly mediaType?: string
  readonly body: (failure: Failure) => object
  readonly headers?: (failure: Failure) => Readonly<Record<string, string>>
}

/** For all routes of this scope, and for what is no route below its prefix: it must have one. */
export function speakErrors(api: Api, dialect: ErrorDialect): void {
  api.setNotFoundHandler(async () => {
    throw new CoatcheckError(
      'not_found',
      'There is nothing at this path and method.',
      'See docs/contracts.md for the routes.',
    )
  })
  translateErrors(api, dialect)
}

/** For the routes of this scope alone. */
export function translateErrors(api: Api, dialect: ErrorDialect): void {
  api.addHook('preSerialization', async (request, reply, payload) => {
    if (reply.statusCode < 400 || !isError(payload)) return payload
    const { statuses } = dialect
    const status = statuses[payload.error.code] ?? statuses[reply.statusCode] ?? reply.statusCode
    return answer(reply, dialect, failureOf(request, status, payload))
  })
}

function answer(reply: FastifyReply, dialect: ErrorDialect, failure: Failure): object {
  void reply.code(failure.status)
  void reply.type(dialect.mediaType ?? 'application/json; charset=utf-8')
  if (dialect.headers !== undefined) void reply.headers(dialect.headers(failure))
  return dialect.body(failure)
}

function failureOf(request: FastifyRequest, status: number, { error }: ErrorDocument): Failure {
  const { code, message, hint } = error
  const title = STATUS_CODES[status] ?? 'Error'
  return { status, title, code, text: `${message} ${hint}`, route: request.routeOptions.url ?? 'unknown' }
}

function isError(payload: unknown): payload is ErrorDocument {
  return typeof payload === 'object' && payload !== null && 'error' in payload && isDocument(payload.error)
}

function isDocument(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && 'message' in error && 'hint' in error
}
