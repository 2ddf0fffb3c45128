/** Pages of rows in the order of one unique column, by keyset: a row that comes or goes elsewhere moves nothing in between. */
import { CoatcheckError } from '../core/errors.ts'
import type { Page, PageRequest } from '../core/ports.ts'

const MAX_LIMIT = 200

/** How many rows to read (one more than shown) and the key after which they begin; '' is before every key. */
export function readPage(page: PageRequest): { readonly rows: number; readonly after: string } {
  if (!Number.isInteger(page.limit) || page.limit < 1 || page.limit > MAX_LIMIT) {
    throw new CoatcheckError('invalid_input', 'The limit is not allowed.', `Use a whole number from 1 to ${MAX_LIMIT}.`)
  }
  return { rows: page.limit + 1, after: page.cursor === null ? '' : readCursor(page.cursor) }
}

/** The page that `rows`, read with `readPage`'s count, make; `keyOf` is what they are ordered by. */
export function toPage<R, T>(
  rows: readonly R[],
  limit: number,
  show: (row: R) => T,
  keyOf: (row: R) => string,
): Page<T> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const more = rows.length > limit && last !== undefined
  return { items: shown.map(show), nextCursor: more ? writeCursor(keyOf(last)) : null }
}

export function writeCursor(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** The text of a cursor. Throws `invalid_input` for what `writeCursor` did not make. */
export function readCursor(cursor: string): string {
  const bytes = Buffer.from(cursor, 'base64url')
  if (bytes.length > 0 && bytes.toString('base64url') === cursor) return bytes.toString('utf8')
  throw strangeCursor()
}

export function strangeCursor(): CoatcheckError {
  return new CoatcheckError('invalid_input', 'The cursor is not one that was given.', 'Begin again without a cursor.')
}
