/**
 * The log under what a disk, a clock and the years may do to it: a torn end, a reader that never lets go, a clock that goes back,
 * and more events than anyone reads.
 */
import { randomInt } from 'node:crypto'
import { cpSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, it, onTestFinished } from 'vitest'
import { AuditRecords } from '../../src/audit/records.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import type { Principal } from '../../src/core/ports.ts'
import { exchange, release } from '../audit/events.ts'
import { newPlace, openLog, type Place, rows } from '../audit/setting.ts'
import { Rig } from '../support/rig.ts'
import { send } from '../support/sandbox-client.ts'

/** Never by itself while a test runs. */
const NO_CHECKPOINT = { checkpointEvery: { events: 1_000_000, ms: 3_600_000 } }
const SECTOR = 512

const walOf = ({ databaseFile }: Place) => `${databaseFile}-wal`
const sequence = (place: Place) => rows(place, 'SELECT seq FROM audit_events ORDER BY rowid').map(({ seq }) => seq)
const upTo = (length: number) => Array.from({ length }, (_none, i) => i + 1)

/** A copy of the files as they are on disk now. */
function copyOf(from: Place): Place {
  const to = newPlace()
  cpSync(from.dataDir, to.dataDir, { recursive: true, force: true })
  return to
}

it('J04 a write-ahead log that was torn anywhere opens with the events before the tear, whole, and goes on', async () => {
  const place = newPlace()
  const log = await openLog(place, NO_CHECKPOINT)
  for (let i = 0; i < 60; i += 1) await log.append([release({ path: `/${i}` })])
  const whole = copyOf(place)
  const { size } = statSync(walOf(whole))
  const tears = [0, 1, 31, 32, size - 1, ...Array.from({ length: 30 }, () => randomInt(size))].sort((a, b) => a - b)
  let least = 0
  for (const tear of tears) {
    for (const how of ['cut', 'overwritten'] as const) {
      const torn = copyOf(whole)
      if (how === 'cut') truncateSync(walOf(torn), tear)
      else {
        const bytes = readFileSync(walOf(torn))
        bytes.fill(0xa5, tear, Math.min(size, tear + SECTOR))
        writeFileSync(walOf(torn), bytes)
      }
      const left = sequence(torn)
      expect(left, `${how} at ${tear}`).toEqual(upTo(left.length))
      expect(left.length, `${how} at ${tear}`).toBeGreaterThanOrEqual(how === 'cut' ? least : 0)
      if (how === 'cut') least = left.length
    }
  }
  const torn = copyOf(whole)
  truncateSync(walOf(torn), size - SECTOR)
  const again = await openLog(torn, NO_CHECKPOINT)
  await again.append([release({ path: '/after' })])
  expect(await verifyAudit(torn)).toMatchObject({ ok: true, events: 60, writers: 2 })
})

it('J10 a reader that never lets go lets the write-ahead log grow, holds nothing up, and once gone the room is used again', async () => {
  const place = newPlace()
  const log = await openLog(place, NO_CHECKPOINT)
  const reader = new DatabaseSync(place.databaseFile, { readOnly: true })
  onTestFinished(() => reader.close())
  reader.exec('BEGIN')
  expect(reader.prepare('SELECT count(*) AS n FROM audit_events').get()).toEqual({ n: 0 })
  const fill = async () => {
    for (let i = 0; i < 40; i += 1) await log.append(Array.from({ length: 250 }, () => exchange()))
  }
  await fill()
  const grown = statSync(walOf(place)).size
  expect(grown).toBeGreaterThan(4 * 1024 * 1024)
  expect(log.healthy).toBe(true)
  reader.exec('COMMIT')
  await fill()
  // What is checkpointed with the first of these makes room for the others.
  expect(statSync(walOf(place)).size).toBeLessThan(grown * 1.5)
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 20_000 })
})

it('J18 a clock that goes back changes neither the order of events nor what verifies', async () => {
  let now = Date.now()
  const rig = await Rig.start({ clock: () => now })
  try {
    for (const [path, step] of [
      ['/1', 0],
      ['/2', -86_400_000],
      ['/3', 3_600_000],
      ['/4', -600_000],
    ] as const) {
      now += step
      const answer = await send(rig, { path, headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
      expect(answer.status).toBe(200)
    }
    const events = await rig.events()
    const paths = events.filter(({ kind }) => kind === 'exchange').map((event) => 'path' in event && event.path)
    expect(paths).toEqual(['/1', '/2', '/3', '/4'])
    expect(events.map(({ seq }) => seq)).toEqual(upTo(events.length).map((seq) => seq + (events[0]?.seq ?? 1) - 1))
    expect(await rig.app.data.records.verify()).toMatchObject({ ok: true, firstBad: null })
  } finally {
    await rig.stop()
  }
})

it('J20 a long log is read, searched for what is not in it, and verified in pieces that hold nothing up', async () => {
  const EVENTS = 30_000
  const place = newPlace()
  const log = await openLog(place)
  for (let i = 0; i < EVENTS; i += 1000) {
    await log.append(Array.from({ length: 1000 }, (_none, n) => exchange({ path: `/${i + n}` })))
  }
  const records = new AuditRecords(place)
  onTestFinished(() => records.close())
  const reader = { kind: 'user', workspaceId: 'w1' } as unknown as Principal
  let turns = 0
  const counting = { on: true }
  const count = () => {
    turns += 1
    if (counting.on) setImmediate(count)
  }
  setImmediate(count)
  expect((await records.list(reader, { limit: 50, cursor: null, host: 'nowhere.test' })).items).toEqual([])
  expect(turns).toBeGreaterThanOrEqual(EVENTS / 1000 - 1)
  turns = 0
  expect(await records.verify()).toMatchObject({ ok: true, events: EVENTS })
  expect(turns).toBeGreaterThanOrEqual(EVENTS / 1000 - 1)
  counting.on = false
  const { items, nextCursor } = await records.list(reader, { limit: 2, cursor: null })
  expect(items.map((event) => 'path' in event && event.path)).toEqual([`/${EVENTS - 1}`, `/${EVENTS - 2}`])
  const [next] = (await records.list(reader, { limit: 1, cursor: nextCursor })).items
  expect(next).toMatchObject({ path: `/${EVENTS - 3}` })
})
