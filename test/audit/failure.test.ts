/** Contract: what cannot be written is refused, health turns red, and writing goes on by itself with a chain that verifies. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test, vi } from 'vitest'
import { verifyAudit } from '../../src/audit/verify.ts'
import { release } from './events.ts'
import { edit, newPlace, openLog, RecordedLog, rows } from './setting.ts'

const REFUSAL = { name: 'CoatcheckError', code: 'audit_unavailable' }

test('a failing insert refuses everything that shared its transaction; later events continue the same chain', async () => {
  const place = newPlace()
  const log = await openLog(place)
  await log.append([release()])
  edit(
    place,
    `CREATE TRIGGER broken BEFORE INSERT ON audit_events WHEN new.seq > 3 BEGIN SELECT RAISE(FAIL, 'no'); END`,
  )
  const together = await Promise.allSettled(Array.from({ length: 5 }, () => log.append([release()])))
  for (const result of together) expect(result).toMatchObject({ status: 'rejected', reason: REFUSAL })
  expect(log.healthy).toBe(false)
  edit(place, 'DROP TRIGGER broken')
  await log.append([release({ path: '/after' })])
  expect(log.healthy).toBe(true)
  await log.close()
  expect(rows(place, 'SELECT seq FROM audit_events ORDER BY seq')).toEqual([{ seq: 1 }, { seq: 2 }])
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 2, writers: 1 })
})

test('health comes back by itself, without an append, once writing works again', async () => {
  const place = newPlace()
  const operator = new RecordedLog()
  const log = await openLog(place, { log: operator })
  edit(
    place,
    `CREATE TRIGGER broken BEFORE INSERT ON audit_events BEGIN SELECT RAISE(FAIL, 'no'); END;
    CREATE TRIGGER broken2 BEFORE INSERT ON audit_checkpoints BEGIN SELECT RAISE(FAIL, 'no'); END`,
  )
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  edit(place, 'DROP TRIGGER broken; DROP TRIGGER broken2')
  await vi.waitFor(() => expect(log.healthy).toBe(true), 10_000)
  expect(operator.messages()).toEqual(['The audit log cannot be written.', 'The audit log can be written again.'])
  expect(rows(place, 'SELECT count(*) AS n FROM audit_checkpoints')).toEqual([{ n: 0 }])
})

test('J08 a lock held by another connection refuses after the busy timeout, and the chain goes on after it', async () => {
  const place = newPlace()
  const log = await openLog(place, { busyTimeoutMs: 50 })
  await log.append([release()])
  const other = new DatabaseSync(place.databaseFile)
  onTestFinished(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  expect(log.healthy).toBe(false)
  other.exec('COMMIT')
  await log.append([release()])
  expect(log.healthy).toBe(true)
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 2, writers: 1 })
})

test('J08 a lock released within the busy timeout only delays', async () => {
  const place = newPlace()
  const log = await openLog(place, { busyTimeoutMs: 20_000 })
  const other = new DatabaseSync(place.databaseFile)
  onTestFinished(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  const appended = log.append([release()])
  setTimeout(() => other.exec('COMMIT'), 50)
  await appended
  expect(rows(place, 'SELECT count(*) AS n FROM audit_events')).toEqual([{ n: 1 }])
})

test('J08 beyond 50,000 waiting events an append is refused at once, and those waiting are kept', async () => {
  const place = newPlace()
  const log = await openLog(place, { busyTimeoutMs: 20_000 })
  const other = new DatabaseSync(place.databaseFile)
  onTestFinished(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  const first = log.append([release()])
  await new Promise(setImmediate)
  const many = log.append(Array.from({ length: 50_001 }, () => release()))
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  other.exec('COMMIT')
  await Promise.all([first, many])
  expect(rows(place, 'SELECT count(*) AS n FROM audit_events')).toEqual([{ n: 50_002 }])
})

test('J09 a database deleted under us refuses; when it is back, a new chain starts and everything verifies', async () => {
  const place = newPlace()
  const operator = new RecordedLog()
  const log = await openLog(place, { log: operator })
  await log.append([release()])
  const away = join(place.dataDir, 'away')
  mkdirSync(away)
  for (const suffix of ['', '-wal', '-shm']) renameSync(place.databaseFile + suffix, join(away, `db${suffix}`))
  const { writer } = log
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  await expect(log.append([release()])).rejects.toMatchObject(REFUSAL)
  expect(log.healthy).toBe(false)
  for (const suffix of ['', '-wal', '-shm']) {
    try {
      renameSync(join(away, `db${suffix}`), place.databaseFile + suffix)
    } catch {
      // The last connection's end removed it.
    }
  }
  await vi.waitFor(() => expect(log.healthy).toBe(true), 20_000)
  await log.append([release()])
  expect(log.writer).not.toBe(writer)
  await log.close()
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 2, writers: 2 })
})

test('a second copy that cannot be written is reported and stops nothing', async () => {
  const place = newPlace()
  mkdirSync(join(place.dataDir, 'audit-checkpoints.jsonl'))
  const operator = new RecordedLog()
  const log = await openLog(place, { log: operator, checkpointEvery: { events: 1, ms: 60_000 } })
  await log.append([release()])
  expect(operator.messages()).toEqual(['The second copy of a checkpoint was not written.'])
  expect(log.healthy).toBe(true)
  rmSync(join(place.dataDir, 'audit-checkpoints.jsonl'), { recursive: true })
  expect(await verifyAudit(place)).toMatchObject({ ok: true, checkpoints: 1 })
})

test('an event that cannot be written as JSON rejects and leaves the log as it was', async () => {
  const place = newPlace()
  const log = await openLog(place)
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  await expect(log.append([release(), circular as never])).rejects.toThrow('circular')
  await log.append([release()])
  expect(rows(place, 'SELECT count(*) AS n FROM audit_events')).toEqual([{ n: 1 }])
})

test('J02 a full disk refuses, loses nothing acknowledged, and space that returns is enough', async (context) => {
  const mount = mountSmallDisk()
  context.skip(mount === undefined, 'needs the right to mount a tmpfs')
  const place = newPlace(mount)
  const log = await openLog(place)
  let acknowledged = 0
  const fill = async (): Promise<void> => {
    for (;;) {
      await log.append([release({ path: `/${'x'.repeat(3000)}` })])
      acknowledged += 1
    }
  }
  await expect(fill()).rejects.toMatchObject(REFUSAL)
  expect(acknowledged).toBeGreaterThan(10)
  expect(log.healthy).toBe(false)
  rmSync(join(mount as string, 'ballast'))
  await vi.waitFor(() => expect(log.healthy).toBe(true), 20_000)
  await log.append([release()])
  await log.close()
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: acknowledged + 1, writers: 1 })
})

/** 4 MB, half of it taken by `ballast`; undefined where mounting is not allowed. */
function mountSmallDisk(): string | undefined {
  const at = mkdtempSync(join(tmpdir(), 'coatcheck-disk-'))
  onTestFinished(() => rmSync(at, { recursive: true, force: true }))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', at], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  onTestFinished(() => void execFileSync('umount', ['-l', at]))
  writeFileSync(join(at, 'ballast'), Buffer.alloc(2 * 1024 * 1024))
  return at
}
