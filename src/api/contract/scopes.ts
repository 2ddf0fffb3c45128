/** Workspaces with their settings, vaults, and access policies. */
import { type Static, Type } from 'typebox'
import {
  closed,
  descriptionField,
  expiresAtField,
  externalField,
  filterField,
  Items,
  JsonObject,
  MapOf,
  Nullable,
  Strings,
  texted,
} from './fields.ts'
import { placementsField } from './secrets.ts'

export const ScopeCreate = Type.Object(
  {
    name: texted(1, 128, 'A name of 1 to 128 printable characters.'),
    description: Type.Optional(descriptionField),
    externalKey: Type.Optional(externalField),
  },
  closed,
)
export const ScopeDocument = Type.Object({
  id: Type.String(),
  kind: Type.Enum(['account', 'workspace', 'vault']),
  parentId: Nullable(Type.String()),
  name: Type.String(),
  description: Nullable(Type.String()),
  externalKey: Nullable(Type.String()),
  createdBy: Type.String(),
  createdAt: Type.String(),
})
export type ScopeDocument = Static<typeof ScopeDocument>
export const ScopePage = Items(ScopeDocument)

const ANSWERS = ['refuse', 'withhold', 'report'] as const
const answerField = Nullable(
  Type.Enum([...ANSWERS], { description: `One of ${ANSWERS.join(', ')}; null for the server's setting.` }),
)
export const SettingsUpdate = Type.Object(
  {
    requireHosts: Type.Optional(Nullable(Type.Boolean({ description: 'true, false, or null.' }))),
    onDenied: Type.Optional(answerField),
    inBody: Type.Optional(answerField),
    placements: Type.Optional(Nullable(Type.Immutable(placementsField))),
  },
  closed,
)
/** Null = as the server's settings say. */
export const SettingsDocument = Type.Object({
  requireHosts: Nullable(Type.Boolean()),
  onDenied: Nullable(Type.Enum([...ANSWERS])),
  inBody: Nullable(Type.Enum([...ANSWERS])),
  placements: Nullable(Strings),
})
export type SettingsDocument = Static<typeof SettingsDocument>

const PERMISSION_NAMES = ['list', 'read', 'write', 'delete', 'use'] as const
const KINDS = ['user', 'api_key', 'agent', 'system'] as const
export const PolicyWrite = Type.Object(
  {
    path: texted(1, 256, 'A path such as prod/** in which * is a part of a segment and ** any number of segments.'),
    permissions: Type.Immutable(
      Type.Array(Type.Enum([...PERMISSION_NAMES], { description: `One of ${PERMISSION_NAMES.join(', ')}.` }), {
        minItems: 1,
        maxItems: 5,
        description: `One or more of ${PERMISSION_NAMES.join(', ')}.`,
      }),
    ),
    effect: Type.Optional(Type.Enum(['allow', 'deny'], { description: 'allow (default) or deny.' })),
    priority: Type.Optional(
      Type.Integer({ minimum: -1000, maximum: 1000, description: 'A whole number from -1000 to 1000.' }),
    ),
    principalId: Type.Optional(Nullable(filterField)),
    principalKind: Type.Optional(Nullable(Type.Enum([...KINDS], { description: `One of ${KINDS.join(', ')}.` }))),
    expiresAt: Type.Optional(expiresAtField),
    conditions: Type.Optional(MapOf(Type.Unknown(), { description: 'A JSON object: kept, never evaluated.' })),
  },
  closed,
)
export const PolicyDocument = Type.Object({
  id: Type.String(),
  scopeId: Type.String(),
  path: Type.String(),
  permissions: Type.Immutable(Type.Array(Type.Enum([...PERMISSION_NAMES]))),
  effect: Type.Enum(['allow', 'deny']),
  priority: Type.Integer(),
  principalId: Nullable(Type.String()),
  principalKind: Nullable(Type.Enum([...KINDS])),
  expiresAt: Nullable(Type.String()),
  conditions: JsonObject,
  createdBy: Type.String(),
  createdAt: Type.String(),
  updatedAt: Type.String(),
})
export type PolicyDocument = Static<typeof PolicyDocument>
export const PolicyPage = Items(PolicyDocument)
