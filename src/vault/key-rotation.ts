/**
 * Rotation of the key-encryption key: a new key is added, then every data key is wrapped anew, row by row.
 *
 * Each row names the one key that unwraps it and changes together with it, so a crash leaves every row readable and
 * rewrapping goes on where it stopped. Values are not opened.
 */
import type { Kysely } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { AuditAppender, Clock, Principal } from '../core/ports.ts'
import { principalLabel } from './change.ts'
import type { Database } from './database.ts'
import type { Keyring } from './keyring.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'

/** Rows per transaction: other writers wait for at most this many. */
const BATCH = 100

export interface KeyRotationOptions {
  readonly database: Database
  readonly keyring: Keyring
  readonly sealer: Sealer
  readonly audit: AuditAppender
  readonly clock: Clock
}

/** Records, adds a key, makes it current, and rewraps everything. Returns the key's id and how many rows were rewrapped. */
export async function rotateKeyring(
  options: KeyRotationOptions,
  principal: Principal,
): Promise<{ readonly keyId: string; readonly rewrapped: number }> {
  const now = options.clock()
  await options.audit.append([
    {
      kind: 'change',
      id: uuidv7(now),
      time: new Date(now).toISOString(),
      workspace: null,
      principal: principalLabel(principal),
      action: 'keyring.rotate',
      target: { kind: 'keyring', id: options.keyring.currentId, name: 'keyring' },
      fields: ['current'],
    },
  ])
  const keyId = await options.keyring.addKey()
  return { keyId, rewrapped: await rewrapAll(options) }
}

/** Wraps every data key that is under an older key with the current one. Goes on past rows that do not open, then throws. */
export async function rewrapAll(options: Pick<KeyRotationOptions, 'database' | 'sealer'>): Promise<number> {
  const { database, sealer } = options
  let rewrapped = 0
  let damaged = 0
  let after = { secret_id: '', version: 0 }
  for (;;) {
    const start = after
    const rows = await database.query(async (db) => await staleRows(db, sealer.currentKeyId, start))
    const last = rows.at(-1)
    if (last === undefined) break
    after = last
    const done = await database.transaction(async (trx) => await rewrapRows(trx, sealer, rows))
    rewrapped += done
    damaged += rows.length - done
  }
  if (damaged === 0) return rewrapped
  throw new CoatcheckError(
    'store_unavailable',
    `${damaged} stored values do not open with the keyring; ${rewrapped} others were rewrapped.`,
    'Keep the old keys, and restore those values from a backup or write them again.',
  )
}

interface StaleRow {
  readonly secret_id: string
  readonly version: number
  readonly scope_id: string
  readonly key_id: string
  readonly wrapped_key: Uint8Array | null
}

async function staleRows(
  db: Kysely<Schema>,
  currentKeyId: string,
  after: { readonly secret_id: string; readonly version: number },
): Promise<readonly StaleRow[]> {
  return await db
    .selectFrom('secret_versions')
    .innerJoin('secrets', 'secrets.id', 'secret_versions.secret_id')
    .select(['secret_id', 'version', 'scope_id', 'key_id', 'wrapped_key'])
    .where('key_id', '!=', currentKeyId)
    .where('wrapped_key', 'is not', null)
    .where((eb) =>
      eb.or([
        eb('secret_id', '>', after.secret_id),
        eb.and([eb('secret_id', '=', after.secret_id), eb('version', '>', after.version)]),
      ]),
    )
    .orderBy('secret_id')
    .orderBy('version')
    .limit(BATCH)
    .execute()
}

/** How many of the rows were rewrapped or changed meanwhile; the rest do not open. */
async function rewrapRows(trx: Kysely<Schema>, sealer: Sealer, rows: readonly StaleRow[]): Promise<number> {
  let done = 0
  for (const row of rows) {
    const rewrapped = rewrapRow(sealer, row)
    if (rewrapped === null) continue
    done++
    await trx
      .updateTable('secret_versions')
      .set({ wrapped_key: rewrapped.wrappedKey, key_id: rewrapped.keyId })
      .where('secret_id', '=', row.secret_id)
      .where('version', '=', row.version)
      // Destroyed or rewrapped by another process since it was read: leave it.
      .where('wrapped_key', '=', row.wrapped_key)
      .execute()
  }
  return done
}

function rewrapRow(sealer: Sealer, row: StaleRow) {
  const context = { workspaceId: row.scope_id, secretId: row.secret_id, version: row.version }
  try {
    return sealer.rewrap(
      { ciphertext: new Uint8Array(), wrappedKey: row.wrapped_key ?? new Uint8Array(), keyId: row.key_id },
      context,
    )
  } catch (error) {
    if (error instanceof CoatcheckError) return null
    throw error
  }
}
