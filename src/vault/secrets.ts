/**
 * The secrets of a scope: created, listed, changed, rotated, deleted and revived, each change recorded first.
 *
 * The placeholder never changes and is never given out twice. A destroyed secret leaves a tombstone without values or keys.
 */
import { type GenerateSpec, generateValue } from '../core/generate.ts'
import { isUuid } from '../core/id.ts'
import type { PageRequest } from '../core/page.ts'
import type { AuditAppender, Clock } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import type { Secret, SecretType, SecretValue, SecretVersion } from '../core/secret.ts'
import type {
  NewSecret,
  SecretControl,
  SecretFilter,
  SecretPage,
  SecretPatch,
  SecretPut,
  SecretPutResult,
  SecretWritten,
  WriteOptions,
} from '../core/secret-store.ts'
import { accessOf, type SecretAccess } from './access.ts'
import { Changes, changedMeanwhile, type Moment, notFound } from './change.ts'
import type { Database } from './database.ts'
import type { Sealer } from './seal.ts'
import { creation, deletion, destruction, replacement, revival, versionSwitch } from './secret-changes.ts'
import { draftNew, draftPatch, type SecretPolicy, versionRow } from './secret-draft.ts'
import { listSecrets } from './secret-list.ts'
import {
  findDeleted,
  findLive,
  findOwnSecret,
  findSealed,
  findSecret,
  gone,
  refuseTaken,
  type ShownRow,
  showSecret,
} from './secret-rows.ts'
import { findVersion, findVersions, staleVersion } from './version-rows.ts'
import { findSettings } from './workspace-settings.ts'

export type { SecretPolicy } from './secret-draft.ts'

export interface SecretsOptions {
  readonly database: Database
  readonly sealer: Sealer
  readonly audit: AuditAppender
  readonly clock: Clock
  /** The server's; a workspace's settings come before it. */
  readonly policy: SecretPolicy
}

export class Secrets implements SecretControl {
  readonly #database: Database
  readonly #sealer: Sealer
  readonly #changes: Changes
  readonly #policy: SecretPolicy

  constructor(options: SecretsOptions) {
    this.#database = options.database
    this.#sealer = options.sealer
    this.#changes = new Changes(options)
    this.#policy = options.policy
  }

