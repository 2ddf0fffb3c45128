/** Rows of access policies: checked before they are written, and found within one scope only. */
import type { Kysely } from 'kysely'
import {
  type AccessPolicy,
  checkPathPattern,
  type NewAccessPolicy,
  PERMISSIONS,
  type Permission,
} from '../core/access-policy.ts'
import { CoatcheckError } from '../core/errors.ts'
import type { Principal, PrincipalKind } from '../core/principal.ts'
import { checkExpiry, checkMetadata } from '../core/secret-rules.ts'
import { type Moment, notFound } from './change.ts'
import type { AccessPolicyRow, Schema } from './schema.ts'

const KINDS: readonly PrincipalKind[] = ['user', 'api_key', 'agent', 'system']
const MAX_PRIORITY = 1000

/** The policy of the scope the principal acts on; `not_found` otherwise. */
export async function findPolicy(db: Kysely<Schema>, principal: Principal, id: string): Promise<AccessPolicyRow> {
  const row = await db
    .selectFrom('access_policies')
    .selectAll()
    .where('scope_id', '=', principal.scopeId)
    .where('id', '=', id)
    .executeTakeFirst()
  if (row === undefined) throw notFound('policy')
  return row
}

/** What the input says, in stored form. Throws `invalid_input`. */
export function policyColumns(input: NewAccessPolicy, { now }: Moment) {
  const { priority = 0, effect = 'allow', principalKind = null } = input
  if (!Number.isInteger(priority) || Math.abs(priority) > MAX_PRIORITY) {
    throw invalid('The priority is not allowed.', `Use a whole number from -${MAX_PRIORITY} to ${MAX_PRIORITY}.`)
  }
  if (effect !== 'allow' && effect !== 'deny') throw invalid('The effect is not allowed.', 'Use allow or deny.')
  if (principalKind !== null && !KINDS.includes(principalKind)) {
    throw invalid('There is no such kind of principal.', `Kinds are: ${KINDS.join(', ')}.`)
  }
  return {
    path: checkPathPattern(input.path),
    permissions: JSON.stringify(checkPermissions(input.permissions)),
    effect,
    priority,
    principal_id: input.principalId ?? null,
    principal_kind: principalKind,
    expires_at: checkExpiry(input.expiresAt ?? null, now),
    conditions: checkMetadata(input.conditions ?? {}),
  }
}

export function showPolicy(row: AccessPolicyRow): AccessPolicy {
  return {
    id: row.id,
    scopeId: row.scope_id,
    path: row.path,
    permissions: JSON.parse(row.permissions) as Permission[],
    effect: row.effect,
    priority: row.priority,
    principalId: row.principal_id,
    principalKind: row.principal_kind,
    expiresAt: row.expires_at,
    conditions: JSON.parse(row.conditions) as Record<string, unknown>,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

function checkPermissions(permissions: readonly Permission[]): readonly Permission[] {
  const known = PERMISSIONS.filter((permission) => permissions.includes(permission))
  if (known.length > 0 && permissions.every((permission) => known.includes(permission))) return known
  throw invalid('The permissions are not allowed.', `Name one or more of ${PERMISSIONS.join(', ')}.`)
}

function invalid(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, hint)
}
