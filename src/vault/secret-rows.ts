/** Rows of secrets and versions: found within one workspace only, and shown without anything of the value. */
import type { Kysely, Selectable } from 'kysely'
import { isUuid } from '../core/id.ts'
import type { Principal } from '../core/ports.ts'
import type { Secret, SecretType } from '../core/secret.ts'
import { alreadyThere, type Change, changedMeanwhile, type Moment, notFound } from './change.ts'
import type { Schema, SecretRow } from './schema.ts'
import type { Sealed } from './seal.ts'

/** The live secret of the principal's workspace; `not_found` otherwise. */
export async function findSecret(db: Kysely<Schema>, principal: Principal, idOrName: string): Promise<SecretRow> {
  const row = await db
    .selectFrom('secrets')
    .selectAll()
    .where('scope_id', '=', principal.workspaceId)
    .where('deleted_at', 'is', null)
    .where(isUuid(idOrName) ? 'id' : 'name_key', '=', idOrName)
    .executeTakeFirst()
  if (row === undefined) throw notFound('secret')
  return row
}

/** What is stored of one version's value; null when there is none or it was destroyed. */
export async function findSealed(
  db: Kysely<Schema>,
  secret: { readonly workspaceId: string; readonly id: string; readonly version: number },
): Promise<Sealed | null> {
  const row = await db
    .selectFrom('secret_versions')
    .innerJoin('secrets', 'secrets.id', 'secret_versions.secret_id')
    .select(['ciphertext', 'wrapped_key', 'key_id'])
    .where('secrets.scope_id', '=', secret.workspaceId)
    .where('secret_id', '=', secret.id)
    .where('version', '=', secret.version)
    .executeTakeFirst()
  if (row === undefined || row.ciphertext === null || row.wrapped_key === null) return null
  return { ciphertext: row.ciphertext, wrappedKey: row.wrapped_key, keyId: row.key_id }
}

export function showSecret(row: Selectable<SecretRow>): Secret {
  return {
    id: row.id,
    workspaceId: row.scope_id,
    name: row.name,
    placeholder: row.placeholder,
    description: row.description,
    type: row.type as SecretType,
    hosts: readHosts(row.hosts),
    placements: readPlacements(row.placements),
    allowPlaintext: row.allow_plaintext === 1,
    labels: JSON.parse(row.labels) as Record<string, string>,
    hint: row.hint,
    version: row.current_version,
    expiresAt: row.expires_at,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export function readHosts(column: string | null): readonly string[] | null {
  return column === null ? null : (JSON.parse(column) as string[])
}

export function readPlacements(column: string): readonly string[] {
  return JSON.parse(column) as string[]
}

export function writeHosts(hosts: readonly string[] | null): string | null {
  return hosts === null ? null : JSON.stringify(hosts)
}

/** How the log names it. */
export function targetOf(row: SecretRow) {
  return { kind: 'secret', id: row.id, name: row.name }
}

/** Throws `conflict` when a live secret of the same scope has the name. */
export async function refuseTakenName(db: Kysely<Schema>, row: SecretRow): Promise<void> {
  const taken = await db
    .selectFrom('secrets')
    .select('id')
    .where('scope_id', '=', row.scope_id)
    .where('name_key', '=', row.name_key)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (taken !== undefined) throw alreadyThere(targetOf(row))
}

/** Writes `row` over `old`, which must be as it was read: nobody else's change is undone unseen. */
export async function replaceRow(trx: Kysely<Schema>, old: SecretRow, row: SecretRow): Promise<void> {
  const { id, scope_id, ...columns } = row
  const { numUpdatedRows } = await trx
    .updateTable('secrets')
    .set(columns)
    .where('id', '=', id)
    .where('scope_id', '=', scope_id)
    .where('deleted_at', 'is', null)
    .where('current_version', '=', old.current_version)
    .where('updated_at', '=', old.updated_at)
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw changedMeanwhile('secret')
}

/** Values and their keys go, mounts go, the name is free; id, placeholder and history stay as a tombstone. */
export function destruction(row: SecretRow, { time }: Moment): Change<void> {
  return {
    action: 'secret.delete',
    target: targetOf(row),
    fields: [],
    apply: async (trx) => {
      await replaceRow(trx, row, { ...row, hint: null, updated_at: time, deleted_at: time })
      await trx.deleteFrom('mounts').where('secret_id', '=', row.id).execute()
      await trx
        .updateTable('secret_versions')
        .set({ ciphertext: null, wrapped_key: null })
        .where('secret_id', '=', row.id)
        .execute()
    },
  }
}
