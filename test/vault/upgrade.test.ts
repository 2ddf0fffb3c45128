/** A database of the first schema keeps its meaning under the next: tokens their power, mounts their secrets, tombstones their end. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../src/vault/credential.ts'
import { migrate } from '../../src/vault/migrate.ts'
import { foundation } from '../../src/vault/migrations/001-foundation.ts'
import type { Schema } from '../../src/vault/schema.ts'
import { sqliteDialect } from '../../src/vault/sqlite-dialect.ts'
import { openVault, temporaryDirectory } from './open-vault.ts'

const TIME = '2029-01-01T00:00:00.000Z'
const TOKEN = `cct_${'a'.repeat(43)}`
let root: string

beforeEach(async () => {
  root = await temporaryDirectory()
})

afterEach(async () => {
  await rm(root, { recursive: true, force: true })
})

async function firstSchema(dir: string): Promise<void> {
  await mkdir(dir, { mode: 0o700 })
  const umask = process.umask(0o077)
  const raw = new DatabaseSync(join(dir, 'coatcheck.db'))
  raw.exec('PRAGMA journal_mode = WAL')
  process.umask(umask)
  const kysely = new Kysely<Schema>({ dialect: sqliteDialect(raw) })
  const transaction = async <T>(work: (trx: Kysely<Schema>) => Promise<T>) => await kysely.transaction().execute(work)
  await migrate({ migrations: [foundation], file: 'old', now: Date.parse(TIME), transaction })
  const one = (query: string) => String(Object.values(raw.prepare(query).get() ?? {})[0])
  const workspace = one(`SELECT id FROM scopes WHERE kind = 'workspace'`)
  const admin = one(`SELECT id FROM principals WHERE name = 'admin'`)
  raw
    .prepare(`INSERT INTO tokens VALUES ('t1', ?, ?, 'ci', ?, 'admin', ?, NULL, NULL, NULL)`)
    .run(workspace, admin, digestOf(TOKEN), TIME)
  for (const [id, deleted] of [
    ['live', null],
    ['dead', TIME],
  ] as const) {
    raw
      .prepare(
        `INSERT INTO secrets VALUES (?, ?, ?, ?, ?, ?, 'api_key', NULL, NULL, '["credential-headers"]', 0, '{}', NULL, 2,
          '2031-01-01T00:00:00.000Z', 'admin', ?, ?, ?)`,
      )
      .run(id, workspace, `name-${id}`, `name-${id}`, `xcoat_${id}`, `xcoat_${id}`, TIME, TIME, deleted)
    for (const version of [1, 2]) {
      raw.prepare(`INSERT INTO secret_versions VALUES (?, ?, NULL, NULL, 'k', 'admin', ?, NULL)`).run(id, version, TIME)
    }
  }
  raw.prepare(`INSERT INTO sandboxes VALUES ('s1', ?, 'box', NULL, 1, 'admin', ?, ?, NULL)`).run(workspace, TIME, TIME)
  raw.exec(`INSERT INTO mounts VALUES ('s1', 'KEY', 'live')`)
  await kysely.destroy()
}

it('keeps tokens, secrets, versions, mounts and tombstones', async () => {
  const dir = join(root, 'data')
  await firstSchema(dir)
  const vault = await openVault({ dir })
  const principal = await vault.tokens.authenticate(TOKEN)
  expect(principal).toMatchObject({ role: 'admin', homeId: vault.owner.workspaceId, scopeId: vault.owner.workspaceId })
  expect(await vault.secrets.get(vault.owner, 'name-live')).toMatchObject({
    readPolicy: 'never',
    state: 'current',
    version: 2,
    metadata: {},
    expiresAt: '2031-01-01T00:00:00.000Z',
  })
  expect(await vault.secrets.versions(vault.owner, 'name-live')).toMatchObject([
    { version: 2, type: 'api_key', expiresAt: '2031-01-01T00:00:00.000Z' },
    { version: 1, type: 'api_key', expiresAt: null },
  ])
  expect((await vault.sandboxes.get(vault.owner, 'box')).mounts).toEqual({ KEY: 'name-live' })
  await expect(vault.secrets.get(vault.owner, 'name-dead')).rejects.toMatchObject({ code: 'not_found' })
  await expect(vault.secrets.revive(vault.owner, 'name-dead')).rejects.toMatchObject({ code: 'not_found' })
  await vault.close()
})
