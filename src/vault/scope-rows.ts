/** Rows of scopes: found only where a principal's credential reaches, and emptied when they are deleted. */
import { type ExpressionBuilder, type Kysely, sql } from 'kysely'
import { isUuid } from '../core/id.ts'
import type { Principal } from '../core/principal.ts'
import type { Scope } from '../core/scope.ts'
import type { Schema, ScopeRow } from './schema.ts'

/** True in SQL for the principal's home and every scope below it. */
export function isReached(principal: Pick<Principal, 'homeId'>) {
  const { homeId } = principal
  return sql<boolean>`(scopes.id = ${homeId} OR scopes.parent_id = ${homeId}
    OR scopes.parent_id IN (SELECT id FROM scopes AS above WHERE above.parent_id = ${homeId}))`
}

/** The live scope with that id, name or external key among the children of `parentId`, if the credential reaches it. */
export async function findChild(
  db: Kysely<Schema>,
  principal: Principal,
  parentId: string,
  ref: string,
): Promise<ScopeRow | undefined> {
  const named = (eb: ExpressionBuilder<Schema, 'scopes'>) =>
    isUuid(ref) ? eb('id', '=', ref) : eb.or([eb('name', '=', ref), eb('external_key', '=', ref)])
  return await db
    .selectFrom('scopes')
    .selectAll()
    .where('parent_id', '=', parentId)
    .where('deleted_at', 'is', null)
    .where(isReached(principal))
    .where(named)
    // A name comes before another's external key of the same text.
    .orderBy(sql`name = ${ref}`, 'desc')
    .limit(1)
    .executeTakeFirst()
}

/** Any live scope the credential reaches, by id. */
export async function findReached(
  db: Kysely<Schema>,
  principal: Pick<Principal, 'homeId'>,
  id: string,
): Promise<ScopeRow | undefined> {
  return await db
    .selectFrom('scopes')
    .selectAll()
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .where(isReached(principal))
    .executeTakeFirst()
}

export function showScope(row: ScopeRow): Scope {
  return {
    id: row.id,
    kind: row.kind,
    parentId: row.parent_id,
    name: row.name,
    description: row.description,
    externalKey: row.external_key,
    createdBy: row.created_by,
    createdAt: row.created_at,
  }
}

/** How the log names it. */
export function scopeTarget(row: ScopeRow) {
  return { kind: row.kind, id: row.id, name: row.name }
}

/** Destroys what is in the scope and in those below it, then marks them deleted. */
export async function emptyAndDelete(trx: Kysely<Schema>, row: ScopeRow, time: string): Promise<void> {
  const below = await trx.selectFrom('scopes').select('id').where('parent_id', '=', row.id).execute()
  const ids = [row.id, ...below.map((each) => each.id)]
  const secrets = trx.selectFrom('secrets').select('id').where('scope_id', 'in', ids)
  const sandboxes = trx.selectFrom('sandboxes').select('id').where('workspace_id', 'in', ids)
  await trx
    .deleteFrom('mounts')
    .where((eb) => eb.or([eb('secret_id', 'in', secrets), eb('sandbox_id', 'in', sandboxes)]))
    .execute()
  await trx
    .updateTable('secret_versions')
    .set({ ciphertext: null, wrapped_key: null })
    .where('secret_id', 'in', secrets)
    .execute()
  await trx
    .updateTable('secrets')
    .set((eb) => ({ hint: null, deleted_at: eb.fn.coalesce('deleted_at', eb.val(time)), destroyed_at: time }))
    .where('scope_id', 'in', ids)
    .where('destroyed_at', 'is', null)
    .execute()
  await trx
    .updateTable('sandboxes')
    .set({ token_hash: null, deleted_at: time })
    .where('workspace_id', 'in', ids)
    .where('deleted_at', 'is', null)
    .execute()
  await trx
    .updateTable('tokens')
    .set({ token_hash: null, revoked_at: time })
    .where((eb) => eb.or([eb('scope_id', 'in', ids), eb('workspace_id', 'in', ids)]))
    .where('revoked_at', 'is', null)
    .execute()
  await trx.deleteFrom('access_policies').where('scope_id', 'in', ids).execute()
  await trx.deleteFrom('workspace_settings').where('workspace_id', 'in', ids).execute()
  await trx.updateTable('scopes').set({ deleted_at: time }).where('id', 'in', ids).execute()
}
