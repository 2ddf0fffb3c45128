/**
 * Counts one read of a version's value, exactly: the one statement that counts also decides, and it is committed before anyone
 * gets what it returns. A crash in between may burn a read; it never grants one.
 */
import { sql } from 'kysely'
import type { Database } from './database.ts'
import type { Sealed } from './seal.ts'
import { sealedOf } from './secret-rows.ts'

/** The sealed value, or null when the version is expired, used up, disabled, deleted or destroyed. */
export async function countAccess(
  database: Database,
  secret: { readonly scopeId: string; readonly id: string; readonly version: number },
): Promise<Sealed | null> {
  const latest = new Date(database.latest()).toISOString()
  const row = await database.transaction(
    async (trx) =>
      await trx
        .updateTable('secret_versions')
        .set((eb) => ({ access_count: eb('access_count', '+', 1) }))
        .where('secret_id', '=', secret.id)
        .where('version', '=', secret.version)
        .where('disabled_at', 'is', null)
        .where(sql<boolean>`(max_access_count IS NULL OR access_count < max_access_count)`)
        .where(sql<boolean>`(expires_at IS NULL OR expires_at > ${latest})`)
        .where((eb) =>
          eb.exists(
            eb
              .selectFrom('secrets')
              .select('id')
              .where('id', '=', secret.id)
              .where('scope_id', '=', secret.scopeId)
              .where('deleted_at', 'is', null),
          ),
        )
        .returning(['ciphertext', 'wrapped_key', 'key_id', 'access_count', 'max_access_count'])
        .executeTakeFirst(),
  )
  if (row === undefined) return null
  // The last one: caches that still call the secret current must look again.
  if (row.access_count === row.max_access_count) await database.change(async () => undefined)
  return sealedOf(row)
}
