/** 1Claw's documents, and its errors, which are problem details (RFC 7807). A listing or a write never has a value. */
import { type Static, Type } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import { isUuid } from '../../core/id.ts'
import type { Scope } from '../../core/scope.ts'
import type { Secret, SecretVersion } from '../../core/secret.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import { JsonObject, Nullable, texted, timeField } from '../contract/fields.ts'
import { SECRET_TYPES } from '../contract/secrets.ts'
import { MAX_VALUE_BYTES } from '../contract.ts'
import type { ErrorDialect } from './foreign-errors.ts'

const text = Type.String()
export const VaultParams = Type.Object({ vaultId: texted(1, 256, 'The id of a vault.') })
export const PathParams = Type.Object({
  vaultId: texted(1, 256, 'The id of a vault.'),
  '*': texted(1, 768, 'A path such as api-keys/stripe.'),
})

export const VaultBody = Type.Object({
  name: texted(1, 120, 'A name of 1 to 120 printable characters.'),
  description: Type.Optional(Nullable(texted(0, 1024, 'Text of at most 1024 characters.'))),
})
export const VaultAnswer = Type.Object({
  id: text,
  name: text,
  description: text,
  created_by: text,
  created_by_type: text,
  created_at: text,
})
export const VaultsAnswer = Type.Object({ vaults: Type.Array(VaultAnswer) })

const typeField = Type.Enum([...SECRET_TYPES], { description: `One of ${SECRET_TYPES.join(', ')}.` })
export const PutBody = Type.Object({
  value: texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`),
  type: Type.Optional(typeField),
  /** As one client spells it. */
  secret_type: Type.Optional(typeField),
  metadata: Type.Optional(Nullable(JsonObject)),
  expires_at: Type.Optional(Nullable(timeField)),
  rotation_policy: Type.Optional(Nullable(JsonObject)),
  max_access_count: Type.Optional(
    Nullable(Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'A whole number from 1, or null.' })),
  ),
})
export const RotateBody = Type.Object({
  length: Type.Optional(Type.Integer({ minimum: 8, maximum: 1024, description: 'A whole number from 8 to 1024.' })),
  charset: Type.Optional(
    Type.Enum(['hex', 'base64', 'alphanumeric', 'ascii'], { description: 'hex, base64, alphanumeric or ascii.' }),
  ),
  type: Type.Optional(typeField),
})
export const ListQuery = Type.Object({ prefix: Type.Optional(texted(0, 256, 'How the path begins.')) })

const metaFields = {
  id: text,
  path: text,
  type: text,
  /** As one client reads it. */
  secret_type: text,
  version: Type.Integer(),
  metadata: JsonObject,
  created_at: text,
  updated_at: text,
  expires_at: Type.Optional(text),
  is_disabled: Type.Boolean(),
}
export const MetaAnswer = Type.Object(metaFields)
export const SecretsAnswer = Type.Object({ secrets: Type.Array(MetaAnswer) })
export const VersionsAnswer = Type.Object({ versions: Type.Array(MetaAnswer) })
export const ValueAnswer = Type.Object({ ...metaFields, value: text, created_by: text })

export type Meta = Static<typeof MetaAnswer>

export function metaOf(secret: Secret): Meta {
  return {
    ...described(secret, secret),
    created_at: secret.createdAt,
    updated_at: secret.updatedAt,
    is_disabled: secret.state === 'disabled',
  }
}

export function versionMetaOf(secret: Secret, version: SecretVersion): Meta {
  return {
    ...described(secret, version),
    created_at: version.createdAt,
    updated_at: version.createdAt,
    is_disabled: version.disabledAt !== null,
  }
}

function described(secret: Secret, version: Pick<SecretVersion, 'version' | 'type' | 'metadata' | 'expiresAt'>) {
  const { type, metadata, expiresAt } = version
  const expiring = expiresAt === null ? {} : { expires_at: expiresAt }
  return { id: secret.id, path: secret.name, type, secret_type: type, version: version.version, metadata, ...expiring }
}

export function vaultAnswer(scope: Scope): Static<typeof VaultAnswer> {
  const { id, name, description, createdBy, createdAt } = scope
  const created_by_type = createdBy.startsWith('agent:') ? 'agent' : 'user'
  const created_by = created_by_type === 'agent' ? createdBy : `user:${createdBy.replace(/^token:/, '')}`
  const given = name.replace(/~[0-9a-f]{6}$/, '')
  return { id, name: given, description: description ?? '', created_by, created_by_type, created_at: createdAt }
}

/** The path of a request, which may have come with its slashes encoded. Throws `invalid_input`. */
export function pathFrom(text: string): string {
  if (NAME_FORMS.path.test(text) && !isUuid(text.toLowerCase())) return text
  throw new CoatcheckError(
    'invalid_input',
    'The path is not allowed.',
    'Use letters, digits, - and _ in segments parted by single slashes, such as api-keys/stripe.',
  )
}

/** A payment is never asked for: some clients would pay it. */
export const ONECLAW_ERRORS: ErrorDialect = {
  statuses: { 402: 403, 422: 400 },
  mediaType: 'application/problem+json; charset=utf-8',
  body: ({ status, title, text }) => ({ type: 'about:blank', title, status, detail: text }),
}
