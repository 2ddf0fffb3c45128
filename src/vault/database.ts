/**
 * The one database file: private (0600), WAL with synchronous=FULL, foreign keys and secure_delete on, at a known schema.
 *
 * A connection that did not take these settings is refused. Every control-plane change bumps the revision in its own
 * transaction, so that caches in this process notice at once and those in another one within `REVISION_CHECK_MS`.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, sql, type Transaction } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'
import { migrate } from './migrate.ts'
import { foundation } from './migrations/001-foundation.ts'
import type { Schema } from './schema.ts'
import { isBusy, isDiskFailure, isUniqueViolation, sqliteCode, sqliteDialect } from './sqlite-dialect.ts'

/** In order; each is applied once, in its own transaction. */
const MIGRATIONS = [foundation]

const REVISION_CHECK_MS = 200
/** SQLite waits this long with the thread stopped, so it is short; longer waits are slept between tries. */
const BUSY_TIMEOUT_MS = 50
const WRITE_DEADLINE_MS = 5_000
const RETRY_MS = 20

export interface DatabaseOptions {
  /** `sqlite`: a file in `dataDir`. */
  readonly url: string
  readonly dataDir: string
  /** `full` (default) survives power loss; `process` survives a killed process only. */
  readonly durability?: 'full' | 'process'
  readonly clock?: Clock
}

/** Opens, creating and migrating as needed. Throws `database_unusable`, and then has changed nothing it found. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  refuseOtherUrls(options.url)
  const file = join(options.dataDir, 'coatcheck.db')
  createPrivately(options.dataDir, file)
  const clock = options.clock ?? Date.now
  const writer = await connect(file, options.durability ?? 'full')
  const kysely = new Kysely<Schema>({ dialect: sqliteDialect(writer) })
  try {
    const transaction = async <T>(work: (trx: Transaction<Schema>) => Promise<T>) => await immediate(kysely, work)
    await migrate({ migrations: MIGRATIONS, file, now: clock(), transaction })
    const workspace = await kysely
      .selectFrom('scopes')
      .select('id')
      .where('kind', '=', 'workspace')
      .where('name', '=', 'default')
      .executeTakeFirstOrThrow()
    const reader = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
    return new Database({ file, kysely, reader, clock, defaultWorkspaceId: workspace.id })
  } catch (error) {
    if (writer.isOpen) writer.close()
    throw unusable(file, error)
  }
}

interface DatabaseParts {
  readonly file: string
  readonly kysely: Kysely<Schema>
  readonly reader: DatabaseSync
  readonly clock: Clock
  readonly defaultWorkspaceId: string
}

/** An open database. Made by `openDatabase` only. */
export class Database {
  readonly file: string
  readonly defaultWorkspaceId: string
  readonly #kysely: Kysely<Schema>
  readonly #reader: DatabaseSync
  readonly #selectRevision: StatementSync
  readonly #clock: Clock
  #revision = 0
  #revisionCheckedAt = Number.NEGATIVE_INFINITY
  #diskFailed = false
  #queue: Promise<unknown> = Promise.resolve()

  constructor(parts: DatabaseParts) {
    this.file = parts.file
    this.defaultWorkspaceId = parts.defaultWorkspaceId
    this.#kysely = parts.kysely
    this.#reader = parts.reader
    this.#clock = parts.clock
    this.#selectRevision = parts.reader.prepare('SELECT n FROM revision')
  }

