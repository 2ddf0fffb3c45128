/** Rows of secrets and versions: found within the scopes a principal sees only, and shown without anything of the value. */
import { type Kysely, sql } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import { isUuid } from '../core/id.ts'
import type { Principal } from '../core/principal.ts'
import type { RotationPolicy, Secret, SecretState, SecretType } from '../core/secret.ts'
import { nameKeyOf } from '../core/secret-name.ts'
import { alreadyThere, changedMeanwhile, notFound } from './change.ts'
import type { Schema, SecretRow, SecretVersionRow } from './schema.ts'
import type { Sealed } from './seal.ts'

/** A secret's row with what its current version adds. */
export interface ShownRow extends SecretRow {
  readonly access_count: number
  readonly disabled_at: string | null
  readonly version_created_at: string
}

/** Every select of secrets that are shown begins with this. */
export function selectShown(db: Kysely<Schema>) {
  return db
    .selectFrom('secrets')
    .innerJoin('secret_versions as current', (join) =>
      join.onRef('current.secret_id', '=', 'secrets.id').onRef('current.version', '=', 'secrets.current_version'),
    )
    .selectAll('secrets')
    .select(['current.access_count', 'current.disabled_at', 'current.created_at as version_created_at'])
}

/** Whose secrets the principal sees: those of its scope, and in a workspace also the account's. */
export function visibleScopes(principal: Principal): readonly string[] {
  const { scopeId, workspaceId, accountId } = principal
  return scopeId === workspaceId && workspaceId !== accountId ? [workspaceId, accountId] : [scopeId]
}

/**
 * The secret that the ref means to this principal: the live one of its scope, else the inherited one, else its scope's newest
 * that was softly deleted; an id also means that one. `not_found` otherwise.
 */
export async function findSecret(db: Kysely<Schema>, principal: Principal, ref: string): Promise<ShownRow> {
  const row = isUuid(ref)
    ? await findById(db, principal, ref)
    : ((await findLive(db, visibleScopes(principal), ref)) ?? (await findDeleted(db, principal, ref)))
  if (row === undefined) throw notFound('secret')
  return row
}

/** As `findSecret`, of the principal's own scope: what is inherited is changed where it is. */
export async function findOwnSecret(db: Kysely<Schema>, principal: Principal, ref: string): Promise<ShownRow> {
  const row = await findSecret(db, principal, ref)
  if (row.scope_id !== principal.scopeId) throw notFound('secret')
  return row
}

/** The first of these scopes that has a live secret of the name gives it. */
export async function findLive(
  db: Kysely<Schema>,
  scopes: readonly string[],
  name: string,
): Promise<ShownRow | undefined> {
  const rows = await selectShown(db)
    .where('scope_id', 'in', scopes)
    .where('name_key', '=', nameKeyOf(name))
    .where('deleted_at', 'is', null)
    .execute()
  return rows.sort((a, b) => scopes.indexOf(a.scope_id) - scopes.indexOf(b.scope_id))[0]
}

/** The newest of the principal's own scope and that name that was softly deleted. */
export async function findDeleted(
  db: Kysely<Schema>,
  principal: Principal,
  name: string,
): Promise<ShownRow | undefined> {
  return await selectShown(db)
    .where('scope_id', '=', principal.scopeId)
    .where('name_key', '=', nameKeyOf(name))
    .where('deleted_at', 'is not', null)
    .where('destroyed_at', 'is', null)
    .orderBy('deleted_at', 'desc')
    .limit(1)
    .executeTakeFirst()
}

async function findById(db: Kysely<Schema>, principal: Principal, id: string): Promise<ShownRow | undefined> {
  const row = await selectShown(db)
    .where('id', '=', id)
    .where('scope_id', 'in', visibleScopes(principal))
    .where('destroyed_at', 'is', null)
    .executeTakeFirst()
  if (row === undefined || row.scope_id === principal.scopeId) return row
  // An inherited one that is deleted or overridden is not seen from here.
  if (row.deleted_at !== null) return undefined
  return (await findLive(db, [principal.scopeId], row.name_key)) === undefined ? row : undefined
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
  return row === undefined ? null : sealedOf(row)
}

export function sealedOf(row: Pick<SecretVersionRow, 'ciphertext' | 'wrapped_key' | 'key_id'>): Sealed | null {
  if (row.ciphertext === null || row.wrapped_key === null) return null
  return { ciphertext: row.ciphertext, wrappedKey: row.wrapped_key, keyId: row.key_id }
}

