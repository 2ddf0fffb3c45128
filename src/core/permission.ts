/**
 * Who may do what. A decision is data with a reason, made from the role, the policies and the path alone.
 *
 * Within each scope the highest priority among the policies that match decides, and at the same priority deny wins. What one scope
 * denies no other allows, so that a workspace cannot undo its account's denial. When none matches, the role's defaults decide. Who may not even list a path is told `not_found`: it cannot tell a foreign secret from a missing one.
 */
import { type AccessPolicy, matchesPath, PERMISSIONS, type Permission } from './access-policy.ts'
import type { Principal, Role } from './principal.ts'

/** On everything else: `view` is to see, `manage` to change. */
export type Ability =
  | 'sandboxes.view'
  | 'sandboxes.manage'
  | 'mounts.resolve'
  | 'scopes.view'
  | 'scopes.manage'
  | 'principals.view'
  | 'principals.manage'
  | 'tokens.manage'
  | 'policies.view'
  | 'policies.manage'
  | 'settings.view'
  | 'settings.manage'
  | 'audit.view'

interface RoleDefaults {
  readonly secrets: readonly Permission[]
  readonly abilities: readonly Ability[]
}

const VIEWING: readonly Ability[] = ['sandboxes.view', 'scopes.view', 'principals.view', 'settings.view', 'audit.view']

export const ROLE_DEFAULTS: Readonly<Record<Role, RoleDefaults>> = {
  admin: {
    secrets: PERMISSIONS,
    abilities: [
      ...VIEWING,
      'sandboxes.manage',
      'scopes.manage',
      'principals.manage',
      'tokens.manage',
      'policies.view',
      'policies.manage',
      'settings.manage',
    ],
  },
  /** Everything but values, and who else may do what. */
  member: {
    secrets: ['list', 'write', 'delete', 'use'],
    abilities: [...VIEWING, 'sandboxes.manage', 'policies.view'],
  },
  viewer: { secrets: ['list'], abilities: ['sandboxes.view', 'scopes.view', 'principals.view', 'settings.view'] },
  /** Only what policies give. */
  agent: { secrets: [], abilities: ['scopes.view'] },
  /** It alone gets values that are write-only, and only those of its sandboxes' mounts. */
  runner: { secrets: [], abilities: ['mounts.resolve'] },
}

export type AccessDecision =
  | { readonly allow: true; readonly by: 'role' | 'policy'; readonly policyId: string | null }
  | { readonly allow: false; readonly reason: 'forbidden' | 'not_found'; readonly policyId: string | null }

export function roleAllows(role: Role, ability: Ability): boolean {
  return ROLE_DEFAULTS[role].abilities.includes(ability)
}

/** `policies` are those of the secret's scope and the ones above it; `now` in milliseconds since the epoch. */
export function decideAccess(
  principal: Pick<Principal, 'id' | 'kind' | 'role'>,
  permission: Permission,
  path: string,
  policies: readonly AccessPolicy[],
  now: number,
): AccessDecision {
  const decision = decide(principal, permission, path, policies, now)
  if (decision.allow || permission === 'list') return decision
  const listed = decide(principal, 'list', path, policies, now)
  return listed.allow ? { ...decision, reason: 'forbidden' } : decision
}

function decide(
  principal: Pick<Principal, 'id' | 'kind' | 'role'>,
  permission: Permission,
  path: string,
  policies: readonly AccessPolicy[],
  now: number,
): AccessDecision {
  const matching = policies.filter((policy) => applies(policy, principal, permission, path, now))
  const deciding = matching.filter((policy) => !matching.some((other) => isAbove(other, policy)))
  const denying = deciding.find((policy) => policy.effect === 'deny')
  if (denying !== undefined) return { allow: false, reason: 'not_found', policyId: denying.id }
  const [allowing] = deciding
  if (allowing !== undefined) return { allow: true, by: 'policy', policyId: allowing.id }
  if (ROLE_DEFAULTS[principal.role].secrets.includes(permission)) return { allow: true, by: 'role', policyId: null }
  return { allow: false, reason: 'not_found', policyId: null }
}

/** Priorities are compared within one scope only. */
function isAbove(other: AccessPolicy, policy: AccessPolicy): boolean {
  return other.scopeId === policy.scopeId && other.priority > policy.priority
}

function applies(
  policy: AccessPolicy,
  principal: Pick<Principal, 'id' | 'kind'>,
  permission: Permission,
  path: string,
  now: number,
): boolean {
  if (policy.principalKind !== null && policy.principalKind !== principal.kind) return false
  if (policy.principalId !== null && policy.principalId !== principal.id) return false
  if (policy.expiresAt !== null && Date.parse(policy.expiresAt) <= now) return false
  return policy.permissions.includes(permission) && matchesPath(policy.path, path)
}