  /** Runs one query or more outside a transaction. Throws `store_unavailable`. */
  async query<T>(work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    try {
      return await work(this.#kysely)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /**
   * Runs `work` in one transaction that excludes every other writer; waits up to 5 s for them. Nothing slow may be awaited
   * inside. Unique violations pass as they are; the rest is `store_unavailable`.
   */
  async transaction<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
    // A failed fsync may have dropped pages that a later fsync then calls written, so no later commit can be believed.
    if (this.#diskFailed) throw diskFailed()
    try {
      return await immediate(this.#kysely, work)
    } catch (error) {
      this.#diskFailed ||= isDiskFailure(error)
      throw isUniqueViolation(error) ? error : unavailable(error)
    }
  }

  /** As `transaction`, and bumps the revision in it. For every change that a cache may have to notice. */
  async change<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
    const { result, revision } = await this.transaction(async (trx) => {
      const result = await work(trx)
      const { n } = await trx
        .updateTable('revision')
        .set((eb) => ({ n: eb('n', '+', 1) }))
        .returning('n')
        .executeTakeFirstOrThrow()
      return { result, revision: n }
    })
    this.#revision = revision
    this.#revisionCheckedAt = this.#clock()
    return result
  }

  /** Runs control-plane work one after the other, so that what one checked still holds when it writes. */
  async serially<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work)
    this.#queue = turn.catch(() => undefined)
    return await turn
  }

  /** The revision as of at most 200 ms ago; at most one SELECT in that time, no promise: callers are on the hot path. */
  revision(): number {
    const now = this.#clock()
    if (Math.abs(now - this.#revisionCheckedAt) < REVISION_CHECK_MS) return this.#revision
    try {
      this.#revision = Number(this.#selectRevision.get()?.['n'])
    } catch (error) {
      throw unavailable(error)
    }
    this.#revisionCheckedAt = now
    return this.#revision
  }

  /** Moves the WAL into the database and empties it, so that destroyed rows are not kept in its old frames; best effort. */
  async truncateLog(): Promise<void> {
    await sql`PRAGMA wal_checkpoint(TRUNCATE)`.execute(this.#kysely).catch(() => undefined)
  }

  async close(): Promise<void> {
    await this.#queue
    this.#reader.close()
    await this.#kysely.destroy()
  }
}

function refuseOtherUrls(url: string): void {
  if (url === 'sqlite') return
  throw new CoatcheckError(
    'database_unusable',
    /^postgres(ql)?:/.test(url) ? 'PostgreSQL is not supported yet.' : 'The database setting names no known database.',
    'Set `database: sqlite`.',
  )
}

/** SQLite gives -wal and -shm the mode of the database file, so creating that one privately is enough. */
function createPrivately(dataDir: string, file: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const descriptor = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
    const { mode } = fstatSync(descriptor)
    closeSync(descriptor)
    if ((mode & 0o077) === 0) return
  } catch (error) {
    throw new CoatcheckError(
      'database_unusable',
      `${file} cannot be opened for writing.`,
      'Give the user that runs coatcheck a data directory it can write.',
      { cause: error },
    )
  }
  throw new CoatcheckError(
    'database_unusable',
    `${file} is open to other users of this machine.`,
    `Run chmod 600 ${file}* after making sure that nobody else has changed it.`,
  )
}

async function connect(file: string, durability: 'full' | 'process'): Promise<DatabaseSync> {
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  const wanted = [
    ['journal_mode', 'WAL', 'wal'],
    ['synchronous', durability === 'full' ? 'FULL' : 'NORMAL', durability === 'full' ? 2 : 1],
    ['foreign_keys', 'ON', 1],
    ['secure_delete', 'ON', 1],
  ] as const
  try {
    for (const [name, value, effect] of wanted) {
      await whileBusy(async () => database.exec(`PRAGMA ${name} = ${value}`))
      const got = Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]
      if (got !== effect) throw new Error(`PRAGMA ${name} is ${String(got)}, not ${effect}`)
    }
    return database
  } catch (error) {
    database.close()
    throw unusable(file, error)
  }
}

async function immediate<T>(kysely: Kysely<Schema>, work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
  return await whileBusy(async () => await kysely.transaction().execute(work))
}

async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  for (let waited = 0; ; waited += BUSY_TIMEOUT_MS + RETRY_MS) {
    try {
      return await work()
    } catch (error) {
      if (!isBusy(error) || waited >= WRITE_DEADLINE_MS) throw error
      await sleep(RETRY_MS)
    }
  }
}

function diskFailed(): CoatcheckError {
  return new CoatcheckError(
    'store_unavailable',
    'The disk under the store failed earlier, so nothing is written to it by this process any more.',
    'Check the disk, then restart coatcheck.',
  )
}

/** What went wrong below the queries, in our words; anything else is a mistake of ours and passes as it is. */
function unavailable(error: unknown): unknown {
  const code = sqliteCode(error)
  const closed = error instanceof Error && 'code' in error && error.code === 'ERR_INVALID_STATE'
  if (code === null && !closed) return error
  return new CoatcheckError(
    'store_unavailable',
    closed ? 'The store is closed.' : `The store cannot be used (SQLite code ${code}).`,
    'Check the disk under the data directory and other processes that hold its database; then try again.',
    { cause: error },
  )
}

function unusable(file: string, error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new CoatcheckError(
    'database_unusable',
    `${file} cannot be used: ${reason}.`,
    'Restore it from a backup, or point dataDir elsewhere; coatcheck changed nothing in it.',
    { cause: error },
  )
}
