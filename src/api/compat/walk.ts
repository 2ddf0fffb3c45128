/** Lists that a foreign contract wants whole, or by page number, read from cursors a page at a time and never past a bound. */
import { CoatcheckError } from '../../core/errors.ts'
import type { Page, PageRequest } from '../../core/ports.ts'

const STEP = 200

/** All items up to `most`; null when there are more. */
export async function readAll<T>(
  read: (page: PageRequest) => Promise<Page<T>>,
  most: number,
): Promise<readonly T[] | null> {
  const items: T[] = []
  let cursor: string | null = null
  do {
    const page: Page<T> = await read({ limit: STEP, cursor })
    items.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== null && items.length <= most)
  return items.length > most ? null : items
}

/** As `readAll`; throws `invalid_input` when there are more. */
export async function readBounded<T>(
  read: (page: PageRequest) => Promise<Page<T>>,
  most: number,
): Promise<readonly T[]> {
  const items = await readAll(read, most)
  if (items !== null) return items
  throw new CoatcheckError(
    'invalid_input',
    `This list has more than ${most} entries, which is all that this contract's route gives.`,
    'Narrow it, or read it by cursor from the native API.',
  )
}
