/** Daytona's documents: requests as its clients send them, answers with exactly the fields its clients read, and its errors. */
import { type Static, Type } from 'typebox'
import type { Secret } from '../../core/secret.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import { StringMap, texted } from '../contract/fields.ts'
import { MAX_VALUE_BYTES, PAGE_LIMIT } from '../contract.ts'
import type { ErrorDialect } from './foreign-errors.ts'

const nameField = Type.String({
  minLength: 1,
  maxLength: 256,
  pattern: NAME_FORMS.flat.source,
  description: 'A name of 1 to 256 letters, digits, _ and -, beginning with a letter or _.',
})
const valueField = texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`)
const descriptionField = texted(0, 1024, 'Text of at most 1024 characters.')
const hostsField = Type.Array(texted(1, 255, 'A hostname, or *. and a hostname.'), {
  maxItems: 100,
  description: 'A list of at most 100 hostnames such as api.example.com or *.example.com.',
})

export const CreateBody = Type.Object({
  name: nameField,
  value: valueField,
  description: Type.Optional(descriptionField),
  hosts: Type.Optional(hostsField),
})
export const UpdateBody = Type.Object({
  value: Type.Optional(valueField),
  description: Type.Optional(descriptionField),
  hosts: Type.Optional(hostsField),
})
export const SecretParams = Type.Object({ secretId: texted(1, 256, 'The id of a secret.') })
export const ListQuery = Type.Object({
  cursor: Type.Optional(texted(1, 1024, 'The nextCursor of the page before, unchanged.')),
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: PAGE_LIMIT.max, description: 'A whole number from 1 to 200.' }),
  ),
  name: Type.Optional(texted(0, 256, 'A part of the name.')),
  sort: Type.Optional(
    Type.Enum(['name', 'createdAt', 'updatedAt'], { description: 'One of name, createdAt, updatedAt.' }),
  ),
  order: Type.Optional(Type.Enum(['asc', 'desc'], { description: 'asc or desc.' })),
})

export const SecretAnswer = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: Type.Optional(Type.String()),
  placeholder: Type.String(),
  /** Empty = any host. */
  hosts: Type.Array(Type.String()),
  createdAt: Type.String(),
  updatedAt: Type.String(),
})
export const SecretList = Type.Array(SecretAnswer)
export const SecretPageAnswer = Type.Object({
  items: SecretList,
  total: Type.Integer(),
  nextCursor: Type.Union([Type.String(), Type.Null()]),
})

export function secretAnswer(secret: Secret): Static<typeof SecretAnswer> {
  const { id, name, description, placeholder, hosts, createdAt, updatedAt } = secret
  const described = description === null ? {} : { description }
  return { id, name, ...described, placeholder, hosts: [...(hosts ?? [])], createdAt, updatedAt }
}

/** One object for each variable, as its client writes them. */
const mountsField = Type.Array(
  Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), nameField, {
    maxProperties: 256,
    description: 'An object that maps an environment variable name to the name of a secret.',
  }),
  { maxItems: 256, description: 'A list of at most 256 objects, each an environment variable name and a secret name.' },
)
export const SandboxBody = Type.Object({
  name: Type.Optional(texted(1, 64, 'A name of 1 to 64 of A-Z a-z 0-9 . _ -.')),
  target: Type.Optional(texted(0, 64, 'A text of at most 64 characters.')),
  labels: Type.Optional(StringMap),
  secrets: Type.Optional(mountsField),
})
export const MountsBody = Type.Object({ secrets: mountsField })
export const SandboxParams = Type.Object({ idOrName: texted(1, 256, 'The id or name of a sandbox.') })

export const SandboxAnswer = Type.Object({
  id: Type.String(),
  organizationId: Type.String(),
  name: Type.String(),
  target: Type.String(),
  user: Type.String(),
  /** Placeholders; when it is created also the proxy and trust variables. */
  env: StringMap,
  labels: StringMap,
  public: Type.Boolean(),
  networkBlockAll: Type.Boolean(),
  cpu: Type.Integer(),
  gpu: Type.Integer(),
  memory: Type.Integer(),
  disk: Type.Integer(),
  state: Type.String(),
  toolboxProxyUrl: Type.String(),
  createdAt: Type.String(),
  updatedAt: Type.String(),
})

/** Only for runners. */
export const ResolvedAnswer = Type.Array(
  Type.Object({
    env: Type.String(),
    placeholder: Type.String(),
    value: Type.String(),
    hosts: Type.Array(Type.String()),
  }),
)

/** Old clients read `error` as the code, newer ones `code`. This contract knows neither 410 for a secret nor 422. */
export const DAYTONA_ERRORS: ErrorDialect = {
  statuses: { 410: 404, 422: 400 },
  body: ({ status, title, code, text, route }) => ({
    path: route,
    timestamp: new Date().toISOString(),
    statusCode: status,
    error: title,
    code: code.toUpperCase(),
    source: 'DAYTONA_API',
    message: text,
  }),
}
