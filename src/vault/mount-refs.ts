/**
 * What a mount may name: a secret's name (which then means whatever has that name when it is used, through inheritance), an id,
 * or `vault://VAULT/PATH` for one in a vault of the workspace. Each needs the permission `use`.
 */
import type { Kysely } from 'kysely'
import { checkVariables } from '../core/aws-rules.ts'
import { CoatcheckError } from '../core/errors.ts'
import { isUuid } from '../core/id.ts'
import type { Principal } from '../core/principal.ts'
import { checkMounts } from '../core/secret-rules.ts'
import { accessOf, type SecretAccess } from './access.ts'
import type { ShownMount } from './sandbox-rows.ts'
import type { Schema } from './schema.ts'
import { findLive, type ShownRow, selectShown, visibleScopes } from './secret-rows.ts'

const IN_VAULT = /^vault:\/\/([^/]{1,128})\/(.{1,256})$/u

/** The sandbox the mounts are for, and the present. */
interface Place {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Throws `invalid_input` naming those that are not there, `forbidden` for those that may not be used. */
export async function resolveMounts(
  db: Kysely<Schema>,
  principal: Principal,
  place: Place,
  mounts: Readonly<Record<string, string>>,
): Promise<readonly ShownMount[]> {
  const entries = checkMounts(mounts)
  const workspace = { ...principal, scopeId: principal.workspaceId }
  const access = await accessOf(db, workspace, place.now)
  const resolved: ShownMount[] = []
  const missing: (readonly [string, string])[] = []
  for (const [env_name, ref] of entries) {
    const found = await resolve(db, workspace, access, place.now, ref)
    if (found === undefined) missing.push([env_name, ref])
    else {
      const { row, name_key } = found
      const { id: secret_id, name, placeholder } = row
      resolved.push({ sandbox_id: place.id, env_name, secret_id, name_key, name, placeholder })
    }
  }
  if (missing.length > 0) throw unknownSecrets(missing)
  checkVariables(resolved)
  return resolved
}

async function resolve(
  db: Kysely<Schema>,
  workspace: Principal,
  access: SecretAccess,
  now: number,
  ref: string,
): Promise<{ readonly row: ShownRow; readonly name_key: string | null } | undefined> {
  const inVault = IN_VAULT.exec(ref)
  if (inVault === null && !isUuid(ref)) {
    const row = await findLive(db, visibleScopes(workspace), ref)
    return mayUse(access, row) ? { row, name_key: row.name_key } : undefined
  }
  const vaults = db
    .selectFrom('scopes')
    .selectAll()
    .where('parent_id', '=', workspace.workspaceId)
    .where('deleted_at', 'is', null)
  if (inVault === null) {
    const scopes = [...visibleScopes(workspace), ...(await vaults.execute()).map((vault) => vault.id)]
    const row = await selectShown(db)
      .where('secrets.id', '=', ref)
      .where('scope_id', 'in', scopes)
      .where('deleted_at', 'is', null)
      .executeTakeFirst()
    const scoped = row === undefined ? access : await accessOf(db, { ...workspace, scopeId: row.scope_id }, now)
    return mayUse(scoped, row) ? { row, name_key: null } : undefined
  }
  const [, vaultRef = '', path = ''] = inVault
  const vault = await vaults.where(isUuid(vaultRef) ? 'id' : 'name', '=', vaultRef).executeTakeFirst()
  if (vault === undefined) return undefined
  const row = await findLive(db, [vault.id], path)
  return mayUse(await accessOf(db, { ...workspace, scopeId: vault.id }, now), row) ? { row, name_key: null } : undefined
}

/** A secret that may not even be listed is as if it were not there. */
function mayUse(access: SecretAccess, row: ShownRow | undefined): row is ShownRow {
  if (row === undefined || !access.decide('list', row.name).allow) return false
  access.require('use', row.name)
  return true
}

function unknownSecrets(missing: readonly (readonly [string, string])[]): CoatcheckError {
  // A name that could not be a secret's is not repeated: it may be a value that was put there by mistake.
  const named = missing.map(([env, secret]) =>
    /^[A-Za-z0-9_./-]{1,64}$/.test(secret) ? `${secret} (for ${env})` : `the one for ${env}`,
  )
  return new CoatcheckError(
    'invalid_input',
    `There is no such secret in this workspace: ${named.join(', ')}.`,
    'Create the secret first, or mount one that is there.',
  )
}
