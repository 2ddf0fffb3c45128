/**
 * Kysely over node:sqlite: one connection, prepared statements kept for reuse, and every transaction IMMEDIATE, so that
 * a writer waits at its beginning (where waiting is safe) and never fails half-way for want of the lock.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'

/** Distinct statements kept prepared; the vault's own number is below it, list filters included. */
const MAX_STATEMENTS = 256

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, { statement: StatementSync; returnsRows: boolean }>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { statement, returnsRows } = this.#prepare(query.sql)
    const parameters = query.parameters as readonly SQLInputValue[]
    if (returnsRows) return { rows: statement.all(...parameters) as R[] }
    const { changes } = statement.run(...parameters)
    return { rows: [], numAffectedRows: BigInt(changes) }
  }

  // oxlint-disable-next-line require-yield -- the interface asks for a generator; nothing in the vault streams.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('Streaming is not offered: page with a cursor.')
  }

  exec(sql: string): void {
    this.#database.exec(sql)
  }

  #prepare(sql: string): { statement: StatementSync; returnsRows: boolean } {
    const kept = this.#statements.get(sql)
    if (kept !== undefined) return kept
    const statement = this.#database.prepare(sql)
    const prepared = { statement, returnsRows: statement.columns().length > 0 }
    const oldest = this.#statements.size >= MAX_STATEMENTS ? this.#statements.keys().next().value : undefined
    if (oldest !== undefined) this.#statements.delete(oldest)
    this.#statements.set(sql, prepared)
    return prepared
  }
}

class SqliteDriver implements Driver {
  readonly #database: DatabaseSync
  readonly #connection: SqliteConnection

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#connection = new SqliteConnection(database)
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SqliteConnection> {
    return this.#connection
  }

  async beginTransaction(connection: SqliteConnection): Promise<void> {
    connection.exec('BEGIN IMMEDIATE')
  }

  async commitTransaction(connection: SqliteConnection): Promise<void> {
    connection.exec('COMMIT')
  }

  async rollbackTransaction(connection: SqliteConnection): Promise<void> {
    // After a full disk or an I/O error SQLite has rolled back by itself, and a second ROLLBACK would hide the first error.
    if (this.#database.isTransaction) connection.exec('ROLLBACK')
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    this.#database.close()
  }
}

/** The dialect over an open database; destroying the Kysely closes it. */
export function sqliteDialect(database: DatabaseSync): Dialect {
  return {
    createDriver: () => new SqliteDriver(database),
    createAdapter: () => new SqliteAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
  }
}

/** SQLite's extended result code of a thrown error, or null when it is not SQLite's. https://sqlite.org/rescode.html */
export function sqliteCode(thrown: unknown): number | null {
  if (!(thrown instanceof Error) || !('errcode' in thrown)) return null
  return typeof thrown.errcode === 'number' ? thrown.errcode : null
}

const SQLITE_BUSY = 5
const SQLITE_IOERR = 10
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555
const SQLITE_CONSTRAINT_UNIQUE = 2067

/** Another connection holds the lock: trying again later is right. */
export function isBusy(thrown: unknown): boolean {
  return ((sqliteCode(thrown) ?? 0) & 0xff) === SQLITE_BUSY
}

/** The disk failed under us: what this process knows of the file can no longer be trusted. */
export function isDiskFailure(thrown: unknown): boolean {
  return ((sqliteCode(thrown) ?? 0) & 0xff) === SQLITE_IOERR
}

/** A live row with this key is there already. */
export function isUniqueViolation(thrown: unknown): boolean {
  const code = sqliteCode(thrown)
  return code === SQLITE_CONSTRAINT_UNIQUE || code === SQLITE_CONSTRAINT_PRIMARYKEY
}