  async create(principal: Principal, input: NewSecret): Promise<SecretWritten> {
    const { row, warnings } = await this.#changes.make(principal, async (moment) => {
      const access = await this.#access(principal)
      const draft = draftNew(input, await this.#context(principal, moment))
      access.require('write', draft.row.name)
      await this.#database.query(async (db) => await refuseTaken(db, draft.row))
      return creation(draft, versionRow(draft.row, input.value, this.#sealer, principal), givenFields(input))
    })
    return { secret: this.#show(row, principal), warnings }
  }

  async list(principal: Principal, request: PageRequest & SecretFilter): Promise<SecretPage> {
    const access = await this.#access(principal)
    const now = this.#database.latest()
    return await this.#database.query(async (db) => await listSecrets({ db, principal, access, now }, request))
  }

  async get(principal: Principal, ref: string): Promise<Secret> {
    return this.#show(await this.#readable(principal, ref), principal)
  }

  async getByExternalId(principal: Principal, externalId: string): Promise<Secret> {
    const page = { externalId, limit: 2, cursor: null }
    const [secret] = (await this.list(principal, page)).items
    if (secret === undefined) throw notFound('secret')
    return secret
  }

  async update(
    principal: Principal,
    ref: string,
    patch: SecretPatch,
    options: WriteOptions = {},
  ): Promise<SecretWritten> {
    if (givenFields(patch).length === 0) return { secret: await this.get(principal, ref), warnings: [] }
    const { row, warnings } = await this.#changes.make(principal, async (moment) => {
      const old = await this.#writable(principal, ref, 'write')
      if (old.deleted_at !== null) throw gone('The secret', 'was deleted')
      if (options.ifVersion !== undefined && options.ifVersion !== old.current_version) throw staleVersion(old, options)
      return await this.#patch(principal, old, patch, moment)
    })
    return { secret: this.#show(row, principal), warnings }
  }

  async put(principal: Principal, name: string, input: SecretPut): Promise<SecretPutResult> {
    const { dress: _, readPolicy, ...rest } = input
    const unset = { metadata: {}, expiresAt: null, maxAccessCount: null, rotationPolicy: null }
    const tightened = readPolicy === 'never' ? { readPolicy } : {}
    return await this.#write(principal, name, { ...input, name }, { ...unset, ...rest, ...tightened })
  }

  async generate(
    principal: Principal,
    name: string,
    spec: GenerateSpec & { readonly type?: SecretType },
  ): Promise<SecretPutResult> {
    const value = generateValue(spec)
    const fields = spec.type === undefined ? { value } : { value, type: spec.type }
    return await this.#write(principal, name, { name, ...fields }, fields)
  }

  async delete(principal: Principal, ref: string): Promise<void> {
    await this.#changes.make(principal, async (moment) =>
      destruction(await this.#writable(principal, ref, 'delete'), moment),
    )
    await this.#database.truncateLog()
  }

  async softDelete(principal: Principal, ref: string): Promise<void> {
    await this.#changes.make(principal, async (moment) => {
      const row = await this.#writable(principal, ref, 'delete')
      if (row.deleted_at !== null) throw gone('The secret', 'was deleted already')
      return deletion(row, moment)
    })
  }

  async revive(principal: Principal, ref: string): Promise<Secret> {
    const { row } = await this.#changes.make(principal, async (moment) => {
      const access = await this.#access(principal)
      const row = await this.#database.query(async (db) => {
        const found = isUuid(ref) ? await findOwnSecret(db, principal, ref) : await findDeleted(db, principal, ref)
        if (found === undefined || found.deleted_at === null) throw notFound('deleted secret')
        access.require('write', found.name)
        await refuseTaken(db, found)
        return found
      })
      return revival(row, moment)
    })
    return this.#show(row, principal)
  }

  async versions(principal: Principal, ref: string): Promise<readonly SecretVersion[]> {
    const row = await this.#readable(principal, ref)
    return await this.#database.query(async (db) => await findVersions(db, row, this.#database.latest()))
  }

  async version(principal: Principal, ref: string, version: number): Promise<SecretVersion> {
    const row = await this.#readable(principal, ref)
    return await this.#database.query(async (db) => await findVersion(db, row, version, this.#database.latest()))
  }

  async disableVersion(principal: Principal, ref: string, version: number): Promise<SecretVersion> {
    return await this.#switch(principal, ref, version, false)
  }

  async enableVersion(principal: Principal, ref: string, version: number): Promise<SecretVersion> {
    return await this.#switch(principal, ref, version, true)
  }

  async #switch(principal: Principal, ref: string, version: number, enabled: boolean): Promise<SecretVersion> {
    const row = await this.#changes.make(principal, async (moment) => {
      const row = await this.#writable(principal, ref, 'write')
      await this.#database.query(async (db) => await findVersion(db, row, version, moment.now))
      return versionSwitch(row, version, enabled, moment)
    })
    return await this.#database.query(async (db) => await findVersion(db, row, version, this.#database.latest()))
  }

  /** Makes it from `input`, or patches the live or deleted one of that name (or id). */
  async #write(
    principal: Principal,
    ref: string,
    input: NewSecret,
    patch: SecretPatch & { readonly value: SecretValue },
  ): Promise<SecretPutResult> {
    let outcome: SecretPutResult['outcome'] = 'created'
    const { row, warnings } = await this.#changes.make(principal, async (moment) => {
      const access = await this.#access(principal)
      const old = await this.#database.query(async (db) => {
        if (isUuid(ref)) return await findOwnSecret(db, principal, ref)
        return (await findLive(db, [principal.scopeId], ref)) ?? (await findDeleted(db, principal, ref))
      })
      access.require('write', old?.name ?? ref)
      if (old !== undefined) {
        outcome = old.deleted_at === null ? 'replaced' : 'revived'
        return await this.#patch(principal, old, patch, moment)
      }
      const draft = draftNew(input, await this.#context(principal, moment))
      await this.#database.query(async (db) => await refuseTaken(db, draft.row))
      return creation(draft, versionRow(draft.row, input.value, this.#sealer, principal), givenFields(input))
    })
    return { secret: this.#show(row, principal), warnings, outcome }
  }

  async #patch(principal: Principal, old: ShownRow, patch: SecretPatch, moment: Moment) {
    const context = await this.#context(principal, moment)
    const draft = await draftPatch(old, patch, context, async () => await this.#currentValue(old))
    if (draft.row.name !== old.name) (await this.#access(principal)).require('write', draft.row.name)
    await this.#database.query(async (db) => await refuseTaken(db, draft.row))
    const added = patch.value === undefined ? null : versionRow(draft.row, patch.value, this.#sealer, principal)
    return replacement(old, draft, added, givenFields(patch))
  }

  async #readable(principal: Principal, ref: string): Promise<ShownRow> {
    const access = await this.#access(principal)
    const row = await this.#database.query(async (db) => await findSecret(db, principal, ref))
    access.require('list', row.name)
    if (row.deleted_at !== null) throw gone('The secret', 'was deleted')
    return row
  }

  async #writable(principal: Principal, ref: string, permission: 'write' | 'delete'): Promise<ShownRow> {
    const access = await this.#access(principal)
    const row = await this.#database.query(async (db) => await findOwnSecret(db, principal, ref))
    access.require(permission, row.name)
    return row
  }

  async #access(principal: Principal): Promise<SecretAccess> {
    return await this.#database.query(async (db) => await accessOf(db, principal, this.#database.latest()))
  }

  async #context(principal: Principal, moment: Moment) {
    const own = await this.#database.query(async (db) => await findSettings(db, principal.workspaceId))
    const policy = {
      requireHosts: own.requireHosts ?? this.#policy.requireHosts,
      defaultPlacements: own.placements ?? this.#policy.defaultPlacements,
    }
    return { principal, policy, moment, latest: this.#database.latest() }
  }

  async #currentValue(row: ShownRow): Promise<SecretValue> {
    const version = { workspaceId: row.scope_id, id: row.id, version: row.current_version }
    const sealed = await this.#database.query(async (db) => await findSealed(db, version))
    if (sealed === null) throw changedMeanwhile('secret')
    return this.#sealer.open(sealed, { workspaceId: row.scope_id, secretId: row.id, version: row.current_version })
  }

  #show(row: ShownRow, principal: Principal): Secret {
    return showSecret(row, principal, this.#database.latest())
  }
}

/** Names of what was given, never the contents. */
function givenFields(input: object): readonly string[] {
  return Object.entries(input).flatMap(([field, content]) => (content === undefined ? [] : [field]))
}
