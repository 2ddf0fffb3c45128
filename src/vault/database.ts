/**
 * The one database file: private (0600), WAL with synchronous=FULL, foreign keys and secure_delete on, at a known schema.
 *
 * A connection that did not take these settings is refused. Every control-plane change bumps the revision in its own
 * transaction, so that caches in this process notice at once and those in another one within `REVISION_CHECK_MS`.
 */

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite'
import { Kysely, sql, type Transaction } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'
import { BUSY_TIMEOUT_MS, connect, createPrivately, refuseOtherUrls, unusable, whileBusy } from './database-file.ts'
import { migrate } from './migrate.ts'
import { foundation } from './migrations/001-foundation.ts'
import { controlPlane } from './migrations/002-control-plane.ts'
import { occurrences } from './migrations/003-occurrences.ts'
import { repetitions } from './migrations/011-repetitions.ts'
import { auditRows } from './migrations/012-audit-rows.ts'
import type { Schema } from './schema.ts'
import { isDiskFailure, isUniqueViolation, sqliteCode, sqliteDialect } from './sqlite-dialect.ts'

/** In order; each is applied once, in its own transaction. */
const MIGRATIONS = [foundation, controlPlane, occurrences, repetitions, auditRows]

const REVISION_CHECK_MS = 200
const EVERY_PAGE = 2 ** 31 - 1

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
      .select(['id', 'parent_id'])
      .where('kind', '=', 'workspace')
      .where('name', '=', 'default')
      .executeTakeFirstOrThrow()
    const { latest_time } = await kysely.selectFrom('revision').select('latest_time').executeTakeFirstOrThrow()
    const reader = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
    const defaults = { defaultWorkspaceId: workspace.id, defaultAccountId: workspace.parent_id ?? '' }
    return new Database({ file, kysely, reader, clock, latestTime: latest_time, ...defaults })
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
  readonly latestTime: number
  readonly defaultWorkspaceId: string
  readonly defaultAccountId: string
}

/** An open database. Made by `openDatabase` only. */
export class Database {
  readonly file: string
  readonly defaultWorkspaceId: string
  readonly defaultAccountId: string
  readonly #writer: Kysely<Schema>
  readonly #reader: Kysely<Schema>
  readonly #rawReader: DatabaseSync
  readonly #selectRevision: StatementSync
  readonly #clock: Clock
  #revision = 0
  #revisionCheckedAt = Number.NEGATIVE_INFINITY
  #diskFailed = false
  #latestTime: number
  #queue: Promise<unknown> = Promise.resolve()
  #writing: Promise<unknown> = Promise.resolve()

  constructor(parts: DatabaseParts) {
    this.file = parts.file
    this.defaultWorkspaceId = parts.defaultWorkspaceId
    this.defaultAccountId = parts.defaultAccountId
    this.#writer = parts.kysely
    this.#reader = new Kysely<Schema>({ dialect: sqliteDialect(parts.reader) })
    this.#rawReader = parts.reader
    this.#latestTime = parts.latestTime
    this.#clock = parts.clock
    this.#selectRevision = parts.reader.prepare('SELECT n FROM revision')
  }

  /** Reads, outside a transaction, on a connection that sees committed rows only. Throws `store_unavailable`. */
  async query<T>(work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    try {
      return await work(this.#reader)
    } catch (error) {
      throw unavailable(error)
    }
  }

  /**
   * Runs `work` in one transaction that excludes every other writer; waits up to 5 s for those of other processes. Nothing slow
   * may be awaited inside, nor another transaction. Unique violations pass as they are; the rest is `store_unavailable`.
   */
  async transaction<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
    return await this.#alone(async () => await this.#transact(work))
  }

  /** The writing connection is one: transactions of this process wait for one another. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#writing.then(work)
    this.#writing = turn.catch(() => undefined)
    return await turn
  }

  async #transact<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
    // A failed fsync may have dropped pages that a later fsync then calls written, so no later commit can be believed.
    if (this.#diskFailed) throw diskFailed()
    try {
      return await immediate(this.#writer, work)
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
        .set((eb) => ({ n: eb('n', '+', 1), latest_time: latestTime(this.latest()) }))
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

  /**
   * The present, or the latest time ever seen when the clock was set back: what has expired stays so. Milliseconds since the epoch.
   * Written down with every change and by `noteTime`, so it also holds after a restart.
   */
  latest(): number {
    this.#latestTime = Math.max(this.#latestTime, this.#clock())
    return this.#latestTime
  }

  async noteTime(): Promise<void> {
    const now = this.latest()
    await this.transaction(
      async (trx) =>
        await trx
          .updateTable('revision')
          .set({ latest_time: latestTime(now) })
          .execute(),
    )
  }

  /**
   * Copies the database as it is at one moment into a new private file, in a thread and without holding writers up: one step over
   * a connection of its own, which a change in between does not make begin again.
   */
  async snapshot(file: string): Promise<void> {
    await (await open(file, 'wx', 0o600)).close()
    const source = new DatabaseSync(this.file, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
    try {
      await backup(source, file, { rate: EVERY_PAGE })
    } catch (error) {
      throw unavailable(error)
    } finally {
      source.close()
    }
  }

  /** Moves the WAL into the database and empties it, so that destroyed rows are not kept in its old frames; best effort. */
  async truncateLog(): Promise<void> {
    await this.#alone(async () => await sql`PRAGMA wal_checkpoint(TRUNCATE)`.execute(this.#writer)).catch(
      () => undefined,
    )
  }

  async close(): Promise<void> {
    await this.#queue
    await this.#writing
    // Kysely closes only what it has used; a connection left open would leave the WAL file behind.
    if (this.#rawReader.isOpen) this.#rawReader.close()
    await this.#writer.destroy()
  }
}

/** The later of what is stored and this; other processes may have seen later times. */
function latestTime(now: number) {
  return sql<number>`max(latest_time, ${Math.floor(now)})`
}

async function immediate<T>(kysely: Kysely<Schema>, work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
  return await whileBusy(async () => await kysely.transaction().execute(work))
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