/** As the principal sees it. `now` in milliseconds since the epoch. */
export function showSecret(row: ShownRow, principal: Principal, now: number): Secret {
  return {
    id: row.id,
    workspaceId: principal.workspaceId,
    scopeId: row.scope_id,
    inherited: row.scope_id !== principal.scopeId,
    name: row.name,
    placeholder: row.placeholder,
    description: row.description,
    type: row.type as SecretType,
    hosts: readHosts(row.hosts),
    placements: readPlacements(row.placements),
    allowPlaintext: row.allow_plaintext === 1,
    labels: JSON.parse(row.labels) as Record<string, string>,
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    externalId: row.external_id,
    hint: row.hint,
    readPolicy: row.read_policy,
    state: stateOf({ ...row, secret_deleted_at: row.deleted_at }, now),
    version: row.current_version,
    expiresAt: row.expires_at,
    maxAccessCount: row.max_access_count,
    accessCount: row.access_count,
    countUses: row.count_uses === 1,
    maxOccurrences: row.max_occurrences,
    rotationPolicy: readRotationPolicy(row.rotation_policy),
    rotateAt: row.rotate_at,
    createdBy: row.created_by,
    createdByKind: row.created_by_kind,
    createdById: row.created_by_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastUsedAt: row.last_used_at,
    deletedAt: row.deleted_at,
  }
}

interface Limits extends Pick<SecretVersionRow, 'disabled_at' | 'expires_at' | 'max_access_count' | 'access_count'> {
  readonly secret_deleted_at: string | null
}

/** Of one version of a secret. */
export function stateOf(limits: Limits, now: number): SecretState {
  if (limits.secret_deleted_at !== null) return 'deleted'
  if (limits.disabled_at !== null) return 'disabled'
  if (limits.expires_at !== null && Date.parse(limits.expires_at) <= now) return 'expired'
  return limits.max_access_count !== null && limits.access_count >= limits.max_access_count ? 'exhausted' : 'current'
}

export function readHosts(column: string | null): readonly string[] | null {
  return column === null ? null : (JSON.parse(column) as string[])
}

export function readPlacements(column: string): readonly string[] {
  return JSON.parse(column) as string[]
}

export function readRotationPolicy(column: string | null): RotationPolicy | null {
  return column === null ? null : (JSON.parse(column) as RotationPolicy)
}

/** How the log names it. */
export function targetOf(row: Pick<SecretRow, 'id' | 'name'>) {
  return { kind: 'secret', id: row.id, name: row.name }
}

/** Throws `conflict` when another live secret of the same scope has the name or the external id. */
export async function refuseTaken(db: Kysely<Schema>, row: SecretRow): Promise<void> {
  const others = db
    .selectFrom('secrets')
    .select('id')
    .where('scope_id', '=', row.scope_id)
    .where('deleted_at', 'is', null)
    .where('id', '!=', row.id)
  const named = await others.where('name_key', '=', row.name_key).executeTakeFirst()
  if (named !== undefined) throw alreadyThere(targetOf(row))
  if (row.external_id === null) return
  const known = await others.where('external_id', '=', row.external_id).executeTakeFirst()
  if (known !== undefined) throw alreadyThere({ kind: 'secret', name: 'with that external id' })
}

/** Writes `row` over `old`, which must be as it was read: nobody else's change is undone unseen. */
export async function replaceRow(trx: Kysely<Schema>, old: SecretRow, row: ShownRow): Promise<void> {
  // Uses are written at any time, and counts belong to versions: neither is put back to what was read.
  const {
    id,
    scope_id,
    access_count: _1,
    disabled_at: _2,
    version_created_at: _3,
    last_used_at: _4,
    idle_since: _5,
    ...columns
  } = row
  const { numUpdatedRows } = await trx
    .updateTable('secrets')
    .set(columns)
    .where('id', '=', id)
    .where('scope_id', '=', scope_id)
    .where(sql<boolean>`deleted_at IS ${old.deleted_at}`)
    .where('destroyed_at', 'is', null)
    .where('current_version', '=', old.current_version)
    .where('updated_at', '=', old.updated_at)
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw changedMeanwhile('secret')
}

/** Of one that was softly deleted, or a version that no longer gives its value. */
export function gone(what: string, why: string): CoatcheckError {
  return new CoatcheckError('gone', `${what} ${why}.`, 'Write a new value, or revive it if it was only deleted.')
}
