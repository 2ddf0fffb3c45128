/** Contract: an append resolves when its events are durable, in order, grouped, chained and covered by checkpoints. */
import { createPublicKey, hash, verify } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test, vi } from 'vitest'
import { checkpointText } from '../../src/audit/checkpoint.ts'
import type { AuditSink } from '../../src/audit/sinks.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import { change, exchange, release } from './events.ts'
import { newPlace, openLog, type Place, rows } from './setting.ts'

const bodies = (place: Place) =>
  rows(place, 'SELECT body FROM audit_events ORDER BY rowid').map(({ body }) => JSON.parse(String(body)) as object)

const copies = (place: Place) =>
  readFileSync(join(place.dataDir, 'audit-checkpoints.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Parameters<typeof checkpointText>[0] & { signature: string })

test('an appended event can be read by another connection as soon as append resolves', async () => {
  const place = newPlace()
  const log = await openLog(place)
  await log.append([release(), exchange()])
  expect(bodies(place)).toEqual([
    { writer: log.writer, seq: 1, ...release() },
    { writer: log.writer, seq: 2, ...exchange() },
  ])
})

test('appends made while a transaction is being written share the next one, in the order they were made', async () => {
  const place = newPlace()
  const log = await openLog(place)
  const caller = async (name: number): Promise<void> => {
    for (let i = 0; i < 20; i += 1) await log.append([release({ path: `/${name}/${i}` })])
  }
  await Promise.all(Array.from({ length: 32 }, (_, name) => caller(name)))
  expect(log.written.events).toBe(640)
  expect(log.written.commits).toBeLessThan(320)
  const paths = bodies(place).map((body) => (body as { path: string }).path)
  for (let name = 0; name < 32; name += 1) {
    expect(paths.filter((path) => path.startsWith(`/${name}/`))).toEqual(
      Array.from({ length: 20 }, (_, i) => `/${name}/${i}`),
    )
  }
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 640, writers: 1 })
})

test('each hash is SHA-256 over the previous one, a newline and the body; the first previous one is 64 zeros', async () => {
  const place = newPlace()
  const log = await openLog(place)
  for (let i = 0; i < 19; i += 1) await log.append([change({ action: `step.${i}` }), release()])
  let previous = '0'.repeat(64)
  for (const { seq, body, hash: stored } of rows(
    place,
    'SELECT seq, body, lower(hex(hash)) AS hash FROM audit_events ORDER BY seq',
  )) {
    previous = hash('sha256', `${previous}\n${String(body)}`)
    expect({ seq, stored }).toEqual({ seq, stored: previous })
  }
})

test('texts with line ends, quotes, NUL, lone surrogates and every script come back as they were', async () => {
  const place = newPlace()
  const log = await openLog(place)
  const path = '/a\r\nb"c\\d\u0000e\u001b[31m\u2028\ud800ünï😀'
  await log.append([release({ path })])
  await log.append([release({ path: '/next' })])
  expect(bodies(place)).toMatchObject([{ path }, { path: '/next' }])
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 2 })
})

test('I02 a text of 1 MB is cut at 4 KiB', async () => {
  const place = newPlace()
  const log = await openLog(place)
  await log.append([release({ path: `/${'x'.repeat(1_000_000)}`, host: 'kept.test' })])
  const [event] = bodies(place) as { path: string; host: string }[]
  expect(event?.path).toHaveLength(4097)
  expect(event?.host).toBe('kept.test')
})

test('close writes what waits and a last checkpoint in both copies; a later append is refused', async () => {
  const place = newPlace()
  const log = await openLog(place)
  const pending = Array.from({ length: 10 }, () => log.append([release()]))
  await log.close()
  await Promise.all(pending)
  expect(log.healthy).toBe(false)
  await expect(log.append([release()])).rejects.toMatchObject({ code: 'audit_unavailable' })
  const stored = rows(place, 'SELECT writer, seq, time, hash, key_id AS keyId, signature FROM audit_checkpoints')
  expect(stored).toMatchObject([{ writer: log.writer, seq: 10 }])
  expect(copies(place)).toEqual([{ kind: 'checkpoint', ...stored[0] }])
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 10, checkpoints: 2 })
})

test('nothing appended leaves nothing: no events, no checkpoint, no second copy', async () => {
  const place = newPlace()
  const log = await openLog(place)
  await log.append([])
  await log.close()
  expect(await verifyAudit(place)).toEqual({ ok: true, events: 0, writers: 0, checkpoints: 0, firstBad: null })
})

