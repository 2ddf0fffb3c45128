/** Rows of API tokens and the principals behind them: what a new one may be, and what an old one stands for. */
import type { Kysely } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import { isUuid, uuidv7 } from '../core/id.ts'
import { type ApiToken, type NewToken, TOKEN_PREFIXES } from '../core/ports.ts'
import { type Principal, ROLES, type Role } from '../core/principal.ts'
import { checkExpiry, checkTokenName } from '../core/secret-rules.ts'
import { type Moment, notFound, principalLabel } from './change.ts'
import { RUNNER_PREFIX } from './credential.ts'
import type { PrincipalRow, Schema, ScopeRow, TokenRow } from './schema.ts'
import { findReached } from './scope-rows.ts'

/** A new token's row, and the row of the principal made for it; null when it speaks for one that is there. */
export interface TokenRows {
  readonly row: TokenRow
  readonly owner: PrincipalRow | null
}

/** Throws what is wrong with the input; `not_found` for scopes and principals out of reach. */
export async function newTokenRows(
  db: Kysely<Schema>,
  principal: Principal,
  input: NewToken,
  moment: Moment,
): Promise<TokenRows> {
  const name = checkTokenName(input.name)
  const scope = await findReached(db, principal, input.scopeId ?? principal.scopeId)
  if (scope === undefined) throw notFound('scope')
  const speaker = input.principalId === undefined ? null : await findSpeaker(db, principal, input.principalId)
  const prefix = input.prefix ?? 'cct_'
  const role = checkRole(input.role ?? defaultRole(prefix, speaker), prefix, speaker)
  const row: TokenRow = {
    id: uuidv7(moment.now),
    workspace_id: workspaceOf(scope, principal),
    principal_id: speaker?.id ?? uuidv7(moment.now),
    name,
    token_hash: null,
    role,
    audience: role === 'runner' ? 'runner' : 'control',
    scope_id: scope.id,
    sandbox_id: await checkSandbox(db, scope, role, input.sandboxId ?? null),
    prefix: role === 'runner' ? RUNNER_PREFIX : prefix,
    created_by: principalLabel(principal),
    created_at: moment.time,
    expires_at: checkExpiry(input.expiresAt ?? null, moment.now),
    last_used_at: null,
    revoked_at: null,
  }
  return { row, owner: speaker === null ? newOwner(row, principal.accountId) : null }
}

export function showToken(row: TokenRow): ApiToken {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    audience: row.audience,
    scopeId: row.scope_id,
    principalId: row.principal_id,
    sandboxId: row.sandbox_id,
    prefix: row.prefix,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
  }
}

/** Who a token's bearer is. A token limited to a vault acts on it at once; all others begin in their workspace. */
export function principalOf(
  row: TokenRow,
  owner: Pick<PrincipalRow, 'kind' | 'name' | 'account_id'>,
  homeKind: ScopeRow['kind'],
): Principal {
  return Object.freeze({
    kind: owner.kind,
    id: row.principal_id,
    name: owner.name,
    workspaceId: row.workspace_id,
    role: row.role,
    accountId: owner.account_id,
    scopeId: homeKind === 'vault' ? row.scope_id : row.workspace_id,
    homeId: row.scope_id,
    sandboxId: row.sandbox_id,
  })
}

/** How the log names it. */
export function tokenTarget(row: TokenRow) {
  return { kind: 'token', id: row.id, name: row.name }
}

function workspaceOf(scope: ScopeRow, principal: Principal): string {
  if (scope.kind === 'workspace') return scope.id
  return scope.kind === 'vault' && scope.parent_id !== null ? scope.parent_id : principal.workspaceId
}

async function findSpeaker(db: Kysely<Schema>, principal: Principal, id: string): Promise<PrincipalRow> {
  const row = await db
    .selectFrom('principals')
    .selectAll()
    .where('account_id', '=', principal.accountId)
    .where('id', '=', id)
    .where('kind', 'in', ['user', 'agent'])
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (row === undefined) throw notFound('principal')
  return row
}

function defaultRole(prefix: string, speaker: PrincipalRow | null): Role {
  if (speaker !== null) return speaker.role
  if (prefix === 'pub_') return 'viewer'
  return prefix === 'ocv_' ? 'agent' : 'member'
}

function checkRole(role: Role, prefix: string, speaker: PrincipalRow | null): Role {
  if (!ROLES.includes(role)) throw invalid('There is no such role.', `Roles are: ${ROLES.join(', ')}.`)
  if (!(TOKEN_PREFIXES as readonly string[]).includes(prefix)) {
    throw invalid('There is no such kind of token.', `Prefixes are: ${TOKEN_PREFIXES.join(', ')}.`)
  }
  if (prefix === 'pub_' && role !== 'viewer') throw invalid('A pub_ token is for reading only.', 'Use the role viewer.')
  const within = speaker === null || speaker.role === role || speaker.role === 'admin' || isLess(role, speaker.role)
  if (!within) throw invalid('The role is more than the principal has.', `Use the role ${speaker.role}.`)
  return role
}

function isLess(role: Role, than: Role): boolean {
  return than === 'member' && role === 'viewer'
}

async function checkSandbox(
  db: Kysely<Schema>,
  scope: ScopeRow,
  role: Role,
  id: string | null,
): Promise<string | null> {
  if (id === null) return null
  if (role !== 'runner') throw invalid('Only a runner is limited to a sandbox.', 'Use the role runner, or no sandbox.')
  const row = await db
    .selectFrom('sandboxes')
    .select('id')
    .where('workspace_id', '=', scope.id)
    .where('deleted_at', 'is', null)
    .where(isUuid(id) ? 'id' : 'name', '=', id)
    .executeTakeFirst()
  if (row === undefined) throw notFound('sandbox')
  return row.id
}

function newOwner(row: TokenRow, account_id: string): PrincipalRow {
  return {
    id: row.principal_id,
    kind: row.role === 'agent' || row.prefix === 'ocv_' ? 'agent' : 'api_key',
    name: row.name,
    email: null,
    account_id,
    role: row.role,
    external_id: null,
    created_at: row.created_at,
    deleted_at: null,
  }
}

function invalid(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, hint)
}
