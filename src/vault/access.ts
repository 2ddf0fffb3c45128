/** Asks whether the principal may, before a store does: by its role for things, by role and policies for secrets. */
import type { Kysely } from 'kysely'
import type { AccessPolicy, Permission } from '../core/access-policy.ts'
import { CoatcheckError } from '../core/errors.ts'
import { type Ability, type AccessDecision, decideAccess, ROLE_DEFAULTS, roleAllows } from '../core/permission.ts'
import type { Principal } from '../core/principal.ts'
import { notFound } from './change.ts'
import { showPolicy } from './policy-rows.ts'
import type { Schema } from './schema.ts'

/** Throws `forbidden` when the role does not include it. */
export function requireAbility(principal: Principal, ability: Ability): void {
  if (roleAllows(principal.role, ability)) return
  throw new CoatcheckError(
    'forbidden',
    `The role ${principal.role} does not include ${ability}.`,
    'Use a token whose role does, such as one of an admin.',
  )
}

/** What one principal may do with the secrets of its scope, as the policies stand now. */
export class SecretAccess {
  readonly #principal: Principal
  readonly #policies: readonly AccessPolicy[]
  readonly #now: number

  constructor(principal: Principal, policies: readonly AccessPolicy[], now: number) {
    this.#principal = principal
    this.#policies = policies
    this.#now = now
  }

  decide(permission: Permission, name: string): AccessDecision {
    return decideAccess(this.#principal, permission, name, this.#policies, this.#now)
  }

  /** Throws `forbidden`, or `not_found` when the principal may not know that there is such a secret. */
  require(permission: Permission, name: string): void {
    const decision = this.decide(permission, name)
    if (decision.allow) return
    if (decision.reason === 'not_found') throw notFound('secret')
    throw new CoatcheckError(
      'forbidden',
      `This needs the permission ${permission} on that secret.`,
      'Ask an admin of the workspace for a policy that allows it.',
    )
  }

  /** True when every secret of the scope may be listed, so that no row needs to be asked about. */
  get listsAll(): boolean {
    return this.#policies.length === 0 && ROLE_DEFAULTS[this.#principal.role].secrets.includes('list')
  }
}

/** `now` in milliseconds since the epoch. Policies of the account hold in its workspaces, those of a workspace in its vaults. */
export async function accessOf(db: Kysely<Schema>, principal: Principal, now: number): Promise<SecretAccess> {
  const rows = await db
    .selectFrom('access_policies')
    .selectAll()
    .where('scope_id', 'in', [principal.scopeId, principal.workspaceId, principal.accountId])
    .where((eb) => eb.or([eb('principal_id', 'is', null), eb('principal_id', '=', principal.id)]))
    .where((eb) => eb.or([eb('principal_kind', 'is', null), eb('principal_kind', '=', principal.kind)]))
    .execute()
  return new SecretAccess(principal, rows.map(showPolicy), now)
}

/**
 * What the principal may do with the value of one secret. An inherited one is its account's: only the account's policies give it
 * out, and an admin of a workspace alone is not one of the account.
 */
export async function accessToValue(
  db: Kysely<Schema>,
  principal: Principal,
  scopeId: string,
  now: number,
): Promise<SecretAccess> {
  if (scopeId === principal.scopeId) return await accessOf(db, principal, now)
  const limited = principal.homeId !== principal.accountId && principal.role === 'admin'
  const role = limited ? 'member' : principal.role
  return await accessOf(db, { ...principal, role, scopeId, workspaceId: scopeId }, now)
}
