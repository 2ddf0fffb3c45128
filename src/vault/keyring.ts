/**
 * The key-encryption keys: created only when nothing was sealed yet, and refused rather than repaired when anything is wrong.
 *
 * Each key's id is a digest of the key, so damage to either shows. The database keeps a check value per key; a keyring that
 * does not compute it is the wrong one for that database, and neither is touched.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CoatcheckError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'
import type { Database } from './database.ts'
import { createPrivateFile, readPrivateFile, replacePrivateFile, UnusableFile } from './private-file.ts'

const KEY_BYTES = 32
const RESTORE_HINT = 'Restore the keyring that belongs to this database from a backup. Nothing was changed.'

export interface KeyringOptions {
  /** The data directory; the file source is `<dir>/keyring.json`. */
  readonly dir: string
  /** `file`, or `env:NAME`: base64 keys of 32 bytes joined by commas, the current one first. */
  readonly source: string
  /** Whose values these keys unwrap. */
  readonly database: Database
  readonly clock?: Clock
}

interface KeySet {
  readonly current: string
  readonly keys: ReadonlyMap<string, Buffer>
}

/** Opens the keyring and proves that it belongs to the database. Throws `keyring_unusable` with the exact reason. */
export async function openKeyring(options: KeyringOptions): Promise<Keyring> {
  const checks = await readChecks(options.database)
  const { origin, path, set } = options.source.startsWith('env:')
    ? readEnvironment(options.source.slice('env:'.length))
    : await readOrCreateFile(options, checks.size > 0)
  proveBelongs(origin, options.database.file, set, checks)
  const keyring = new Keyring({ origin, path, set, database: options.database, clock: options.clock ?? Date.now })
  await keyring.recordChecks()
  return keyring
}

interface KeyringParts {
  readonly origin: string
  readonly path: string | null
  readonly set: KeySet
  readonly database: Database
  readonly clock: Clock
}

/** An opened keyring. Made by `openKeyring` only. */
export class Keyring {
  /** Where the keys came from, as errors name it. */
  readonly origin: string
  readonly #path: string | null
  readonly #database: Database
  readonly #clock: Clock
  #set: KeySet

  constructor(parts: KeyringParts) {
    this.origin = parts.origin
    this.#path = parts.path
    this.#database = parts.database
    this.#clock = parts.clock
    this.#set = parts.set
  }

  /** Id of the key that wraps new data keys. */
  get currentId(): string {
    return this.#set.current
  }

  /** The key with this id, or undefined. Reads the file again for an unknown id: another process may have rotated. */
  key(id: string): Buffer | undefined {
    if (!this.#set.keys.has(id) && this.#path !== null) this.#reload(this.#path)
    return this.#set.keys.get(id)
  }

  #reload(path: string): void {
    try {
      if ((statSync(path).mode & 0o077) === 0) this.#set = parseFile(this.origin, readFileSync(path))
    } catch {
      // The keys in memory stay: the caller reports the one that is missing, and the next start the file.
    }
  }

