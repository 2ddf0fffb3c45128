/** API tokens, and the principals they speak for. */
import { type Static, Type } from 'typebox'
import { closed, expiresAtField, externalField, filterField, Items, Nullable, nameField, paging } from './fields.ts'

export const ROLE_NAMES = ['admin', 'member', 'viewer', 'agent', 'runner'] as const
const role = Type.Enum([...ROLE_NAMES])
const roleField = Type.Enum([...ROLE_NAMES], { description: `One of ${ROLE_NAMES.join(', ')}.` })
export const TOKEN_PREFIX_NAMES = ['cct_', 'sec_', 'pub_', 'tok_', 'dtn_', '1ck_', 'ocv_'] as const

export const TokenCreate = Type.Object(
  {
    name: nameField,
    expiresAt: Type.Optional(expiresAtField),
    role: Type.Optional(roleField),
    scopeId: Type.Optional(filterField),
    prefix: Type.Optional(
      Type.Enum([...TOKEN_PREFIX_NAMES], { description: `One of ${TOKEN_PREFIX_NAMES.join(', ')}.` }),
    ),
    principalId: Type.Optional(filterField),
    sandboxId: Type.Optional(Nullable(filterField)),
  },
  closed,
)
export type TokenCreate = Static<typeof TokenCreate>

const tokenFields = {
  id: Type.String(),
  name: Type.String(),
  role,
  audience: Type.Enum(['control', 'runner']),
  scopeId: Type.String(),
  principalId: Type.String(),
  sandboxId: Nullable(Type.String()),
  prefix: Type.String(),
  createdBy: Type.String(),
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

const PRINCIPAL_KINDS = ['user', 'api_key', 'agent', 'system'] as const
export const PrincipalQuery = Type.Object(
  {
    ...paging,
    kind: Type.Optional(Type.Enum([...PRINCIPAL_KINDS], { description: `One of ${PRINCIPAL_KINDS.join(', ')}.` })),
  },
  closed,
)
export const PrincipalCreate = Type.Object(
  {
    kind: Type.Enum(['user', 'agent'], { description: 'user or agent.' }),
    name: nameField,
    role: roleField,
    email: Type.Optional(externalField),
    externalId: Type.Optional(externalField),
  },
  closed,
)
export const PrincipalDocument = Type.Object({
  id: Type.String(),
  accountId: Type.String(),
  kind: Type.Enum([...PRINCIPAL_KINDS]),
  name: Type.String(),
  email: Nullable(Type.String()),
  role,
  externalId: Nullable(Type.String()),
  createdAt: Type.String(),
})
export type PrincipalDocument = Static<typeof PrincipalDocument>
export const PrincipalPage = Items(PrincipalDocument)

/** Who the caller is, and where it acts. */
export const CallerDocument = Type.Object({
  id: Type.String(),
  kind: Type.Enum([...PRINCIPAL_KINDS]),
  name: Type.String(),
  role,
  accountId: Type.String(),
  workspaceId: Type.String(),
  scopeId: Type.String(),
  homeId: Type.String(),
})
export type CallerDocument = Static<typeof CallerDocument>
