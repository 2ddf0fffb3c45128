/** Contract: whoever changes the log is found, and the first bad event is named with what is wrong. */
import { hash } from 'node:crypto'
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { verifyAudit } from '../../src/audit/verify.ts'
import { release } from './events.ts'
import { edit, newPlace, openLog, type Place } from './setting.ts'

/** Twenty events in one chain, with checkpoints at 5, 10, 15 and 20. */
async function filled(): Promise<{ place: Place; writer: string }> {
  const place = newPlace()
  const log = await openLog(place, { checkpointEvery: { events: 5, ms: 60_000 } })
  for (let i = 1; i <= 20; i += 1) await log.append([release({ path: `/${i}` })])
  await log.close()
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 20, checkpoints: 8 })
  return { place, writer: log.writer }
}

const COPY = 'audit-checkpoints.jsonl'
const tampered: readonly { what: string; statements: string; seq: number; reason: string }[] = [
  {
    what: 'an edited body',
    statements: `UPDATE audit_events SET body = replace(body, 'api.test', 'api.evil') WHERE seq = 7`,
    seq: 7,
    reason: 'body or hash was changed',
  },
  {
    what: 'an edited hash',
    statements: `UPDATE audit_events SET hash = zeroblob(32) WHERE seq = 7`,
    seq: 7,
    reason: 'body or hash was changed',
  },
  {
    what: 'a body that is no event any more',
    statements: `UPDATE audit_events SET body = '[]' WHERE seq = 20`,
    seq: 20,
    reason: 'body or hash was changed',
  },
  { what: 'a deleted event', statements: 'DELETE FROM audit_events WHERE seq = 7', seq: 7, reason: 'missing' },
  { what: 'a deleted first event', statements: 'DELETE FROM audit_events WHERE seq = 1', seq: 1, reason: 'missing' },
  {
    what: 'a tail cut with its checkpoints',
    statements: 'DELETE FROM audit_events WHERE seq > 12; DELETE FROM audit_checkpoints WHERE seq > 12',
    seq: 13,
    reason: 'the chain was cut: its last event is 12',
  },
  {
    what: 'a whole chain removed with its checkpoints',
    statements: 'DELETE FROM audit_events; DELETE FROM audit_checkpoints',
    seq: 1,
    reason: 'the whole chain is missing',
  },
  {
    what: 'an inserted event, the later ones moved up',
    statements: `UPDATE audit_events SET id = -id - 1, seq = seq + 1 WHERE seq > 6;
      UPDATE audit_events SET id = -id WHERE id < 0;
      INSERT INTO audit_events SELECT id + 1, writer, 7, body, hash FROM audit_events WHERE seq = 6`,
    seq: 7,
    reason: 'body or hash was changed',
  },
  {
    what: 'an event that was added once more at the end',
    statements: `INSERT INTO audit_events (writer, seq, body, hash)
      SELECT writer, seq, body, hash FROM audit_events WHERE seq = 6`,
    seq: 21,
    reason: 'missing: the next event is 6',
  },
  {
    what: 'two events swapped',
    statements: `UPDATE audit_events SET id = -1 WHERE seq = 7; UPDATE audit_events SET id = id - 1 WHERE seq = 8;
      UPDATE audit_events SET id = 8 WHERE id = -1`,
    seq: 7,
    reason: 'missing: the next event is 8',
  },
  {
    what: 'two events swapped with their numbers',
    statements: `UPDATE audit_events SET id = -1, seq = 8 WHERE seq = 7;
      UPDATE audit_events SET id = 7, seq = 7 WHERE id = 8;
      UPDATE audit_events SET id = 8 WHERE id = -1`,
    seq: 7,
    reason: 'body or hash was changed',
  },
  {
    what: 'a checkpoint moved to another event',
    statements: 'UPDATE audit_checkpoints SET seq = 11 WHERE seq = 10',
    seq: 11,
    reason: 'wrong signature',
  },
  {
    what: 'a checkpoint under another key id',
    statements: `UPDATE audit_checkpoints SET key_id = 'mine' WHERE seq = 10`,
    seq: 10,
    reason: 'another key',
  },
]

