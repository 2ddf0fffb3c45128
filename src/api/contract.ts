/**
 * What every noun of the API shares with its clients: errors, pages, limits. The nouns themselves are in contract/.
 *
 * The command line, the console and client libraries import this file and contract/, and nothing else of the server.
 * Answers hold exactly the fields declared there (the server drops anything else). One answer holds a value: a reveal's.
 * The `description` of a request field says what it takes: it is the hint of a validation error.
 * Times are ISO 8601, UTC, milliseconds. Ids are UUIDv7.
 */
import { type Static, Type } from 'typebox'

/** Longest value of a secret, in bytes of UTF-8. */
export const MAX_VALUE_BYTES = 65_536
/** Items of one page when `limit` is omitted, and the most that can be asked for. */
export const PAGE_LIMIT = { default: 100, max: 200 } as const

/** The type of every list answer. */
export interface PageOf<T> {
  readonly items: readonly T[]
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null
}

export const ErrorDocument = Type.Object({
  error: Type.Object({
    /** Stable: clients may branch on it. */
    code: Type.String(),
    message: Type.String(),
    hint: Type.String(),
    /** Also in the `x-request-id` header and in the operator's log. */
    requestId: Type.Union([Type.String(), Type.Null()]),
  }),
})
export type ErrorDocument = Static<typeof ErrorDocument>
