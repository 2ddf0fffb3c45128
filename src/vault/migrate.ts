/** Brings a database to the schema this program knows, one migration per transaction; refuses one it does not know. */
import { type Kysely, sql } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { Schema } from './schema.ts'

/** One step of the schema. Applied whole or not at all, once, in order of its number. */
export interface Migration {
  readonly number: number
  /** As the file is called, `NNN-name`. */
  readonly name: string
  /** `now` in milliseconds since the epoch. */
  up(db: Kysely<Schema>, now: number): Promise<void>
}

interface MigrateOptions {
  readonly migrations: readonly Migration[]
  /** Shown in errors. */
  readonly file: string
  readonly now: number
  /** Runs its work in one transaction that excludes every other writer, in other processes too. */
  readonly transaction: <T>(work: (trx: Kysely<Schema>) => Promise<T>) => Promise<T>
}

/** Applies what is missing. Throws `database_unusable` for a newer schema, another history, or a foreign file. */
export async function migrate(options: MigrateOptions): Promise<void> {
  await options.transaction(async (trx) => await createHistory(trx, options.file))
  for (const migration of options.migrations) {
    // The history is read again inside each transaction: another process may be migrating the same file.
    await options.transaction(async (trx) => {
      if (!(await isApplied(trx, options, migration))) await apply(trx, migration, options.now)
    })
  }
}

async function createHistory(trx: Kysely<Schema>, file: string): Promise<void> {
  const { rows } = await sql<{ name: string }>`SELECT name FROM sqlite_master WHERE type = 'table'`.execute(trx)
  if (rows.some((row) => row.name === 'schema_migrations')) return
  if (rows.length > 0) {
    throw new CoatcheckError(
      'database_unusable',
      `${file} is a database of some other program: it has tables but no schema_migrations.`,
      'Point dataDir at an empty directory or at one that coatcheck made.',
    )
  }
  await sql`CREATE TABLE schema_migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)`.execute(
    trx,
  )
}

async function isApplied(trx: Kysely<Schema>, options: MigrateOptions, migration: Migration): Promise<boolean> {
  const applied = await trx.selectFrom('schema_migrations').select(['number', 'name']).execute()
  const known = new Map(options.migrations.map((each) => [each.number, each.name]))
  const strange = applied.find((row) => known.get(row.number) !== row.name)
  if (strange !== undefined) {
    throw new CoatcheckError(
      'database_unusable',
      `${options.file} has schema ${strange.name}, which this version of coatcheck does not know (it knows up to ${options.migrations.at(-1)?.name}).`,
      'Run the version of coatcheck that last wrote this database, or a newer one.',
    )
  }
  return applied.some((row) => row.number === migration.number)
}

async function apply(trx: Kysely<Schema>, migration: Migration, now: number): Promise<void> {
  await migration.up(trx, now)
  const applied_at = new Date(now).toISOString()
  await trx
    .insertInto('schema_migrations')
    .values({ number: migration.number, name: migration.name, applied_at })
    .execute()
}
