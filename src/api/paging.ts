/** One page of a list: the size asked for, within the contract's bounds, and where it starts. */
import type { PageRequest } from '../core/ports.ts'
import { PAGE_LIMIT } from './contract.ts'

export function pageOf(query: { readonly limit?: number; readonly cursor?: string }): PageRequest {
  return { limit: query.limit ?? PAGE_LIMIT.default, cursor: query.cursor ?? null }
}

/** Everything in a query but the page. */
export function filterOf<Q extends { readonly limit?: number; readonly cursor?: string }>(
  query: Q,
): Omit<Q, 'limit' | 'cursor'> {
  const { limit: _limit, cursor: _cursor, ...filter } = query
  return filter
}
