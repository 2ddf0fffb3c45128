/**
 * The rows of the threat table: what each is, which tests try it, and why one that no test tries is not tried. A test tries
 * a row when its name, or that of a block around it, begins with the row's id.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

export interface Row {
  readonly id: string
  readonly attack: string
  /** What to know of how it is held. */
  readonly remark: string | null
}

/** As rows.json has it, by id. */
interface StoredRow {
  readonly attack: string
  readonly remark?: string
}

export interface NotCovered {
  readonly row: string
  readonly why: string
  /** Files whose tests try it under names of their own. */
  readonly elsewhere?: readonly string[]
}

export interface Chapter {
  readonly letter: string
  readonly title: string
  readonly rows: readonly Row[]
}

export const TESTS: string = join(import.meta.dirname, '..')
/** Several when one test tries several: `A01 A02 …`. */
const LEADING_IDS = /^(?:[A-J]\d{2}\b[:,]? ?)+/
/** A string that begins with ids, in a name or among the inputs that names are made of. */
const QUOTED_IDS = /['"`]((?:[A-J]\d{2}\b[:,]? ?)+)/g

export function chapters(): readonly Chapter[] {
  const read = parsed('rows.json') as Record<string, { title: string; rows: Record<string, StoredRow> }>
  return Object.entries(read).map(([letter, { title, rows }]) => ({
    letter,
    title,
    rows: Object.entries(rows).map(([id, { attack, remark }]) => ({ id, attack, remark: remark ?? null })),
  }))
}

export function notCovered(): readonly NotCovered[] {
  return parsed('not-covered.json') as readonly NotCovered[]
}

function parsed(name: string): unknown {
  return JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8'))
}

/** The rows that a test tries: its own, or those of the nearest block around it that has some. */
export function rowsOf(title: string, around: readonly string[]): readonly string[] {
  for (const name of [title, ...around.toReversed()]) {
    const leading = LEADING_IDS.exec(name)
    if (leading !== null) return idsIn(leading[0])
  }
  return []
}

/** Row -> test files that try it, as paths below the project. */
export function triedIn(): ReadonlyMap<string, readonly string[]> {
  const files = new Map<string, string[]>()
  for (const name of readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).sort()) {
    // What is said of attacks tries none.
    if (!name.endsWith('.test.ts') || name.startsWith('docs/')) continue
    const path = join(relative(join(TESTS, '..'), TESTS), name)
    const text = readFileSync(join(TESTS, name), 'utf8')
    for (const id of new Set([...text.matchAll(QUOTED_IDS)].flatMap(([, ids = '']) => idsIn(ids)))) {
      files.set(id, [...(files.get(id) ?? []), path])
    }
  }
  return files
}

function idsIn(text: string): readonly string[] {
  return text.match(/[A-J]\d{2}/g) ?? []
}
