/** Contract: a principal reads its own workspace's events, newest first, page by page, by what it asked for. */
import { expect, onTestFinished, test } from 'vitest'
import { AuditRecords } from '../../src/audit/records.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { AuditFilter, Principal } from '../../src/core/ports.ts'
import { change, exchange, release } from './events.ts'
import { edit, newPlace, openLog, type Place } from './setting.ts'

const scope = { workspaceId: 'w1', scopeId: 'w1', homeId: 'w1', accountId: 'a1', sandboxId: null }
const principal: Principal = { kind: 'user', id: 'u1', name: 'ann', role: 'admin', ...scope }

async function recorded(events: readonly AuditEvent[]): Promise<{ place: Place; records: AuditRecords }> {
  const place = newPlace()
  const log = await openLog(place)
  await log.append(events)
  const records = new AuditRecords(place)
  onTestFinished(() => records.close())
  return { place, records }
}

async function paths(records: AuditRecords, filter: AuditFilter = {}, who = principal): Promise<unknown[]> {
  const { items } = await records.list(who, { limit: 200, cursor: null, ...filter })
  return items.map((event) => ('path' in event ? event.path : event.action))
}

test('events come newest first, with their place in the chain', async () => {
  const { records } = await recorded([release({ path: '/1' }), exchange({ path: '/2' })])
  const { items, nextCursor } = await records.list(principal, { limit: 10, cursor: null })
  expect(items).toEqual([
    { ...exchange({ path: '/2' }), writer: items[0]?.writer, seq: 2, hash: items[0]?.hash },
    { ...release({ path: '/1' }), writer: items[0]?.writer, seq: 1, hash: items[1]?.hash },
  ])
  expect(items[0]?.hash).toMatch(/^[0-9a-f]{64}$/)
  expect(nextCursor).toBeNull()
})

test('pages follow one another without gap or repetition, while new events arrive', async () => {
  const { place, records } = await recorded(Array.from({ length: 25 }, (_, i) => release({ path: `/${i}` })))
  const seen: unknown[] = []
  let cursor: string | null = null
  do {
    const page = await records.list(principal, { limit: 10, cursor })
    seen.push(...page.items.map((event) => 'path' in event && event.path))
    cursor = page.nextCursor
    const log = await openLog(place)
    await log.append([release({ path: '/new' })])
  } while (cursor !== null)
  expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `/${24 - i}`))
})

test('a page that is exactly full has no next one', async () => {
  const { records } = await recorded([release(), release()])
  expect(await records.list(principal, { limit: 2, cursor: null })).toMatchObject({ nextCursor: null })
})

test('rare answers are found behind thousands of other rows', async () => {
  const many = Array.from({ length: 3500 }, () => release({ host: 'busy.test' }))
  const { records } = await recorded([release({ path: '/old', host: 'rare.test' }), ...many])
  expect(await paths(records, { host: 'rare.test' })).toEqual(['/old'])
})

const log: readonly AuditEvent[] = [
  release({ path: '/a', host: 'a.test', time: '2026-01-01T00:00:00.000Z' }),
  exchange({
    path: '/b',
    sandbox: 'other',
    sandboxId: 's2',
    decision: 'refused',
    host: 'b.test',
    time: '2026-01-02T00:00:00.000Z',
    secrets: [],
  }),
  exchange({
    path: '/c',
    time: '2026-01-03T00:00:00.000Z',
    secrets: [{ id: 'k2', name: 'github', version: 3, placement: 'basic' }],
  }),
  change({
    action: 'secret.rotate',
    target: { kind: 'secret', id: 'k2', name: 'github' },
    time: '2026-01-04T00:00:00.000Z',
  }),
  change({
    action: 'sandbox.create',
    target: { kind: 'sandbox', id: 's1', name: 'agent' },
    time: '2026-01-05T00:00:00.000Z',
  }),
  release({ path: '/foreign', workspace: 'w2', sandboxId: 's9' }),
  exchange({ path: '/nobody', workspace: null, sandbox: null, sandboxId: null, decision: 'refused' }),
]

const questions: readonly { filter: AuditFilter; answer: readonly string[] }[] = [
  { filter: {}, answer: ['sandbox.create', 'secret.rotate', '/c', '/b', '/a'] },
  { filter: { sandbox: 's1' }, answer: ['sandbox.create', '/c', '/a'] },
  { filter: { sandbox: 'agent' }, answer: ['sandbox.create', '/c', '/a'] },
  { filter: { sandbox: 's9' }, answer: [] },
  { filter: { sandbox: 'unknown' }, answer: [] },
  { filter: { secret: 'k2' }, answer: ['secret.rotate', '/c'] },
  { filter: { secret: 'github' }, answer: ['secret.rotate', '/c'] },
  { filter: { secret: 'openai' }, answer: ['/a'] },
  { filter: { host: 'b.test' }, answer: ['/b'] },
  { filter: { decision: 'refused' }, answer: ['/b'] },
  { filter: { since: '2026-01-03T00:00:00Z' }, answer: ['sandbox.create', 'secret.rotate', '/c'] },
  { filter: { since: '2026-01-03T01:00:00+01:00' }, answer: ['sandbox.create', 'secret.rotate', '/c'] },
  { filter: { until: '2026-01-02T00:00:00Z' }, answer: ['/b', '/a'] },
  { filter: { since: '2026-01-02T00:00:00Z', until: '2026-01-03T00:00:00Z' }, answer: ['/c', '/b'] },
  { filter: { action: 'secret.rotate' }, answer: ['secret.rotate'] },
  { filter: { action: 'secret' }, answer: [] },
  { filter: { principal: 'admin' }, answer: ['sandbox.create', 'secret.rotate'] },
  { filter: { principal: 'nobody' }, answer: [] },
  { filter: { sandbox: 'agent', secret: 'github' }, answer: ['/c'] },
  { filter: { host: "' OR 1=1 --" }, answer: [] },
]

for (const { filter, answer } of questions) {
  test(`asked for ${JSON.stringify(filter)}, the answer is ${answer.join(', ') || 'nothing'}`, async () => {
    const { records } = await recorded(log)
    expect(await paths(records, filter)).toEqual(answer)
  })
}

test('events of no workspace are for the system alone', async () => {
  const { records } = await recorded(log)
  expect(await paths(records, { decision: 'refused' }, { ...principal, kind: 'system' })).toEqual(['/nobody', '/b'])
})

test('a cursor or time of another making is refused', async () => {
  const { records } = await recorded(log)
  for (const cursor of ['', 'x', 'cjEgT1IgMQ', Buffer.from('r-1').toString('base64url')]) {
    await expect(records.list(principal, { limit: 1, cursor })).rejects.toMatchObject({ code: 'invalid_input' })
  }
  await expect(paths(records, { since: 'yesterday' })).rejects.toMatchObject({ code: 'invalid_input' })
})

test('a log that was tampered with can still be read, and verify names the event', async () => {
  const { place, records } = await recorded([release({ path: '/1' }), release({ path: '/2' })])
  edit(place, `UPDATE audit_events SET body = replace(body, '/2', '/3') WHERE seq = 2`)
  expect(await paths(records)).toEqual(['/3', '/1'])
  expect(await records.verify()).toMatchObject({ ok: false, firstBad: { seq: 2 } })
})
