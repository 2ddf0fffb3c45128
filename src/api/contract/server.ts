/** The server itself: its authority's public side, and whether it works. */
import { type Static, Type } from 'typebox'
import { MapOf } from './fields.ts'

export const AuthorityDocument = Type.Object({
  certificate: Type.String(),
  /** SHA-256 of the certificate, colon-separated hex. */
  fingerprint: Type.String(),
  notAfter: Type.String(),
})
export type AuthorityDocument = Static<typeof AuthorityDocument>

export const LiveDocument = Type.Object({ status: Type.Literal('ok') })
export const ReadyDocument = Type.Object({
  status: Type.Enum(['ready', 'not_ready']),
  checks: MapOf(Type.Boolean()),
})
export type ReadyDocument = Static<typeof ReadyDocument>
