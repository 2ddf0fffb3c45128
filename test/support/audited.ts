/** The audit as a test asks for it: the event that closed one exchange, once it is written. */
import type { ExchangeEvent, ReleaseEvent } from '../../src/core/audit-event.ts'
import type { Rig } from './rig.ts'
import { until } from './until.ts'

/** One exchange by the id that its refusal showed, or by a path (without query) that only it had. */
export type Which = { readonly requestId: string } | { readonly path: string }

function isOf(event: ExchangeEvent | ReleaseEvent, which: Which): boolean {
  return 'path' in which ? event.path === which.path : event.exchange === which.requestId
}

/** Waits for the closing event of that exchange. */
export function closingEvent(rig: Rig, which: Which): Promise<ExchangeEvent> {
  return until(async () => {
    const events = await rig.events()
    return events.find(
      (event): event is typeof event & ExchangeEvent => event.kind === 'exchange' && isOf(event, which),
    )
  })
}

/** What the audit calls the end of that exchange: its decision, reason and status. */
export async function outcome(rig: Rig, which: Which) {
  const { decision, reason, status } = await closingEvent(rig, which)
  return { decision, reason, status }
}

/** Release events of that exchange; call it after its closing event is there. */
export async function releasesOf(rig: Rig, which: Which): Promise<readonly ReleaseEvent[]> {
  const events = await rig.events()
  return events.filter((event): event is typeof event & ReleaseEvent => event.kind === 'release' && isOf(event, which))
}