test('a checkpoint is signed after so many events, by the exported key, and the second copy is readable by us alone', async () => {
  const place = newPlace()
  const log = await openLog(place, { checkpointEvery: { events: 5, ms: 60_000 } })
  for (let i = 0; i < 12; i += 1) await log.append([release()])
  const points = copies(place)
  expect(points.map(({ seq }) => seq)).toEqual([5, 10])
  const key = createPublicKey(readFileSync(join(place.dataDir, 'audit-key.pub.pem')))
  for (const point of points) {
    expect(checkpointText(point).toString()).toBe(
      `coatcheck-audit-checkpoint-v1\n${point.writer}\n${point.seq}\n${point.hash}\n${point.time}`,
    )
    expect(verify(null, checkpointText(point), key, Buffer.from(point.signature, 'base64'))).toBe(true)
  }
  expect(statSync(join(place.dataDir, 'audit-checkpoints.jsonl')).mode & 0o777).toBe(0o600)
})

test('a quiet log gets its checkpoint by time, and only one', async () => {
  const place = newPlace()
  const log = await openLog(place, { checkpointEvery: { events: 1000, ms: 20 } })
  await log.append([release()])
  await vi.waitFor(() => expect(rows(place, 'SELECT seq FROM audit_checkpoints')).toEqual([{ seq: 1 }]), 10_000)
  await log.close()
  expect(copies(place)).toHaveLength(1)
})

test('every opening is a new chain, and all of them verify', async () => {
  const place = newPlace()
  const writers = new Set<string>()
  for (let i = 0; i < 3; i += 1) {
    const log = await openLog(place)
    writers.add(log.writer)
    await log.append([release(), release()])
    await log.close()
  }
  expect(writers.size).toBe(3)
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 6, writers: 3, checkpoints: 6 })
})

test('two logs on one database at once both write, each its own chain', async () => {
  const place = newPlace()
  const logs = await Promise.all([openLog(place, { busyTimeoutMs: 5000 }), openLog(place, { busyTimeoutMs: 5000 })])
  await Promise.all(
    logs.map(async (log) => {
      for (let i = 0; i < 50; i += 1) await log.append([release()])
    }),
  )
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 100, writers: 2 })
})

test('sinks get every event and checkpoint, as stored, after they are durable', async () => {
  const place = newPlace()
  const reader = new DatabaseSync(place.databaseFile, { readOnly: true })
  onTestFinished(() => reader.close())
  const shipped: string[] = []
  const durable: number[] = []
  const sink: AuditSink = {
    name: 'test',
    lost: 0,
    write(lines) {
      shipped.push(...lines.slice(0, -1).split('\n'))
      durable.push(Number(reader.prepare('SELECT count(*) AS n FROM audit_events').get()?.['n']))
    },
    close: () => shipped.push('closed'),
  }
  const log = await openLog(place, { sinks: [sink] })
  await log.append([release(), exchange()])
  await log.close()
  expect(durable[0]).toBe(2)
  const stored = rows(place, 'SELECT body FROM audit_events ORDER BY seq').map(({ body }) => body)
  expect(shipped.slice(0, 2)).toEqual(stored)
  expect(JSON.parse(shipped[2] ?? '')).toMatchObject({ kind: 'checkpoint', writer: log.writer, seq: 2 })
  expect(shipped[3]).toBe('closed')
})

test('`process` durability writes the same chain', async () => {
  const place = newPlace()
  const log = await openLog(place, { durability: 'process' })
  await log.append([release()])
  expect(await verifyAudit(place)).toMatchObject({ ok: true, events: 1 })
})

test('a missing database is refused at opening and not created', async () => {
  const place = newPlace()
  await expect(openLog({ ...place, databaseFile: join(place.dataDir, 'other.db') })).rejects.toMatchObject({
    code: 'database_unusable',
  })
  expect(() => statSync(join(place.dataDir, 'other.db'))).toThrow('ENOENT')
})

test('a database without the audit tables is refused at opening', async () => {
  const place = newPlace()
  const bare = join(place.dataDir, 'bare.db')
  new DatabaseSync(bare).exec('CREATE TABLE t (x)')
  await expect(openLog({ ...place, databaseFile: bare })).rejects.toMatchObject({ code: 'database_unusable' })
})
