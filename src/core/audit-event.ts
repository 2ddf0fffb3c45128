/**
 * One record of the chained log. Never a value, a query value, or a body: paths are recorded as the sandbox
 * sent them (with the placeholder) and without their query.
 *
 * `release` is written, durably, before a value leaves; `exchange` closes every exchange, whatever became of it;
 * `change` records one control-plane change.
 */
import type { ErrorCode } from './errors.ts'

/** `passed`: nothing to release. `released`: values left. `withheld`: placeholders left as they were. `tunnelled`: blind. */
export type ExchangeDecision = 'passed' | 'released' | 'withheld' | 'refused' | 'failed' | 'tunnelled'

/** A secret as the log names it. */
export interface AuditedSecret {
  readonly id: string
  readonly name: string
  readonly version: number
  /** Where in the request: `header:authorization`, `basic`, `query:key`, `path` … */
  readonly placement: string
}

interface ExchangeFields {
  /** UUIDv7 of this event. */
  readonly id: string
  /** ISO 8601, UTC, milliseconds. */
  readonly time: string
  /** The exchange's id, which is also the id of its closing event; refusals show it as `requestId`. */
  readonly exchange: string
  readonly workspace: string | null
  /** Name of the sandbox; names can be used again after a deletion, ids cannot. */
  readonly sandbox: string | null
  readonly sandboxId: string | null
  readonly method: string
  readonly host: string | null
  readonly port: number | null
  /** Path as sent, without query. */
  readonly path: string | null
  readonly secrets: readonly AuditedSecret[]
}

export interface ReleaseEvent extends ExchangeFields {
  readonly kind: 'release'
}

export interface ExchangeEvent extends ExchangeFields {
  readonly kind: 'exchange'
  readonly decision: ExchangeDecision
  readonly reason: ErrorCode | 'client_aborted' | null
  /** Status the sandbox got; null when it got none. */
  readonly status: number | null
  /** Body bytes from the sandbox and from the upstream. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
  readonly upstreamAddress: string | null
  /** SHA-256 of the upstream's certificate, colon-separated hex. */
  readonly upstreamFingerprint: string | null
  /** Placeholders seen where none may be put, such as a body: reported, not released. */
  readonly reported: number
}

export interface ChangeEvent {
  readonly kind: 'change'
  readonly id: string
  readonly time: string
  readonly workspace: string | null
  /** Who did it: `admin`, `token:<name>`, `system`. */
  readonly principal: string
  /** `secret.create`, `secret.rotate`, `sandbox.create`, `token.revoke` … */
  readonly action: string
  /** Kind, id and name of what was changed. */
  readonly target: { readonly kind: string; readonly id: string; readonly name: string }
  /** Names of the fields that changed, never their contents. */
  readonly fields: readonly string[]
}

export type AuditEvent = ReleaseEvent | ExchangeEvent | ChangeEvent

/** An event as it stands in the log, with its place in its writer's chain. */
export type StoredAuditEvent = AuditEvent & { readonly writer: string; readonly seq: number; readonly hash: string }
