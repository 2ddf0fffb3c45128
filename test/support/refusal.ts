/** What a refusal looks like from outside: the marked answer, an upstream that was never dialled, and the audit's reason. */
import { expect } from 'vitest'
import type { ExchangeEvent } from '../../src/core/audit-event.ts'
import { outcome } from './audited.ts'
import type { DialCounter } from './dial-counter.ts'
import type { RawAnswer } from './raw-sandbox.ts'
import type { Rig } from './rig.ts'
import { until } from './until.ts'

/** How many exchanges ended with this reason so far: for those that got no answer and so show no id. */
export async function countBecause(rig: Rig, reason: ExchangeEvent['reason']): Promise<number> {
  return (await rig.events()).filter((event) => event.kind === 'exchange' && event.reason === reason).length
}

/** Runs `attempt` and waits until one more exchange has ended with this reason. */
export async function expectRecorded(
  rig: Rig,
  reason: ExchangeEvent['reason'],
  attempt: () => Promise<unknown>,
): Promise<void> {
  const before = await countBecause(rig, reason)
  await attempt()
  await until(async () => (await countBecause(rig, reason)) === before + 1)
}

/** Status and code as a tuple. */
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
  const { decision, reason } = await outcome(rig, { requestId: answer.requestId ?? '' })
  expect({ decision, reason }).toEqual({ decision: 'refused', reason: code })
}

/** Bytes that are no HTTP message at all have no exchange and so no event: refused by the parser, nothing dialled. */
export function expectUnparsed(dials: DialCounter, answer: RawAnswer): void {
  expect(verdict(answer)).toEqual([400, 'bad_request'])
  expect(dials.count).toBe(0)
}
