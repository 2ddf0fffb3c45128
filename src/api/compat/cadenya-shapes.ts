/** Cadenya's documents: a secret is metadata, spec and, when asked for, info; the value is never in them. Errors are google.rpc.Status. */
import { type Static, Type } from 'typebox'
import { ulidOf } from '../../core/id.ts'
import type { Principal } from '../../core/ports.ts'
import type { Secret } from '../../core/secret.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import { MapOf, StringMap, texted } from '../contract/fields.ts'
import { MAX_VALUE_BYTES, PAGE_LIMIT } from '../contract.ts'
import { type Author, profileId } from './cadenya-profiles.ts'
import type { ErrorDialect } from './foreign-errors.ts'

const nameField = Type.String({
  minLength: 1,
  maxLength: 256,
  pattern: NAME_FORMS.flat.source,
  description: 'A name of 1 to 256 letters, digits, _ and -, beginning with a letter or _; it is upper-cased.',
})
const LABEL_TEXT = '[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?'
const labelsField = Type.Record(
  Type.String({ pattern: `^([a-z0-9.-]{1,253}/)?${LABEL_TEXT}$` }),
  Type.String({ pattern: `^(${LABEL_TEXT})?$`, description: 'Up to 63 letters, digits, - _ and . between.' }),
  { additionalProperties: false, maxProperties: 64, description: 'An object of at most 64 labels.' },
)
const optionalMetadata = {
  externalId: Type.Optional(texted(0, 256, 'A text of at most 256 characters.')),
  labels: Type.Optional(labelsField),
  bundleKey: Type.Optional(texted(0, 256, 'A text of at most 256 characters.')),
}
const valueField = texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`)

export const CreateBody = Type.Object({
  metadata: Type.Object({ name: nameField, ...optionalMetadata }),
  spec: Type.Object({ value: valueField }),
})
export const UpdateBody = Type.Object({
  metadata: Type.Optional(Type.Object({ name: Type.Optional(nameField), ...optionalMetadata })),
  spec: Type.Optional(Type.Object({ value: Type.Optional(valueField) })),
  updateMask: Type.Optional(texted(0, 256, 'Paths such as metadata.name,spec.value.')),
})
export const SecretParams = Type.Object({
  id: texted(1, 300, 'The id of a secret, or external_id: and its external id.'),
})

const queried = Type.Optional(texted(0, 1024, 'A text of at most 1024 characters.'))
export const ListQuery = Type.Object({
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: PAGE_LIMIT.max, description: 'A whole number from 1 to 200.' }),
  ),
  cursor: queried,
  prefix: queried,
  query: queried,
  labels: queried,
  bundleKey: queried,
  sortOrder: Type.Optional(Type.Enum(['asc', 'desc'], { description: 'asc or desc.' })),
  includeInfo: Type.Optional(Type.Enum(['true', 'false'], { description: 'true or false.' })),
})

const text = Type.String()
const ProfileAnswer = Type.Object({
  metadata: Type.Object({
    id: text,
    accountId: text,
    name: text,
    externalId: text,
    labels: StringMap,
    profileId: text,
    createdAt: Type.Optional(text),
  }),
  spec: Type.Object({ type: text, email: text, name: text }),
})
export const SecretAnswer = Type.Object({
  metadata: Type.Object({
    id: text,
    accountId: text,
    workspaceId: text,
    name: text,
    externalId: text,
    labels: StringMap,
    profileId: text,
    createdAt: text,
    updatedAt: text,
    bundleKey: Type.Optional(text),
  }),
  /** Empty: the value is write-only. */
  spec: MapOf(text),
  info: Type.Optional(Type.Object({ lastUsedAt: Type.Optional(text), createdBy: ProfileAnswer })),
})
export const SecretPageAnswer = Type.Object({
  items: Type.Array(SecretAnswer),
  pagination: Type.Object({ nextCursor: text, next_cursor: text, total: Type.Integer() }),
})
export const Nothing = Type.Object({})

/** With info when its author is given. */
export function secretAnswer(secret: Secret, principal: Principal, author: Author | null): Static<typeof SecretAnswer> {
  const accountId = `account_${ulidOf(principal.accountId)}`
  const { bundleKey } = secret.metadata as { readonly bundleKey?: unknown }
  const { lastUsedAt } = secret
  return {
    metadata: {
      id: `wss_${ulidOf(secret.id)}`,
      accountId,
      workspaceId: `ws_${ulidOf(secret.workspaceId)}`,
      name: secret.name,
      externalId: secret.externalId ?? '',
      labels: secret.labels,
      profileId: profileId(secret.createdById),
      createdAt: secret.createdAt,
      updatedAt: secret.updatedAt,
      ...(typeof bundleKey === 'string' ? { bundleKey } : {}),
    },
    spec: {},
    ...(author === null
      ? {}
      : { info: { ...(lastUsedAt === null ? {} : { lastUsedAt }), createdBy: profileAnswer(author, accountId) } }),
  }
}

function profileAnswer({ id, name, email, type, externalId, createdAt }: Author, accountId: string) {
  const created = createdAt === null ? {} : { createdAt }
  return {
    metadata: { id, accountId, name, externalId, labels: {}, profileId: id, ...created },
    spec: { type, email, name },
  }
}

/** google.rpc.Code of each status. */
const RPC_CODES: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 5,
  409: 6,
  429: 8,
  500: 13,
  503: 14,
}
const RPC_UNKNOWN = 2

/** Old clients ask again after a conflict, twice, unless they are told not to. */
export const CADENYA_ERRORS: ErrorDialect = {
  statuses: { 410: 404, 413: 400, 415: 400, 422: 400 },
  body: ({ status, text }) => ({ code: RPC_CODES[status] ?? RPC_UNKNOWN, message: text, details: [] }),
  headers: ({ status }) => (status === 409 ? { 'x-should-retry': 'false' } : {}),
}
