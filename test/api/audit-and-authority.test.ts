/** Contract: events come out whole and as they were, page by page; the authority shows its public side alone. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEventDocument } from '../../src/api/contract/audit.ts'
import type { StoredAuditEvent } from '../../src/core/audit-event.ts'
import { ApiUnderTest } from './support/api-under-test.ts'
import { ScriptedAudit } from './support/scripted-audit.ts'

const chain = { writer: 'w1', hash: 'ab'.repeat(32), time: '2030-01-01T00:00:00.000Z', workspace: 'ws-1' }
const request = {
  exchange: 'e1',
  sandbox: 'agent',
  sandboxId: 'b1',
  method: 'GET',
  host: 'api.test',
  port: 443,
  path: '/v1',
}
const secrets = [{ id: 's1', name: 'openai', version: 1, placement: 'header:authorization' }]
const EVENTS: StoredAuditEvent[] = [
  {
    ...chain,
    kind: 'change',
    id: '3',
    seq: 3,
    principal: 'admin',
    action: 'secret.create',
    target: { kind: 'secret', id: 's1', name: 'openai' },
    fields: ['name', 'value'],
  },
  {
    ...chain,
    ...request,
    kind: 'exchange',
    id: '2',
    seq: 2,
    secrets,
    decision: 'released',
    reason: null,
    status: 200,
    bytesIn: 0,
    bytesOut: 12,
    durationMs: 3.5,
    upstreamAddress: '127.0.0.1',
    upstreamFingerprint: 'AA:BB',
    reported: 0,
  },
  { ...chain, ...request, kind: 'release', id: '1', seq: 1, secrets },
]

type FieldOf<T> = T extends unknown ? keyof T : never
type Undeclared = Exclude<FieldOf<StoredAuditEvent>, keyof AuditEventDocument>
/** Does not compile when an event has a field that the contract would drop. */
const EVERY_FIELD_IS_DECLARED: [Undeclared] extends [never] ? true : never = true

let api: ApiUnderTest
let audit: ScriptedAudit

beforeEach(async () => {
  audit = new ScriptedAudit()
  audit.events = [...EVENTS]
  api = await ApiUnderTest.start({ audit })
})
afterEach(() => api.stop())

describe('audit events', () => {
  it('of every kind come out field by field as they were stored', async () => {
    expect(EVERY_FIELD_IS_DECLARED).toBe(true)
    expect((await api.call('GET', '/v1/audit/events')).json).toEqual({ items: EVENTS, nextCursor: null })
  })

  it('are paged and filtered', async () => {
    const first = (await api.call('GET', '/v1/audit/events?limit=2')).json
    expect(first.items.map(({ id }) => id)).toEqual(['3', '2'])
    const rest = (await api.call('GET', `/v1/audit/events?limit=2&cursor=${first.nextCursor}`)).json
    expect(rest.items.map(({ id }) => id)).toEqual(['1'])
    const released = (await api.call('GET', '/v1/audit/events?decision=released&since=2029-01-01T00:00:00Z')).json
    expect(released.items.map(({ id }) => id)).toEqual(['2'])
  })

  it('are verified with a report, also when the chain is broken', async () => {
    expect((await api.call('GET', '/v1/audit/verify')).json).toMatchObject({ ok: true, events: 3, firstBad: null })
    audit.firstBad = { writer: 'w1', seq: 2, reason: 'hash_mismatch' }
    const broken = await api.call('GET', '/v1/audit/verify')
    expect([broken.status, broken.json.ok, broken.json.firstBad]).toEqual([200, false, audit.firstBad])
  })
})

describe('the authority', () => {
  it('shows certificate, fingerprint and end, as JSON and as PEM', async () => {
    const { certificatePem } = api.deps.authority
    const { fingerprint, notAfter } = api.deps.authority
    const expected = { certificate: certificatePem, fingerprint, notAfter: notAfter.toISOString() }
    expect((await api.call('GET', '/v1/authority')).json).toEqual(expected)
    expect((await api.call('GET', '/v1/authority/certificate')).text).toBe(certificatePem)
    const bundle = await api.call('GET', '/v1/authority/bundle')
    expect([bundle.text, bundle.headers['content-type']]).toEqual([
      api.deps.authority.bundlePem(),
      'application/pem-certificate-chain',
    ])
  })
})
