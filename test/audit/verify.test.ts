/** Contract: a log that nobody touched verifies, whoever wrote it together, also while it is being written. */
import { hash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { verifyAudit } from '../../src/audit/verify.ts'
import { migrate } from '../../src/vault/migrate.ts'
import { foundation } from '../../src/vault/migrations/001-foundation.ts'
import { auditRows } from '../../src/vault/migrations/012-audit-rows.ts'
import type { Schema } from '../../src/vault/schema.ts'
import { sqliteDialect } from '../../src/vault/sqlite-dialect.ts'
import { temporaryDirectory } from '../vault/open-vault.ts'
import { release } from './events.ts'
import { edit, newPlace, openLog } from './setting.ts'

const events = (count: number) => Array.from({ length: count }, () => release())

test('two chains that were written in turn verify, each with its checkpoints', async () => {
  const place = newPlace()
  const options = { checkpointEvery: { events: 90, ms: 60_000 } }
  const [one, other] = [await openLog(place, options), await openLog(place, options)]
  for (let i = 0; i < 40; i += 1) {
    await one.append(events(7))
    await other.append(events(30))
  }
  await one.close()
  await other.close()
  // The last of each is written when it closes.
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 1480, writers: 2, checkpoints: 2 * (4 + 14) })
})

test('a log verifies while events, checkpoints and chains are added to it', async () => {
  const place = newPlace()
  const options = { checkpointEvery: { events: 1, ms: 60_000 } }
  const log = await openLog(place, options)
  // More checkpoints than are read at once, so that some are read that were not there when the events were.
  for (let i = 0; i < 450; i += 1) await log.append(events(1))
  const verified = new AbortController()
  const writing = (async () => {
    while (!verified.signal.aborted) {
      await log.append(events(300))
      const another = await openLog(place, options)
      await another.append(events(25))
      await another.close()
    }
  })()
  const reports = []
  for (let i = 0; i < 5; i += 1) reports.push(await verifyAudit(place))
  verified.abort()
  await writing
  expect(reports.map(({ firstBad }) => firstBad)).toEqual([null, null, null, null, null])
})

/** Two chains of three events, as rows were before 012; `tamper` is done to them before the upgrade. */
async function upgraded(tamper = ''): Promise<{ dataDir: string; databaseFile: string }> {
  const dataDir = await temporaryDirectory()
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const databaseFile = join(dataDir, 'coatcheck.db')
  const raw = new DatabaseSync(databaseFile)
  const kysely = new Kysely<Schema>({ dialect: sqliteDialect(raw) })
  const transaction = async <T>(work: (trx: Kysely<Schema>) => Promise<T>) => await kysely.transaction().execute(work)
  await migrate({ migrations: [foundation], file: databaseFile, now: 0, transaction })
  for (const writer of ['w2', 'w1']) {
    let previous = '0'.repeat(64)
    for (let seq = 1; seq <= 3; seq += 1) {
      const body = JSON.stringify({ writer, seq, ...release() })
      previous = hash('sha256', `${previous}\n${body}`)
      raw
        .prepare('INSERT INTO audit_events (writer, seq, body, hash) VALUES (?, ?, ?, ?)')
        .run(writer, seq, body, previous)
    }
  }
  raw.exec(tamper)
  await migrate({ migrations: [foundation, auditRows], file: databaseFile, now: 0, transaction })
  await kysely.destroy()
  return { dataDir, databaseFile }
}

test('chains of an older database verify after the upgrade, in the order they were written', async () => {
  const place = await upgraded()
  expect(await verifyAudit(place)).toEqual({ ok: true, events: 6, writers: 2, checkpoints: 0, firstBad: null })
  edit(place, 'DELETE FROM audit_events WHERE id = 2')
  expect(await verifyAudit(place)).toMatchObject({ firstBad: { writer: 'w2', seq: 2 } })
})

test('an event that was tampered with before the upgrade is found after it', async () => {
  const body = await upgraded(`UPDATE audit_events SET body = replace(body, 'api.test', 'api.evil') WHERE seq = 2`)
  expect(await verifyAudit(body)).toMatchObject({ firstBad: { writer: 'w2', seq: 2 } })
  const noHash = await upgraded(`UPDATE audit_events SET hash = 'none' WHERE writer = 'w1' AND seq = 3`)
  expect(await verifyAudit(noHash)).toMatchObject({ events: 6, firstBad: { writer: 'w1', seq: 3 } })
})
