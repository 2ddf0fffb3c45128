/**
 * A data directory with any number of secrets: ten made by the store itself, the rest copied from the first of them by SQL.
 *
 * A copy has an id, a name and a token of its own, and the sealed value of another: it can be read, listed and counted, never opened.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { App } from '../src/app.ts'
import { MARKER } from '../src/core/placeholder.ts'
import { SecretValue } from '../src/core/secret.ts'

/** Secrets made by the store; the only ones whose values are opened or rotated. */
export const HELD = 10
export const SANDBOX = 'bench'

const DIGITS = 9
/** A fraction of a golden section apart, so that neighbours in time are no neighbours in any index. */
const STRIDE = 0.618_033_988_749_895

export const HOSTS = ['api.example.com']

export function newText(): string {
  return `sk-bench-${randomBytes(24).toString('hex')}`
}

export function newValue(): SecretValue {
  return SecretValue.fromText(newText())
}

/** Of `size` secrets the one at this place, counted from zero. */
export function nameAt(at: number): string {
  return `SECRET_${String(at).padStart(DIGITS, '0')}`
}

/** The places of the secrets that the store made, all over the others. */
export function heldAt(size: number): readonly number[] {
  return Array.from({ length: HELD }, (_none, at) => Math.floor((at * size) / HELD))
}

/** Anywhere in `size`, each place as often as any other. */
export function scattered(turn: number, size: number): number {
  return Math.floor(((turn * STRIDE) % 1) * size)
}

/** The secrets that are opened, and the sandbox that has them mounted. */
export async function makeHeld(app: App, size: number): Promise<void> {
  const owner = app.data.tokens.systemPrincipal()
  const mounts: Record<string, string> = {}
  for (const at of heldAt(size)) {
    await app.data.secrets.create(owner, { name: nameAt(at), value: newValue(), hosts: HOSTS })
    mounts[nameAt(at)] = nameAt(at)
  }
  await app.data.sandboxes.create(owner, { name: SANDBOX, mounts })
}

/** All others, in one transaction without a journal: nothing of the directory may be open, and a crash would cost it. */
export function fill(file: string, size: number): void {
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false })
  try {
    database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN')
    const indexes = database.prepare(INDEXES).all() as { name: string; sql: string }[]
    for (const { name } of indexes) database.exec(`DROP INDEX ${name}`)
    database.exec(FILLERS)
    database.prepare(`INSERT INTO fillers ${PLACES}`).run(size, JSON.stringify(heldAt(size)))
    copyFirst(database, 'secrets', { id: 'id', name: 'name', name_key: 'name', token: 'token', placeholder: 'token' })
    copyFirst(database, 'secret_versions', { secret_id: 'id' })
    for (const { sql } of indexes) database.exec(sql)
    database.exec('DROP TABLE fillers; COMMIT; PRAGMA journal_mode = WAL')
  } finally {
    database.close()
  }
  // Else the system would still be writing all of it while commits are timed.
  const opened = openSync(file, 'r+')
  fsyncSync(opened)
  closeSync(opened)
}

/** Built at the end, which is several times as fast as keeping them current. */
const INDEXES = `SELECT name, sql FROM sqlite_schema
  WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('secrets', 'secret_versions')`
const FILLERS = 'CREATE TEMP TABLE fillers (id TEXT, name TEXT, token TEXT)'
/** Hexadecimal digits are all in a token's alphabet. */
const PLACES = `WITH RECURSIVE places (at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM places WHERE at + 1 < ?)
  SELECT printf('00000000-0000-7000-8000-%012d', at), printf('SECRET_%0${DIGITS}d', at), '${MARKER}' || lower(hex(randomblob(13)))
  FROM places WHERE at NOT IN (SELECT value FROM json_each(?))`

/** The table's first row again for each filler, with columns of its own. */
function copyFirst(database: DatabaseSync, table: string, own: Readonly<Record<string, string>>): void {
  const first = database.prepare(`SELECT min(rowid) AS id FROM ${table}`).get()?.['id']
  const columns = database.prepare(`SELECT name FROM pragma_table_info('${table}')`).all() as { name: string }[]
  const names = columns.map(({ name }) => name)
  const values = names.map((name) => (own[name] === undefined ? `first.${name}` : `fillers.${own[name]}`))
  const from = `(SELECT * FROM ${table} WHERE rowid = ${Number(first)}) AS first CROSS JOIN fillers`
  database.exec(`INSERT INTO ${table} (${names.join()}) SELECT ${values.join()} FROM ${from}`)
}
