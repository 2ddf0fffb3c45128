/** What each change of a secret writes, in one transaction that was planned and recorded before. */
import { type Kysely, sql } from 'kysely'
import { type Change, changedMeanwhile, type Moment } from './change.ts'
import type { Schema, SecretVersionRow } from './schema.ts'
import { type Draft, versionColumns } from './secret-draft.ts'
import { replaceRow, type ShownRow, targetOf } from './secret-rows.ts'

export function creation(draft: Draft, version: SecretVersionRow, fields: readonly string[]): Change<Draft> {
  const { access_count: _1, disabled_at: _2, version_created_at: _3, ...row } = draft.row
  return {
    action: 'secret.create',
    target: targetOf(row),
    fields,
    apply: async (trx) => {
      await trx.insertInto('secrets').values(row).execute()
      await trx.insertInto('secret_versions').values(version).execute()
      return draft
    },
  }
}

/** `added` is the new version, or null when the value stays. */
export function replacement(
  old: ShownRow,
  draft: Draft,
  added: SecretVersionRow | null,
  fields: readonly string[],
): Change<Draft> {
  const { row } = draft
  const action = old.deleted_at !== null ? 'secret.revive' : added === null ? 'secret.update' : 'secret.rotate'
  return {
    action,
    target: targetOf(row),
    fields,
    apply: async (trx) => {
      await replaceRow(trx, old, row)
      if (row.name_key !== old.name_key) await renameMounts(trx, row)
      if (added !== null) await trx.insertInto('secret_versions').values(added).execute()
      else {
        await trx
          .updateTable('secret_versions')
          .set(versionColumns(row))
          .where('secret_id', '=', row.id)
          .where('version', '=', row.current_version)
          .execute()
      }
      return draft
    },
  }
}

/** Values stay, and nothing gives them any more; the name is free. */
export function deletion(row: ShownRow, { time }: Moment): Change<void> {
  return {
    action: 'secret.delete',
    target: targetOf(row),
    fields: ['deletedAt'],
    apply: async (trx) => await replaceRow(trx, row, { ...row, updated_at: time, deleted_at: time }),
  }
}

export function revival(old: ShownRow, { time }: Moment): Change<Draft> {
  return replacement(old, { row: { ...old, updated_at: time, deleted_at: null }, warnings: [] }, null, ['deletedAt'])
}

/** Values and their keys go, mounts go, the name is free; id, placeholder and history stay as a tombstone. */
export function destruction(row: ShownRow, { time }: Moment): Change<void> {
  return {
    action: 'secret.delete',
    target: targetOf(row),
    fields: [],
    apply: async (trx) => {
      const deleted_at = row.deleted_at ?? time
      await replaceRow(trx, row, { ...row, hint: null, updated_at: time, deleted_at, destroyed_at: time })
      await leaveMounts(trx, row)
      await trx
        .updateTable('secret_versions')
        .set({ ciphertext: null, wrapped_key: null })
        .where('secret_id', '=', row.id)
        .execute()
    },
  }
}

/** The current version's switch is also the secret's state. */
export function versionSwitch(row: ShownRow, version: number, enabled: boolean, { time }: Moment): Change<ShownRow> {
  return {
    action: enabled ? 'secret.enable_version' : 'secret.disable_version',
    target: targetOf(row),
    fields: [`version ${version}`],
    apply: async (trx) => {
      const { numUpdatedRows } = await trx
        .updateTable('secret_versions')
        .set((eb) => ({ disabled_at: enabled ? null : eb.fn.coalesce('disabled_at', eb.val(time)) }))
        .where('secret_id', '=', row.id)
        .where('version', '=', version)
        .executeTakeFirst()
      if (numUpdatedRows !== 1n) throw changedMeanwhile('version')
      return row
    },
  }
}

async function renameMounts(trx: Kysely<Schema>, row: ShownRow): Promise<void> {
  await trx
    .updateTable('mounts')
    .set({ name_key: row.name_key })
    .where('secret_id', '=', row.id)
    .where('name_key', 'is not', null)
    .execute()
}

/** A mount by name goes over to the secret that has the name in its workspace, if there is one; the others end. */
async function leaveMounts(trx: Kysely<Schema>, row: ShownRow): Promise<void> {
  const heir = sql<string>`(SELECT heirs.id FROM secrets AS heirs
    JOIN sandboxes ON sandboxes.id = mounts.sandbox_id
    JOIN scopes ON scopes.id = sandboxes.workspace_id
    WHERE heirs.scope_id IN (sandboxes.workspace_id, scopes.parent_id) AND heirs.name_key = mounts.name_key
      AND heirs.deleted_at IS NULL AND heirs.id <> ${row.id}
    ORDER BY heirs.scope_id = sandboxes.workspace_id DESC LIMIT 1)`
  await trx
    .updateTable('mounts')
    .set({ secret_id: sql<string>`coalesce(${heir}, secret_id)` })
    .where('secret_id', '=', row.id)
    .where('name_key', 'is not', null)
    .execute()
  await trx.deleteFrom('mounts').where('secret_id', '=', row.id).execute()
}
