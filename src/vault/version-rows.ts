/** Rows of a secret's versions, found through the secret's own row, and shown without anything of the value. */
import type { Kysely } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { SecretType, SecretVersion } from '../core/secret.ts'
import type { WriteOptions } from '../core/secret-store.ts'
import { notFound } from './change.ts'
import type { Schema, SecretRow, SecretVersionRow } from './schema.ts'
import { stateOf } from './secret-rows.ts'

const SHOWN = [
  ...(['version', 'type', 'metadata', 'expires_at', 'max_access_count', 'access_count'] as const),
  ...(['created_at', 'created_by', 'disabled_at'] as const),
] as const

type ShownVersion = Pick<SecretVersionRow, (typeof SHOWN)[number]>

/** Newest first. `now` in milliseconds since the epoch. */
export async function findVersions(
  db: Kysely<Schema>,
  secret: SecretRow,
  now: number,
): Promise<readonly SecretVersion[]> {
  const rows = await db
    .selectFrom('secret_versions')
    .select(SHOWN)
    .where('secret_id', '=', secret.id)
    .orderBy('version', 'desc')
    .execute()
  return rows.map((row) => showVersion(row, secret, now))
}

/** Throws `not_found`. */
export async function findVersion(
  db: Kysely<Schema>,
  secret: SecretRow,
  version: number,
  now: number,
): Promise<SecretVersion> {
  const row = await db
    .selectFrom('secret_versions')
    .select(SHOWN)
    .where('secret_id', '=', secret.id)
    .where('version', '=', version)
    .executeTakeFirst()
  if (row === undefined) throw notFound('version')
  return showVersion(row, secret, now)
}

export function showVersion(row: ShownVersion, secret: SecretRow, now: number): SecretVersion {
  return {
    version: row.version,
    createdAt: row.created_at,
    createdBy: row.created_by,
    disabledAt: row.disabled_at,
    type: row.type as SecretType,
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    expiresAt: row.expires_at,
    maxAccessCount: row.max_access_count,
    accessCount: row.access_count,
    state: stateOf({ ...row, secret_deleted_at: secret.deleted_at }, now),
  }
}

/** For a write that was meant for another version. */
export function staleVersion(row: SecretRow, { ifVersion }: WriteOptions): CoatcheckError {
  return new CoatcheckError(
    'conflict',
    `The secret is at version ${row.current_version}, not ${ifVersion}.`,
    'Look at what changed, then send the version that is there now.',
  )
}
