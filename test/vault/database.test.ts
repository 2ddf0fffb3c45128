/** The database is private, durable and of a known schema, or it is not opened; whatever was found stays as it was. */
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { type Database, openDatabase } from '../../src/vault/database.ts'
import { migrate } from '../../src/vault/migrate.ts'
import { foundation } from '../../src/vault/migrations/001-foundation.ts'
import type { Schema } from '../../src/vault/schema.ts'
import { sqliteDialect } from '../../src/vault/sqlite-dialect.ts'
import { openVault, temporaryDirectory } from './open-vault.ts'

let root: string
let dataDir: string
const opened: Database[] = []

beforeEach(async () => {
  root = await temporaryDirectory()
  dataDir = join(root, 'data')
})

afterEach(async () => {
  for (const database of opened.splice(0)) await database.close()
  await rm(root, { recursive: true, force: true })
})

async function open(options: Partial<Parameters<typeof openDatabase>[0]> = {}): Promise<Database> {
  const database = await openDatabase({ url: 'sqlite', dataDir, ...options })
  opened.push(database)
  return database
}

async function pragma(database: Database, name: string): Promise<unknown> {
  return await database.transaction(async (db) => {
    const { rows } = await sql.raw<Record<string, unknown>>(`PRAGMA ${name}`).execute(db)
    return Object.values(rows[0] ?? {})[0]
  })
}

describe('opening', () => {
  it('sets WAL, synchronous=FULL, foreign keys and secure_delete', async () => {
    const database = await open()
    expect(await pragma(database, 'journal_mode')).toBe('wal')
    expect(await pragma(database, 'synchronous')).toBe(2)
    expect(await pragma(database, 'foreign_keys')).toBe(1)
    expect(await pragma(database, 'secure_delete')).toBe(1)
  })

  it('relaxes synchronous to NORMAL only when durability is `process`', async () => {
    expect(await pragma(await open({ durability: 'process' }), 'synchronous')).toBe(1)
  })

  it('makes the directory 0700 and every file in it 0600, -wal and -shm too, whatever the umask', async () => {
    const umask = process.umask(0)
    try {
      const vault = await openVault({ dir: dataDir })
      await vault.tokens.ensureAdminToken(dataDir)
      await vault.secrets.create(vault.owner, { name: 'a', value: SecretValue.fromText('a long enough value') })
      const names = await readdir(dataDir)
      expect([...names].sort()).toEqual([
        'admin-token',
        'coatcheck.db',
        'coatcheck.db-shm',
        'coatcheck.db-wal',
        'keyring.json',
      ])
      for (const name of names) expect((await stat(join(dataDir, name))).mode & 0o777, name).toBe(0o600)
      expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
      await vault.close()
    } finally {
      process.umask(umask)
    }
  })

  it('keeps what is there', async () => {
    const first = await open()
    const second = await open()
    expect(second.defaultWorkspaceId).toBe(first.defaultWorkspaceId)
  })

  it('works for many openers at once, which all see the same workspace', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, async () => await open()))
    expect(new Set(all.map((database) => database.defaultWorkspaceId)).size).toBe(1)
  })
})

