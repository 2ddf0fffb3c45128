/** Rows of sandboxes and their mounts: found within one workspace only, and shown without anything of the token. */
import type { Kysely, Transaction } from 'kysely'
import { variablesOf } from '../core/aws-rules.ts'
import { isUuid } from '../core/id.ts'
import type { Principal } from '../core/ports.ts'
import type { Sandbox } from '../core/sandbox.ts'
import { alreadyThere, type Change, changedMeanwhile, notFound } from './change.ts'
import type { MountRow, SandboxRow, Schema } from './schema.ts'

/** A mount with what it shows: environment variable, secret, placeholder. */
export interface ShownMount {
  readonly sandbox_id: string
  readonly env_name: string
  readonly secret_id: string
  /** Null when it means that very secret, whatever its name. */
  readonly name_key: string | null
  readonly name: string
  readonly placeholder: string
}

/** The live sandbox of the principal's workspace; `not_found` otherwise. */
export async function findSandbox(db: Kysely<Schema>, principal: Principal, idOrName: string): Promise<SandboxRow> {
  const row = await db
    .selectFrom('sandboxes')
    .selectAll()
    .where('workspace_id', '=', principal.workspaceId)
    .where('deleted_at', 'is', null)
    .where(isUuid(idOrName) ? 'id' : 'name', '=', idOrName)
    .executeTakeFirst()
  if (row === undefined) throw notFound('sandbox')
  return row
}

/** What the mounts of these sandboxes mean now, in the order of the environment variables' names. */
export async function findMounts(db: Kysely<Schema>, sandboxIds: readonly string[]): Promise<readonly ShownMount[]> {
  if (sandboxIds.length === 0) return []
  return await db
    .selectFrom('mounted')
    .innerJoin('secrets', 'secrets.id', 'mounted.secret_id')
    .select(['mounted.sandbox_id', 'env_name', 'secret_id', 'mounted.name_key', 'secrets.name', 'secrets.placeholder'])
    .where('mounted.sandbox_id', 'in', sandboxIds)
    .orderBy('env_name')
    .execute()
}

/** Replaces every mount of the sandbox. */
export async function writeMounts(
  trx: Kysely<Schema>,
  sandboxId: string,
  mounts: readonly ShownMount[],
): Promise<void> {
  await trx.deleteFrom('mounts').where('sandbox_id', '=', sandboxId).execute()
  const rows = mounts.map(({ sandbox_id, env_name, secret_id, name_key }): MountRow => {
    return { sandbox_id, env_name, secret_id, name_key }
  })
  if (rows.length > 0) await trx.insertInto('mounts').values(rows).execute()
}

export function showSandbox(row: SandboxRow, mounts: readonly ShownMount[]): Sandbox {
  const own = mounts.filter((mount) => mount.sandbox_id === row.id)
  return {
    id: row.id,
    workspaceId: row.workspace_id,
    name: row.name,
    mounts: Object.fromEntries(own.map((mount) => [mount.env_name, mount.name])),
    env: Object.fromEntries(own.flatMap((mount) => Object.entries(variablesOf(mount.env_name, mount.placeholder)))),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

/** How the log names it. */
export function sandboxTarget(row: SandboxRow) {
  return { kind: 'sandbox', id: row.id, name: row.name }
}

/** Throws `conflict` when a live sandbox of the same workspace has the name. */
export async function refuseTakenSandbox(db: Kysely<Schema>, row: SandboxRow): Promise<void> {
  const taken = await db
    .selectFrom('sandboxes')
    .select('id')
    .where('workspace_id', '=', row.workspace_id)
    .where('name', '=', row.name)
    .where('deleted_at', 'is', null)
    .executeTakeFirst()
  if (taken !== undefined) throw alreadyThere(sandboxTarget(row))
}

/** The change that writes `row` over `old`, which must be as it was read, and then does what `then` does. */
export function replacement<T>(
  action: string,
  fields: readonly string[],
  old: SandboxRow,
  row: SandboxRow,
  then: (trx: Transaction<Schema>) => Promise<T>,
): Change<T> {
  const { id, workspace_id, ...columns } = row
  return {
    action,
    target: sandboxTarget(old),
    fields,
    apply: async (trx) => {
      const { numUpdatedRows } = await trx
        .updateTable('sandboxes')
        .set(columns)
        .where('id', '=', id)
        .where('workspace_id', '=', workspace_id)
        .where('deleted_at', 'is', null)
        .where('token_version', '=', old.token_version)
        .where('updated_at', '=', old.updated_at)
        .executeTakeFirst()
      if (numUpdatedRows !== 1n) throw changedMeanwhile('sandbox')
      return await then(trx)
    },
  }
}
