/**
 * The API as its clients see it: every request and answer as a TypeBox schema, and the types that follow from them.
 *
 * The command line, the console and client libraries import this file and nothing else of the server.
 * Answers hold exactly the fields declared here (the server drops anything else), and none of them is a value.
 * The `description` of a request field says what it takes: it is the hint of a validation error.
 * Times are ISO 8601, UTC, milliseconds. Ids are UUIDv7.
 */
import { type Static, type TSchema, Type } from 'typebox'

/** Longest value of a secret, in bytes of UTF-8. */
export const MAX_VALUE_BYTES = 65_536
/** Items of one page when `limit` is omitted, and the most that can be asked for. */
export const PAGE_LIMIT = { default: 100, max: 200 } as const

/** The type of every list answer. */
export interface PageOf<T> {
  readonly items: readonly T[]
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null
}
const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const Strings = Type.Immutable(Type.Array(Type.String()))
/** Any key, also one with a line break, which a Record's own pattern leaves unchecked. */
const AnyKey = Type.String({ pattern: '^[\\s\\S]*$' })
const StringMap = Type.Immutable(Type.Record(AnyKey, Type.String()))
const Items = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Immutable(Type.Array(item)), nextCursor: Nullable(Type.String()) })
const closed = { additionalProperties: false } as const

// ---- errors ----

export const ErrorDocument = Type.Object({
  error: Type.Object({
    /** Stable: clients may branch on it. */
    code: Type.String(),
    message: Type.String(),
    hint: Type.String(),
    /** Also in the `x-request-id` header and in the operator's log. */
    requestId: Nullable(Type.String()),
  }),
})
export type ErrorDocument = Static<typeof ErrorDocument>

// ---- requests of several nouns ----

const texted = (minLength: number, maxLength: number, description: string) =>
  Type.String({ minLength, maxLength, description })
const limit = Type.Integer({ minimum: 1, maximum: PAGE_LIMIT.max, description: 'A whole number from 1 to 200.' })
const cursor = texted(1, 1024, 'The nextCursor of the page before, unchanged.')
const paging = { limit: Type.Optional(limit), cursor: Type.Optional(cursor) }
export const PageQuery = Type.Object(paging, closed)

export const IdOrName = Type.Object({ idOrName: texted(1, 256, 'An id or a name of 1 to 256 characters.') })
const nameField = texted(1, 256, 'A name of 1 to 256 characters.')
const timeText = { format: 'date-time', maxLength: 64 } as const
const timeField = Type.String({ ...timeText, description: 'A time such as 2030-01-31T12:00:00Z.' })
const expiresAtField = Nullable(
  Type.String({ ...timeText, description: 'A time such as 2030-01-31T12:00:00Z, or null for never.' }),
)
const filterField = texted(1, 256, 'A text of 1 to 256 characters.')

// ---- secrets ----

export const SECRET_TYPES = [
  ...(['generic', 'password', 'api_key', 'private_key', 'certificate'] as const),
  ...(['ssh_key', 'file', 'note', 'env', 'env_bundle'] as const),
] as const
const typeField = Type.Enum([...SECRET_TYPES], { description: `One of ${SECRET_TYPES.join(', ')}.` })

