/** Events as the proxy and the control plane make them. */
import type { ChangeEvent, ExchangeEvent, ReleaseEvent } from '../../src/core/audit-event.ts'
import type { Log } from '../../src/core/ports.ts'

const nothing = (): void => undefined

export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

export function release(overrides: Partial<ReleaseEvent> = {}): ReleaseEvent {
  return {
    kind: 'release',
    id: '01900000-0000-7000-8000-000000000001',
    time: '2026-01-02T03:04:05.678Z',
    exchange: '01900000-0000-7000-8000-000000000002',
    workspace: 'w1',
    sandbox: 'agent',
    sandboxId: 's1',
    method: 'POST',
    host: 'api.test',
    port: 443,
    path: '/v1/messages',
    secrets: [{ id: 'k1', name: 'openai', version: 1, placement: 'header:authorization' }],
    ...overrides,
  }
}

export function exchange(overrides: Partial<ExchangeEvent> = {}): ExchangeEvent {
  return {
    ...release(),
    kind: 'exchange',
    decision: 'released',
    reason: null,
    status: 200,
    bytesIn: 10,
    bytesOut: 20,
    durationMs: 1.5,
    upstreamAddress: '192.0.2.1:443',
    upstreamFingerprint: 'AA:BB',
    reported: 0,
    ...overrides,
  }
}

export function change(overrides: Partial<ChangeEvent> = {}): ChangeEvent {
  return {
    kind: 'change',
    id: '01900000-0000-7000-8000-000000000003',
    time: '2026-01-02T03:04:05.678Z',
    workspace: 'w1',
    principal: 'admin',
    action: 'secret.create',
    target: { kind: 'secret', id: 'k1', name: 'openai' },
    fields: ['value'],
    ...overrides,
  }
}
