/** Lists are given a page at a time, by a cursor that says nothing to whoever holds it. */

export interface Page<T> {
  readonly items: readonly T[]
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null
}

export interface PageRequest {
  /** 1..200. */
  readonly limit: number
  readonly cursor: string | null
}