const valueField = texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`)
const writableSecret = {
  description: Type.Optional(Nullable(texted(0, 1024, 'Text of at most 1024 characters, or null.'))),
  hosts: Type.Optional(
    Nullable(
      Type.Immutable(
        Type.Array(texted(1, 255, 'A hostname, or *. and a hostname.'), {
          minItems: 1,
          maxItems: 100,
          description: 'A list of 1 to 100 hostnames such as api.example.com or *.example.com; null for any host.',
        }),
      ),
    ),
  ),
  placements: Type.Optional(
    Type.Immutable(
      Type.Array(texted(1, 256, 'A placement such as header:x-api-key or basic.'), {
        minItems: 1,
        maxItems: 50,
        description: 'A list of 1 to 50 placements such as header:x-api-key or basic.',
      }),
    ),
  ),
  allowPlaintext: Type.Optional(Type.Boolean({ description: 'true or false.' })),
  labels: Type.Optional(
    Type.Immutable(
      Type.Record(AnyKey, Type.String({ maxLength: 256 }), {
        maxProperties: 64,
        description: 'An object of at most 64 labels, each a string of at most 256 characters.',
      }),
    ),
  ),
  expiresAt: Type.Optional(expiresAtField),
}

export const SecretCreate = Type.Object(
  {
    name: nameField,
    value: valueField,
    type: Type.Optional(typeField),
    dress: Type.Optional(texted(0, 64, 'A prefix of at most 64 characters, such as sk-ant-.')),
    ...writableSecret,
  },
  closed,
)
export type SecretCreate = Static<typeof SecretCreate>

/** Omitted = unchanged; null clears where null is allowed. A value makes a new version. */
export const SecretUpdate = Type.Object({ value: Type.Optional(valueField), ...writableSecret }, closed)
export type SecretUpdate = Static<typeof SecretUpdate>

export const SecretQuery = Type.Object(
  {
    ...paging,
    name: Type.Optional(texted(1, 256, 'A part of the name.')),
    label: Type.Optional(texted(1, 600, 'A label as key=value.')),
  },
  closed,
)

export const SecretDocument = Type.Object({
  id: Type.String(),
  workspaceId: Type.String(),
  name: Type.String(),
  placeholder: Type.String(),
  description: Nullable(Type.String()),
  type: Type.String(),
  hosts: Nullable(Strings),
  placements: Strings,
  allowPlaintext: Type.Boolean(),
  labels: StringMap,
  hint: Nullable(Type.String()),
  version: Type.Integer(),
  expiresAt: Nullable(Type.String()),
  createdBy: Type.String(),
  createdAt: Type.String(),
  updatedAt: Type.String(),
  /** Only in the answer to a create or an update, and only when there is something to say. */
  warnings: Type.Optional(Strings),
})
export type SecretDocument = Static<typeof SecretDocument>
export const SecretPage = Items(SecretDocument)

export const VersionDocument = Type.Object({
  version: Type.Integer(),
  createdAt: Type.String(),
  createdBy: Type.String(),
  disabledAt: Nullable(Type.String()),
})
export type VersionDocument = Static<typeof VersionDocument>
export const VersionPage = Items(VersionDocument)

// ---- sandboxes ----

const mountsField = Type.Immutable(
  Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }), nameField, {
    ...closed,
    maxProperties: 500,
    description: 'An object that maps environment variable names (letters, digits, _) to secret names.',
  }),
)
export const SandboxCreate = Type.Object({ name: nameField, mounts: Type.Optional(mountsField) }, closed)
export const MountsReplace = Type.Object({ mounts: mountsField }, closed)

const sandboxFields = {
  id: Type.String(),
  workspaceId: Type.String(),
  name: Type.String(),
  mounts: StringMap,
  /** Environment variable name -> what the workload gets: placeholders. */
  env: StringMap,
  createdAt: Type.String(),
  updatedAt: Type.String(),
}
export const SandboxDocument = Type.Object(sandboxFields)
export type SandboxDocument = Static<typeof SandboxDocument>
export const SandboxPage = Items(SandboxDocument)

/** The one answer that shows a sandbox's token; `env` also holds the proxy and trust variables. */
export const SandboxCredentials = Type.Object({ ...sandboxFields, token: Type.String(), proxyUrl: Type.String() })
export type SandboxCredentials = Static<typeof SandboxCredentials>

/** A sandbox's whole environment as far as it can be told again: its proxy URL names the sandbox and lacks the token. */
export const SandboxEnvironment = Type.Object({
  id: Type.String(),
  name: Type.String(),
  proxyUrl: Type.String(),
  env: StringMap,
})
export type SandboxEnvironment = Static<typeof SandboxEnvironment>

// ---- tokens ----

export const TokenCreate = Type.Object({ name: nameField, expiresAt: Type.Optional(expiresAtField) }, closed)
const tokenFields = {
  id: Type.String(),
  name: Type.String(),
  createdAt: Type.String(),
  expiresAt: Nullable(Type.String()),
  lastUsedAt: Nullable(Type.String()),
}
export const TokenDocument = Type.Object(tokenFields)
export type TokenDocument = Static<typeof TokenDocument>
export const TokenPage = Items(TokenDocument)
/** The one answer that shows an API token. */
export const TokenCreated = Type.Object({ ...tokenFields, token: Type.String() })
export type TokenCreated = Static<typeof TokenCreated>

// ---- audit ----

export const AuditQuery = Type.Object(
  {
    ...paging,
    sandbox: Type.Optional(filterField),
    secret: Type.Optional(filterField),
    host: Type.Optional(filterField),
    decision: Type.Optional(filterField),
    since: Type.Optional(timeField),
  },
  closed,
)

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

// ---- authority and health ----

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
  checks: Type.Immutable(Type.Record(AnyKey, Type.Boolean())),
})
export type ReadyDocument = Static<typeof ReadyDocument>
