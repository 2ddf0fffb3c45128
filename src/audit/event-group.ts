/** Events on their way into one transaction, and the text that each becomes. */
import type { AuditEvent } from '../core/audit-event.ts'

const MAX_EVENT_CHARACTERS = 16 * 1024
const MAX_TEXT = 4096

/** Events that will share one transaction. */
export interface EventGroup {
  /** As `eventText` gives them. */
  readonly events: string[]
  characters: number
  /** Callers that cannot go on before it is durable. */
  waiters: number
  readonly done: PromiseWithResolvers<void>
}

export function newGroup(): EventGroup {
  const done = Promise.withResolvers<void>()
  // Events that were only noted have nobody to tell; #refused logs the reason.
  done.promise.catch(() => undefined)
  return { events: [], characters: 0, waiters: 0, done }
}

/**
 * JSON, without the opening brace, which `bodyOf` adds. A request can make a text of its headers' size: long ones are cut,
 * in events that are long at all.
 */
export function eventText(event: AuditEvent): string {
  const text = JSON.stringify(event)
  return (text.length <= MAX_EVENT_CHARACTERS ? text : JSON.stringify(event, cutText)).slice(1)
}

/** An event as it is hashed, stored and shipped: its place in its writer's chain comes first. */
export function bodyOf(writer: string, seq: number, event: string): string {
  return `{"writer":"${writer}","seq":${seq},${event}`
}

function cutText(_name: string, value: unknown): unknown {
  return typeof value === 'string' && value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value
}