for (const { what, statements, seq, reason } of tampered) {
  test(`J21 ${what} is found at ${seq}`, async () => {
    const { place, writer } = await filled()
    edit(place, statements)
    const report = await verifyAudit(place)
    expect(report).toMatchObject({ ok: false, firstBad: { writer, seq } })
    expect(report.firstBad?.reason).toContain(reason)
  })
}

test('J21 a chain rewritten from an edit on, every hash made right again, is found by the next checkpoint', async () => {
  const { place, writer } = await filled()
  const db = new DatabaseSync(place.databaseFile)
  let previous = '0'.repeat(64)
  for (const row of db.prepare('SELECT seq, body FROM audit_events ORDER BY seq').all()) {
    const body = row['seq'] === 7 ? String(row['body']).replace('api.test', 'api.evil') : String(row['body'])
    previous = hash('sha256', `${previous}\n${body}`)
    db.prepare('UPDATE audit_events SET body = ?, hash = unhex(?) WHERE seq = ?').run(
      body,
      previous,
      Number(row['seq']),
    )
  }
  db.close()
  expect(await verifyAudit(place)).toMatchObject({ ok: false, firstBad: { writer, seq: 10 } })
})

test('J21 an older copy of the database is found, because the second copy of the checkpoints knows more', async () => {
  const place = newPlace()
  const log = await openLog(place, { checkpointEvery: { events: 5, ms: 60_000 } })
  for (let i = 0; i < 10; i += 1) await log.append([release()])
  edit(place, `VACUUM INTO '${join(place.dataDir, 'old.db')}'`)
  for (let i = 0; i < 10; i += 1) await log.append([release()])
  await log.close()
  for (const file of ['-wal', '-shm']) rmSync(place.databaseFile + file, { force: true })
  copyFileSync(join(place.dataDir, 'old.db'), place.databaseFile)
  const { firstBad } = await verifyAudit(place)
  expect(firstBad).toMatchObject({ writer: log.writer, seq: 11 })
})

test('J17 a database copied without its -wal is found', async () => {
  const place = newPlace()
  const log = await openLog(place)
  const keepsWal = new DatabaseSync(place.databaseFile)
  keepsWal.prepare('SELECT count(*) FROM audit_events').get()
  for (let i = 0; i < 10; i += 1) await log.append([release()])
  await log.close()
  const copied = { ...place, databaseFile: join(place.dataDir, 'copied.db') }
  copyFileSync(place.databaseFile, copied.databaseFile)
  keepsWal.close()
  expect(await verifyAudit(copied)).toMatchObject({ ok: false, firstBad: { writer: log.writer, seq: 1 } })
  expect(await verifyAudit(place)).toMatchObject({ ok: true })
})

test('a copied checkpoint nobody signed is found', async () => {
  const { place } = await filled()
  const file = join(place.dataDir, COPY)
  writeFileSync(file, readFileSync(file, 'utf8').replace('"seq":20', '"seq":19'))
  const { firstBad } = await verifyAudit(place)
  expect(firstBad).toMatchObject({ seq: 19 })
})

test('a public key of the verifier’s own shows that the data directory’s pair was replaced', async () => {
  const { place } = await filled()
  const other = await filled()
  const publicKey = readFileSync(join(other.place.dataDir, 'audit-key.pub.pem'), 'utf8')
  expect(await verifyAudit({ ...place, publicKey })).toMatchObject({ ok: false })
  const own = readFileSync(join(place.dataDir, 'audit-key.pub.pem'), 'utf8')
  expect(await verifyAudit({ ...place, publicKey: own })).toMatchObject({ ok: true })
})

test('a line of the second copy that a crash cut short is passed over', async () => {
  const { place } = await filled()
  const file = join(place.dataDir, COPY)
  writeFileSync(file, `${readFileSync(file, 'utf8')}\n{"kind":"checkpoint","wri`)
  const log = await openLog(place)
  await log.append([release()])
  await log.close()
  expect(await verifyAudit(place)).toMatchObject({ ok: true, checkpoints: 10 })
})

test('an unfinished tail, which no checkpoint covers, is no failure', async () => {
  const { place } = await filled()
  edit(place, 'DELETE FROM audit_checkpoints WHERE seq > 15')
  const file = join(place.dataDir, COPY)
  const lines = readFileSync(file, 'utf8').split('\n')
  writeFileSync(file, lines.filter((line) => !line.includes('"seq":20')).join('\n'))
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 20 })
})
