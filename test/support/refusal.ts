/** What a refusal looks like from outside: the marked answer, an upstream that was never dialled, and the audit's reason. */
import { expect } from 'vitest'
import type { ExchangeEvent } from '../../src/core/audit-event.ts'
import type { DialCounter } from './dial-counter.ts'
import type { RawAnswer } from './raw-sandbox.ts'
import type { Rig } from './rig.ts'
import { until } from './until.ts'

/** The closing event of one exchange, once it is written. */
export async function eventOf(rig: Rig, requestId: string | null): Promise<ExchangeEvent> {
  return await until(async () =>
    (await rig.events()).find(
      (event): event is Extract<typeof event, ExchangeEvent> =>
        event.kind === 'exchange' && event.exchange === requestId,
    ),
  )
}

/** The newest closing event with this reason, once it is written: for exchanges that got no answer. */
export async function eventBecause(rig: Rig, reason: ExchangeEvent['reason']): Promise<ExchangeEvent> {
  return await until(async () =>
    (await rig.events()).findLast(
      (event): event is Extract<typeof event, ExchangeEvent> => event.kind === 'exchange' && event.reason === reason,
    ),
  )
}

/** Status and code as a tuple, for rows that compare many. */
export function verdict(answer: RawAnswer): readonly [number, string | null] {
  return [answer.status, answer.code]
}

export async function expectRefusal(
  rig: Rig,
  dials: DialCounter,
  answer: RawAnswer,
  status: number,
  code: string,
): Promise<void> {
  expect(verdict(answer)).toEqual([status, code])
  expect(dials.count).toBe(0)
  expect(await eventOf(rig, answer.requestId)).toMatchObject({ decision: 'refused', reason: code, secrets: [] })
}

/** Bytes that are no HTTP message at all have no exchange and so no event: refused by the parser, nothing dialled. */
export function expectUnparsed(dials: DialCounter, answer: RawAnswer): void {
  expect(verdict(answer)).toEqual([400, 'bad_request'])
  expect(dials.count).toBe(0)
}