describe('refusing', () => {
  it.each(['postgres://u:hunter2@h/db', 'postgresql://h/db', 'mysql://h', ''])('does not open %s', async (url) => {
    const refusal = open({ url })
    await expect(refusal).rejects.toMatchObject({ code: 'database_unusable' })
    await expect(refusal).rejects.not.toThrow(/hunter2/)
    await expect(stat(dataDir)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('does not open a file that other users can read', async () => {
    await (await open()).close()
    opened.length = 0
    const file = join(dataDir, 'coatcheck.db')
    await chmod(file, 0o644)
    await expect(open()).rejects.toMatchObject({ code: 'database_unusable' })
    expect((await stat(file)).mode & 0o777).toBe(0o644)
  })

  it('does not open what is not a database, and leaves it as it is', async () => {
    await (await open()).close()
    opened.length = 0
    const file = join(dataDir, 'coatcheck.db')
    const rubbish = Buffer.from('not a database at all. '.repeat(400))
    await writeFile(file, rubbish)
    await expect(open()).rejects.toMatchObject({ code: 'database_unusable' })
    expect(await readFile(file)).toEqual(rubbish)
  })

  it('does not open a newer schema, another history, or the database of some other program', async () => {
    const database = await open()
    const row = { number: 99, name: '099-future', applied_at: '2030-01-01T00:00:00.000Z' }
    await database.transaction(async (trx) => await trx.insertInto('schema_migrations').values(row).execute())
    await expect(open()).rejects.toThrow(/099-future/)
    await database.transaction(async (trx) => {
      await trx.deleteFrom('schema_migrations').execute()
      await trx
        .insertInto('schema_migrations')
        .values({ ...row, number: 1, name: '001-other' })
        .execute()
    })
    await expect(open()).rejects.toMatchObject({ code: 'database_unusable' })
    await database.transaction(async (trx) => await trx.schema.dropTable('schema_migrations').execute())
    await expect(open()).rejects.toThrow(/some other program/)
  })

  it('does not open a directory it cannot make', async () => {
    await writeFile(join(root, 'data'), '')
    await expect(open()).rejects.toMatchObject({ code: 'database_unusable' })
  })
})

describe('migrating', () => {
  it('applies a step whole or not at all, and goes on from there', async () => {
    const raw = new DatabaseSync(':memory:')
    const kysely = new Kysely<Schema>({ dialect: sqliteDialect(raw) })
    const run = async (up: (db: Kysely<Schema>) => Promise<void>) =>
      await migrate({
        migrations: [foundation, { number: 2, name: '002-next', up }],
        file: 'memory',
        now: 0,
        transaction: async (work) => await kysely.transaction().execute(work),
      })
    const create = async (db: Kysely<Schema>) => {
      await sql`CREATE TABLE next (id INTEGER)`.execute(db)
    }
    const broken = run(async (db) => {
      await create(db)
      throw new Error('killed here')
    })
    await expect(broken).rejects.toThrow('killed here')
    const names = async () =>
      (await kysely.selectFrom('schema_migrations').select('name').execute()).map((row) => row.name)
    expect(await names()).toEqual(['001-foundation'])
    expect(raw.prepare("SELECT 1 FROM sqlite_master WHERE name = 'next'").get()).toBeUndefined()
    await run(create)
    await run(create)
    expect(await names()).toEqual(['001-foundation', '002-next'])
    await kysely.destroy()
  })

  it('makes an audit table that holds an event and its place in the chain', async () => {
    const database = await open()
    const rows = await database.transaction(async (trx) => {
      await sql`INSERT INTO audit_events (writer, seq, body, hash) VALUES (1, 1, '{}', 'h1')`.execute(trx)
      return (await sql`SELECT * FROM audit_events`.execute(trx)).rows
    })
    expect(rows).toEqual([{ id: 1, writer: 1, seq: 1, body: '{}', hash: 'h1' }])
  })
})

describe('a lock held by someone else', () => {
  it('is waited for without stopping the process', async () => {
    const database = await open()
    const holder = new DatabaseSync(database.file)
    holder.exec('BEGIN IMMEDIATE')
    let ticks = 0
    const ticking = setInterval(() => ticks++, 5)
    const change = database.change(async () => 'done')
    await new Promise((resolve) => setTimeout(resolve, 300))
    holder.exec('COMMIT')
    holder.close()
    expect(await change).toBe('done')
    clearInterval(ticking)
    expect(ticks).toBeGreaterThan(1)
  })

  it('does not keep readers waiting, and ends a change with store_unavailable when it never goes', async () => {
    const database = await open()
    const holder = new DatabaseSync(database.file)
    holder.exec('BEGIN IMMEDIATE')
    expect(database.revision()).toBeGreaterThan(0)
    await expect(database.change(async () => 'done')).rejects.toMatchObject({ code: 'store_unavailable' })
    holder.exec('ROLLBACK')
    holder.close()
    expect(await database.change(async () => 'done')).toBe('done')
  }, 20_000)
})

describe('the revision', () => {
  it('grows with each change, is not bumped by one that failed, and is seen by another opener', async () => {
    let now = 1_000
    const clock = () => now
    const mine = await open({ clock })
    const theirs = await open({ clock })
    const before = theirs.revision()
    await mine.change(async () => undefined)
    expect(mine.revision()).toBe(before + 1)
    expect(theirs.revision()).toBe(before)
    now += 199
    expect(theirs.revision()).toBe(before)
    now += 1
    expect(theirs.revision()).toBe(before + 1)
    const failing = mine.change(async () => {
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    now += 200
    expect(mine.revision()).toBe(before + 1)
  })
})