  /**
   * Adds a fresh key and makes it current; older ones stay for unwrapping. Two processes doing so both keep their keys.
   * Keys from the environment are added there by the operator; then this only answers the current one's id.
   */
  async addKey(): Promise<string> {
    const path = this.#path
    if (path === null) return this.#newestFromEnvironment()
    // The database's write lock orders the read and the replacement of the file among processes.
    this.#set = await this.#database.transaction(async () => {
      const bytes = await readPrivateFile(path).catch((error: unknown) => {
        throw unusable(path, error instanceof UnusableFile ? error.message : 'cannot be read', RESTORE_HINT, error)
      })
      if (bytes === null) throw unusable(path, 'is gone', RESTORE_HINT)
      const added = withFreshKey(parseFile(this.origin, bytes).keys)
      await replacePrivateFile(path, formatFile(added))
      return added
    })
    await this.recordChecks()
    return this.#set.current
  }

  #newestFromEnvironment(): string {
    if (this.#set.keys.size > 1) return this.#set.current
    throw unusable(
      this.origin,
      'is not changed by coatcheck',
      'Put a new key first in that variable, then a comma and the old key; restart, and rotate again.',
    )
  }

  /** Writes the check values that the database does not have yet. */
  async recordChecks(): Promise<void> {
    const missing = await readChecks(this.#database)
    const fresh = [...this.#set.keys].filter(([id]) => !missing.has(id))
    if (fresh.length === 0) return
    const created_at = new Date(this.#clock()).toISOString()
    const rows = fresh.map(([key_id, key]) => ({ key_id, check_value: checkValue(key), created_at }))
    await this.#database.transaction(
      async (trx) =>
        await trx
          .insertInto('key_checks')
          .values(rows)
          .onConflict((conflict) => conflict.column('key_id').doNothing())
          .execute(),
    )
  }
}

async function readChecks(database: Database): Promise<ReadonlyMap<string, string>> {
  const rows = await database.query(
    async (db) => await db.selectFrom('key_checks').select(['key_id', 'check_value']).execute(),
  )
  return new Map(rows.map((row) => [row.key_id, row.check_value]))
}

/** Every key that ever sealed something in this database must be here and be the same. */
function proveBelongs(origin: string, database: string, set: KeySet, checks: ReadonlyMap<string, string>): void {
  for (const [id, check] of checks) {
    const key = set.keys.get(id)
    if (key !== undefined && checkValue(key) === check) continue
    const has = [...set.keys.keys()].join(', ')
    throw unusable(origin, `does not belong to ${database}: that needs key ${id}, this has ${has}`, RESTORE_HINT)
  }
}

async function readOrCreateFile(options: KeyringOptions, mustExist: boolean) {
  const path = join(options.dir, 'keyring.json')
  try {
    let bytes = await readPrivateFile(path)
    if (bytes === null && mustExist) {
      throw unusable(path, `is missing, and ${options.database.file} holds values sealed with its keys`, RESTORE_HINT)
    }
    if (bytes === null) {
      await createPrivateFile(path, formatFile(withFreshKey(new Map())))
      bytes = await readPrivateFile(path)
    }
    if (bytes === null) throw new UnusableFile('vanished while it was being created')
    return { origin: path, path, set: parseFile(path, bytes) }
  } catch (error) {
    if (error instanceof CoatcheckError) throw error
    const reason = error instanceof UnusableFile ? error.message : 'cannot be created'
    throw unusable(
      path,
      reason,
      `${RESTORE_HINT} A private file has mode 0600 and belongs to the user who runs coatcheck.`,
      error,
    )
  }
}

function readEnvironment(name: string) {
  const origin = `The environment variable ${name}`
  const text = process.env[name]
  const hint = 'Set it to 32 random bytes in base64, such as `openssl rand -base64 32` prints.'
  if (text === undefined || text === '') throw unusable(origin, 'is not set', hint)
  const keys = new Map<string, Buffer>()
  for (const part of text.split(',')) {
    const key = decodeKey(part.trim())
    if (key === null) throw unusable(origin, 'holds something else than base64 of exactly 32 bytes', hint)
    keys.set(keyId(key), key)
  }
  return { origin, path: null, set: { current: [...keys.keys()][0] ?? '', keys } }
}

function withFreshKey(older: ReadonlyMap<string, Buffer>): KeySet {
  const key = randomBytes(KEY_BYTES)
  const current = keyId(key)
  return { current, keys: new Map([...older, [current, key]]) }
}

function formatFile(set: KeySet): Buffer {
  const keys = [...set.keys].map(([id, key]) => ({ id, key: key.toString('base64') }))
  return Buffer.from(`${JSON.stringify({ version: 1, current: set.current, keys }, null, 2)}\n`)
}

function parseFile(origin: string, bytes: Buffer): KeySet {
  const fail = (reason: string): never => {
    throw unusable(origin, reason, RESTORE_HINT)
  }
  const content = parseJson(bytes) ?? fail('is not JSON: it is truncated or damaged')
  if (content['version'] !== 1) fail('has a version that this coatcheck does not know')
  const entries: unknown = content['keys']
  if (!Array.isArray(entries) || entries.length === 0) return fail('holds no keys')
  const keys = new Map<string, Buffer>()
  for (const entry of entries as readonly unknown[]) {
    const { id, key } = (entry ?? {}) as { id?: unknown; key?: unknown }
    const decoded = typeof key === 'string' ? decodeKey(key) : null
    if (decoded === null) return fail(`has a key that is not base64 of exactly ${KEY_BYTES} bytes`)
    if (keyId(decoded) !== id) return fail('has a key that does not fit its id: one of them was changed')
    keys.set(id, decoded)
  }
  const current = content['current']
  if (typeof current !== 'string' || !keys.has(current)) return fail('names a current key that it does not hold')
  return { current, keys }
}

function parseJson(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    // Not passed on as a cause: the parser's message quotes the text it failed at, which is key material.
    return null
  }
}

function decodeKey(text: string): Buffer | null {
  const key = Buffer.from(text, 'base64')
  return key.length === KEY_BYTES && key.toString('base64') === text ? key : null
}

function keyId(key: Buffer): string {
  return createHash('sha256').update('coatcheck key id\0').update(key).digest('hex').slice(0, 16)
}

function checkValue(key: Buffer): string {
  return createHmac('sha256', key).update('coatcheck key check').digest('hex')
}

function unusable(origin: string, reason: string, hint: string, cause?: unknown): CoatcheckError {
  return new CoatcheckError('keyring_unusable', `${origin} ${reason}.`, hint, { cause })
}
