/** The audit log as it is read: events, checkpoints, and whether they verify. */
import { type Static, Type } from 'typebox'
import { closed, filterField, Items, Nullable, paging, Strings, timeField } from './fields.ts'

const filters = {
  sandbox: Type.Optional(filterField),
  secret: Type.Optional(filterField),
  host: Type.Optional(filterField),
  decision: Type.Optional(filterField),
  action: Type.Optional(filterField),
  principal: Type.Optional(filterField),
  since: Type.Optional(timeField),
  until: Type.Optional(timeField),
}
export const AuditQuery = Type.Object({ ...paging, ...filters }, closed)
export const AuditStreamQuery = Type.Object(filters, closed)
export type AuditStreamQuery = Static<typeof AuditStreamQuery>

const named = { id: Type.String(), name: Type.String() }
const auditedSecret = Type.Object({ ...named, version: Type.Integer(), placement: Type.String() })
const text = Type.Optional(Nullable(Type.String()))
const number = Type.Optional(Nullable(Type.Number()))
/** One event; `kind` says which of the fields after `hash` are there. */
export const AuditEventDocument = Type.Object({
  kind: Type.Enum(['release', 'exchange', 'change']),
  id: Type.String(),
  time: Type.String(),
  workspace: Nullable(Type.String()),
  writer: Type.String(),
  seq: Type.Integer(),
  hash: Type.String(),
  // release and exchange
  exchange: text,
  sandbox: text,
  sandboxId: text,
  method: text,
  host: text,
  port: number,
  path: text,
  secrets: Type.Optional(Type.Immutable(Type.Array(auditedSecret))),
  // exchange
  decision: text,
  reason: text,
  status: number,
  bytesIn: number,
  bytesOut: number,
  durationMs: number,
  upstreamAddress: text,
  upstreamFingerprint: text,
  reported: number,
  // change
  principal: text,
  action: text,
  target: Type.Optional(Type.Object({ kind: Type.String(), ...named })),
  fields: Type.Optional(Strings),
})
export type AuditEventDocument = Static<typeof AuditEventDocument>
export const AuditPage = Items(AuditEventDocument)

export const VerifyDocument = Type.Object({
  ok: Type.Boolean(),
  events: Type.Integer(),
  writers: Type.Integer(),
  checkpoints: Type.Integer(),
  firstBad: Nullable(Type.Object({ writer: Type.String(), seq: Type.Integer(), reason: Type.String() })),
})
export type VerifyDocument = Static<typeof VerifyDocument>

export const CheckpointDocument = Type.Object({
  writer: Type.String(),
  /** Number of the last event covered. */
  seq: Type.Integer(),
  time: Type.String(),
  /** Hash of that event. */
  hash: Type.String(),
  /** First 32 hex digits of the SHA-256 of the public key. */
  keyId: Type.String(),
  /** Ed25519, base64. */
  signature: Type.String(),
})
export type CheckpointDocument = Static<typeof CheckpointDocument>
export const CheckpointPage = Items(CheckpointDocument)
