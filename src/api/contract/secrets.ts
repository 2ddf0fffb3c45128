/** Secrets: values come in; one answer, a reveal's, lets one out. */
import { type Static, Type } from 'typebox'
import { MAX_VALUE_BYTES } from '../contract.ts'
import {
  closed,
  descriptionField,
  expiresAtField,
  externalField,
  filterField,
  flagField,
  flagQuery,
  IdOrName,
  Items,
  JsonObject,
  MapOf,
  Nullable,
  nameField,
  paging,
  StringMap,
  Strings,
  texted,
} from './fields.ts'

export const SECRET_TYPES = [
  ...(['generic', 'password', 'api_key', 'private_key', 'certificate'] as const),
  ...(['ssh_key', 'file', 'note', 'env', 'env_bundle', 'aws'] as const),
] as const
const typeField = Type.Enum([...SECRET_TYPES], { description: `One of ${SECRET_TYPES.join(', ')}.` })
const valueField = texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`)
const hostsField = Type.Array(texted(1, 255, 'A hostname, or *. and a hostname.'), {
  minItems: 1,
  maxItems: 100,
  description: 'A list of 1 to 100 hostnames such as api.example.com or *.example.com; null for any host.',
})
export const placementsField = Type.Array(texted(1, 256, 'A placement such as header:x-api-key or basic.'), {
  minItems: 1,
  maxItems: 50,
  description: 'A list of 1 to 50 placements such as header:x-api-key or basic.',
})
const labelsField = MapOf(Type.String({ maxLength: 256 }), {
  maxProperties: 64,
  description: 'An object of at most 64 labels, each a string of at most 256 characters.',
})
const metadataField = MapOf(Type.Unknown(), { description: 'A JSON object of at most 16 KiB.' })
const countField = Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'A whole number from 1, or null.' })
const rotationField = MapOf(Type.Unknown(), { description: 'An object such as {"everyDays": 90}, or null.' })

const writableSecret = {
  description: Type.Optional(descriptionField),
  type: Type.Optional(typeField),
  hosts: Type.Optional(Nullable(Type.Immutable(hostsField))),
  placements: Type.Optional(Type.Immutable(placementsField)),
  allowPlaintext: Type.Optional(flagField),
  labels: Type.Optional(labelsField),
  metadata: Type.Optional(metadataField),
  externalId: Type.Optional(externalField),
  readPolicy: Type.Optional(Type.Enum(['never', 'permission'], { description: 'never or permission.' })),
  expiresAt: Type.Optional(expiresAtField),
  maxAccessCount: Type.Optional(Nullable(countField)),
  countUses: Type.Optional(flagField),
  maxOccurrences: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, description: 'A whole number from 1 to 1000.' }),
  ),
  rotationPolicy: Type.Optional(Nullable(rotationField)),
}

export const SecretCreate = Type.Object(
  {
    name: nameField,
    value: valueField,
    dress: Type.Optional(texted(0, 64, 'A prefix of at most 64 characters, such as sk-ant-.')),
    ...writableSecret,
  },
  closed,
)
export type SecretCreate = Static<typeof SecretCreate>

/** Omitted = unchanged; null clears where null is allowed. A value makes a new version. */
export const SecretUpdate = Type.Object(
  { name: Type.Optional(nameField), value: Type.Optional(valueField), ...writableSecret },
  closed,
)
export type SecretUpdate = Static<typeof SecretUpdate>

export const SecretQuery = Type.Object(
  {
    ...paging,
    name: Type.Optional(texted(1, 256, 'A part of the name.')),
    prefix: Type.Optional(texted(1, 256, 'How the name begins.')),
    query: Type.Optional(texted(1, 256, 'A part of the name, description or external id; A-Z in any case.')),
    label: Type.Optional(texted(1, 600, 'A label as key=value.')),
    labels: Type.Optional(texted(1, 2000, 'Labels as key=value,key=value, all of which must match.')),
    type: Type.Optional(typeField),
    externalId: Type.Optional(filterField),
    from: Type.Optional(
      Type.Enum(['effective', 'own', 'inherited'], { description: 'effective (default), own or inherited.' }),
    ),
    deleted: Type.Optional(flagQuery),
    sort: Type.Optional(
      Type.Enum(['name', 'createdAt', 'updatedAt'], { description: 'name (default), createdAt or updatedAt.' }),
    ),
    order: Type.Optional(Type.Enum(['asc', 'desc'], { description: 'asc (default) or desc.' })),
    total: Type.Optional(flagQuery),
  },
  closed,
)

const state = Type.Enum(['current', 'expired', 'exhausted', 'disabled', 'deleted'])
const readPolicy = Type.Enum(['never', 'permission'])

const secretFields = {
  id: Type.String(),
  workspaceId: Type.String(),
  scopeId: Type.String(),
  inherited: Type.Boolean(),
  name: Type.String(),
  placeholder: Type.String(),
  description: Nullable(Type.String()),
  type: Type.Enum([...SECRET_TYPES]),
  hosts: Nullable(Strings),
  placements: Strings,
  allowPlaintext: Type.Boolean(),
  labels: StringMap,
  metadata: JsonObject,
  externalId: Nullable(Type.String()),
  hint: Nullable(Type.String()),
  readPolicy,
  state,
  version: Type.Integer(),
  expiresAt: Nullable(Type.String()),
  maxAccessCount: Nullable(Type.Integer()),
  accessCount: Type.Integer(),
  countUses: Type.Boolean(),
  maxOccurrences: Type.Integer(),
  rotationPolicy: Nullable(JsonObject),
  rotateAt: Nullable(Type.String()),
  createdBy: Type.String(),
  createdByKind: Type.Enum(['user', 'api_key', 'agent', 'system']),
  createdById: Type.String(),
  createdAt: Type.String(),
  updatedAt: Type.String(),
  lastUsedAt: Nullable(Type.String()),
  deletedAt: Nullable(Type.String()),
  /** Only in the answer to a create or an update, and only when there is something to say. */
  warnings: Type.Optional(Strings),
}
export const SecretDocument = Type.Object(secretFields)
export type SecretDocument = Static<typeof SecretDocument>
export const SecretPage = Type.Object({
  items: Type.Immutable(Type.Array(SecretDocument)),
  nextCursor: Nullable(Type.String()),
  /** Only with `total=true`: all that match, on every page. */
  total: Type.Optional(Type.Integer()),
})

export const VersionDocument = Type.Object({
  version: Type.Integer(),
  createdAt: Type.String(),
  createdBy: Type.String(),
  disabledAt: Nullable(Type.String()),
  type: Type.Enum([...SECRET_TYPES]),
  metadata: JsonObject,
  expiresAt: Nullable(Type.String()),
  maxAccessCount: Nullable(Type.Integer()),
  accessCount: Type.Integer(),
  state,
})
export type VersionDocument = Static<typeof VersionDocument>
export const VersionPage = Items(VersionDocument)
export const VersionParams = Type.Object({
  ...IdOrName.properties,
  version: Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'A version: 1, 2, 3 and so on.' }),
})

/** The one answer that holds a value. Values that are not UTF-8 text come as base64. */
export const RevealDocument = Type.Object({
  secretId: Type.String(),
  name: Type.String(),
  version: Type.Integer(),
  encoding: Type.Enum(['utf8', 'base64']),
  value: Type.String(),
  accessCount: Type.Integer(),
  maxAccessCount: Nullable(Type.Integer()),
})
export type RevealDocument = Static<typeof RevealDocument>

export const SecretGenerate = Type.Object(
  {
    length: Type.Optional(Type.Integer({ minimum: 8, maximum: 1024, description: 'A whole number from 8 to 1024.' })),
    charset: Type.Optional(
      Type.Enum(['hex', 'base64', 'alphanumeric', 'ascii'], {
        description: 'hex (default), base64, alphanumeric or ascii.',
      }),
    ),
    type: Type.Optional(typeField),
  },
  closed,
)
export type SecretGenerate = Static<typeof SecretGenerate>

export const DeleteQuery = Type.Object(
  {
    soft: Type.Optional(
      Type.Enum(['true', 'false'], { description: 'true keeps the values for revive; false (default) destroys them.' }),
    ),
  },
  closed,
)
