/**
 * Shows a value to who may read it: first the permission, then the durable record, then the exact count, and only then the value.
 * A read that is refused is recorded too.
 */
import type { ChangeEvent } from '../core/audit-event.ts'
import { secretParts } from '../core/aws-credentials.ts'
import { valuesOf } from '../core/aws-rules.ts'
import { CoatcheckError } from '../core/errors.ts'
import { roleAllows } from '../core/permission.ts'
import type { AuditAppender, Clock, SecretUsage } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import type { SecretValue } from '../core/secret.ts'
import type { MountResolver, ResolvedMount, RevealedSecret, SecretReveals } from '../core/secret-store.ts'
import { accessOf, accessToValue } from './access.ts'
import { changeEvent, momentOf, notFound } from './change.ts'
import type { Database } from './database.ts'
import { findMounts, findSandbox } from './sandbox-rows.ts'
import type { Sealer } from './seal.ts'
import { findSecret, gone, type ShownRow, selectShown, showSecret, targetOf } from './secret-rows.ts'
import { countAccess } from './version-access.ts'
import { findVersion } from './version-rows.ts'

export interface RevealsOptions {
  readonly database: Database
  readonly sealer: Sealer
  readonly audit: AuditAppender
  readonly clock: Clock
  readonly usage: SecretUsage
  /** Told of every value that is opened, before anybody else sees it: from then on no log line may hold it. */
  readonly watch: (value: SecretValue) => void
}

const WHY = {
  deleted: 'was deleted',
  disabled: 'is disabled',
  expired: 'has expired',
  exhausted: 'was read as often as it may be',
} as const

export class Reveals implements SecretReveals, MountResolver {
  readonly #options: RevealsOptions

  constructor(options: RevealsOptions) {
    this.#options = options
  }

  async reveal(
    principal: Principal,
    ref: string,
    options: { readonly version?: number } = {},
  ): Promise<RevealedSecret> {
    const { database } = this.#options
    const now = database.latest()
    const { row, access, toValue } = await database.query(async (db) => {
      const row = await findSecret(db, principal, ref)
      const toValue = await accessToValue(db, principal, row.scope_id, now)
      return { row, access: await accessOf(db, principal, now), toValue }
    })
    access.require('list', row.name)
    const number = options.version ?? row.current_version
    await this.#orDenied(principal, row, async () => {
      access.require('read', row.name)
      toValue.require('read', row.name)
      if (row.read_policy === 'never') throw writeOnly()
      const version = await database.query(async (db) => await findVersion(db, row, number, now))
      if (version.state !== 'current') throw gone(`Version ${number} of the secret`, WHY[version.state])
    })
    const value = await this.#open(principal, row, number, 'secret.read')
    const shown = await database.query(async (db) => ({
      row: (await selectShown(db).where('id', '=', row.id).executeTakeFirst()) ?? row,
      version: await findVersion(db, row, number, now),
    }))
    return { secret: showSecret(shown.row, principal, now), version: shown.version, value }
  }

  async mayReveal(principal: Principal, ref: string): Promise<boolean> {
    const { database } = this.#options
    const now = database.latest()
    return await database.query(async (db) => {
      const row = await findSecret(db, principal, ref)
      const access = await accessOf(db, principal, now)
      access.require('list', row.name)
      if (row.read_policy === 'never' || !access.decide('read', row.name).allow) return false
      if (showSecret(row, principal, now).state !== 'current') return false
      return (await accessToValue(db, principal, row.scope_id, now)).decide('read', row.name).allow
    })
  }

  async resolve(principal: Principal, sandboxIdOrName: string): Promise<readonly ResolvedMount[]> {
    if (!roleAllows(principal.role, 'mounts.resolve')) {
      throw new CoatcheckError('forbidden', 'Only a runner resolves mounts.', 'Use a token of the role runner.')
    }
    const { database } = this.#options
    const now = database.latest()
    const mounts = await database.query(async (db) => {
      const sandbox = await findSandbox(db, principal, sandboxIdOrName)
      // Another sandbox than the runner's own is as if it were not there.
      if (principal.sandboxId !== null && principal.sandboxId !== sandbox.id) throw notFound('sandbox')
      return await findMounts(db, [sandbox.id])
    })
    const resolved: ResolvedMount[] = []
    for (const mount of mounts) {
      const row = await database.query(
        async (db) => await selectShown(db).where('id', '=', mount.secret_id).executeTakeFirst(),
      )
      if (row === undefined || showSecret(row, principal, now).state !== 'current') continue
      const value = await this.#open(principal, row, row.current_version, 'secret.resolve')
      const secret = showSecret(row, principal, now)
      for (const [env, each] of valuesOf(mount.env_name, secret.placeholder, value))
        resolved.push({ env, secret, value: each })
    }
    return resolved
  }

  async #open(principal: Principal, row: ShownRow, version: number, action: string): Promise<SecretValue> {
    const { database, sealer, usage, clock, watch } = this.#options
    await this.#record(principal, row, action, [`version ${version}`])
    const sealed = await countAccess(database, { scopeId: row.scope_id, id: row.id, version })
    if (sealed === null) {
      await this.#record(principal, row, `${action}.failed`, [])
      throw gone(`Version ${version} of the secret`, 'was used up, expired or changed in this moment')
    }
    usage.used(row.id, clock())
    try {
      const value = sealer.open(sealed, { workspaceId: row.scope_id, secretId: row.id, version })
      for (const part of secretParts(row, value)) watch(part)
      return value
    } catch (error) {
      // A row that does not open was changed or moved outside of coatcheck.
      await this.#record(principal, row, `${action}.failed`, [])
      throw error
    }
  }

  async #orDenied(principal: Principal, row: ShownRow, check: () => Promise<void>): Promise<void> {
    try {
      await check()
    } catch (error) {
      await this.#record(principal, row, 'secret.read.denied', [])
      throw error
    }
  }

  async #record(principal: Principal, row: ShownRow, action: string, fields: readonly string[]): Promise<void> {
    const { audit, clock } = this.#options
    const event: ChangeEvent = changeEvent(principal, targetOf(row), action, fields, momentOf(clock))
    await audit.append([event])
  }
}

function writeOnly(): CoatcheckError {
  return new CoatcheckError(
    'forbidden',
    'The value of this secret is write-only.',
    'Mount it in a sandbox and use its placeholder; nobody reads it back.',
  )
}
