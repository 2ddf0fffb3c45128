/**
 * The secrets of a workspace: created, listed, changed, rotated and destroyed, each change recorded first.
 *
 * The placeholder never changes and is never given out twice. A deleted secret leaves a tombstone without values or keys.
 */
import { sql } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import { normalizeHosts } from '../core/host-pattern.ts'
import { uuidv7 } from '../core/id.ts'
import { mintToken, validateDress } from '../core/placeholder.ts'
import { formatPlacement, type Placement, parsePlacement } from '../core/placement.ts'
import type {
  AuditAppender,
  Clock,
  NewSecret,
  Page,
  PageRequest,
  Principal,
  SecretPatch,
  SecretStore,
  SecretWritten,
} from '../core/ports.ts'
import type { Secret, SecretType, SecretValue, SecretVersion } from '../core/secret.ts'
import {
  checkDescription,
  checkExpiry,
  checkLabels,
  checkPlacementCount,
  checkSecretName,
  checkType,
  checkValue,
  hintOf,
  secretWarnings,
} from '../core/secret-rules.ts'
import { Changes, changedMeanwhile, type Moment, principalLabel } from './change.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import type { SecretRow, SecretVersionRow } from './schema.ts'
import type { Sealer } from './seal.ts'
import {
  destruction,
  findSealed,
  findSecret,
  readHosts,
  readPlacements,
  refuseTakenName,
  replaceRow,
  showSecret,
  targetOf,
  writeHosts,
} from './secret-rows.ts'

export interface SecretPolicy {
  /** Refuse secrets without hosts. */
  readonly requireHosts: boolean
  /** Placement texts of a secret that names none. */
  readonly defaultPlacements: readonly string[]
}

export interface SecretsOptions {
  readonly database: Database
  readonly sealer: Sealer
  readonly audit: AuditAppender
  readonly clock: Clock
  readonly policy: SecretPolicy
}

export class Secrets implements SecretStore {
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
    const warnings: string[] = []
    const secret = await this.#changes.make(principal, async (moment) => {
      const { row, version } = this.#newRows(principal, input, moment, warnings)
      await this.#database.query(async (db) => await refuseTakenName(db, row))
      return {
        action: 'secret.create',
        target: targetOf(row),
        fields: givenFields(input),
        apply: async (trx) => {
          await trx.insertInto('secrets').values(row).execute()
          await trx.insertInto('secret_versions').values(version).execute()
          return showSecret(row)
        },
      }
    })
    return { secret, warnings }
  }

  async list(
    principal: Principal,
    page: PageRequest & { readonly name?: string; readonly label?: string },
  ): Promise<Page<Secret>> {
    const { rows, after } = readPage(page)
    const { name, label } = page
    const found = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('secrets')
          .selectAll()
          .where('scope_id', '=', principal.workspaceId)
          .where('deleted_at', 'is', null)
          .where('name', '>', after)
          .$if(name !== undefined, (query) => query.where(sql<boolean>`instr(name, ${name}) > 0`))
          .$if(label !== undefined, (query) => query.where(sql<boolean>`instr(labels, ${labelText(label ?? '')}) > 0`))
          .orderBy('name')
          .limit(rows)
          .execute(),
    )
    return toPage(found, page.limit, showSecret)
  }

  async get(principal: Principal, idOrName: string): Promise<Secret> {
    return showSecret(await this.#find(principal, idOrName))
  }

  async update(principal: Principal, idOrName: string, patch: SecretPatch): Promise<SecretWritten> {
    const fields = givenFields(patch)
    if (fields.length === 0) return { secret: await this.get(principal, idOrName), warnings: [] }
    const warnings: string[] = []
    const secret = await this.#changes.make(principal, async (moment) => {
      const old = await this.#find(principal, idOrName)
      const row = await this.#patchedRow(old, patch, moment, warnings)
      const added = patch.value === undefined ? null : this.#versionRow(row, patch.value, principal, moment)
      return {
        action: added === null ? 'secret.update' : 'secret.rotate',
        target: targetOf(row),
        fields,
        apply: async (trx) => {
          await replaceRow(trx, old, row)
          if (added !== null) await trx.insertInto('secret_versions').values(added).execute()
          return showSecret(row)
        },
      }
    })
    return { secret, warnings }
  }

  async delete(principal: Principal, idOrName: string): Promise<void> {
    await this.#changes.make(principal, async (moment) => destruction(await this.#find(principal, idOrName), moment))
    await this.#database.truncateLog()
  }

  /** Newest first. */
  async versions(principal: Principal, idOrName: string): Promise<readonly SecretVersion[]> {
    const { id } = await this.#find(principal, idOrName)
    const rows = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('secret_versions')
          .select(['version', 'created_at', 'created_by', 'disabled_at'])
          .where('secret_id', '=', id)
          .orderBy('version', 'desc')
          .execute(),
    )
    return rows.map(({ version, created_at, created_by, disabled_at }) => ({
      version,
      createdAt: created_at,
      createdBy: created_by,
      disabledAt: disabled_at,
    }))
  }

  async #find(principal: Principal, idOrName: string): Promise<SecretRow> {
    return await this.#database.query(async (db) => await findSecret(db, principal, idOrName))
  }

  #newRows(principal: Principal, input: NewSecret, { now, time }: Moment, warnings: string[]) {
    const name = checkSecretName(input.name)
    const type = checkType(input.type ?? 'generic')
    const placements = readPlacementTexts(input.placements ?? this.#policy.defaultPlacements)
    checkValue(input.value, placements)
    const hosts = this.#hosts(input.hosts ?? null, warnings)
    warnings.push(...secretWarnings(input.value, hosts))
    const token = mintToken()
    const row: SecretRow = {
      id: uuidv7(now),
      scope_id: principal.workspaceId,
      name,
      name_key: name,
      placeholder: validateDress(input.dress ?? '') + token,
      token,
      type,
      description: checkDescription(input.description ?? null),
      hosts: writeHosts(hosts),
      placements: JSON.stringify(placements.map(formatPlacement)),
      allow_plaintext: input.allowPlaintext === true ? 1 : 0,
      labels: JSON.stringify(checkLabels(input.labels ?? {})),
      hint: hintOf(input.value, type),
      current_version: 1,
      expires_at: checkExpiry(input.expiresAt ?? null, now),
      created_by: principalLabel(principal),
      created_at: time,
      updated_at: time,
      deleted_at: null,
    }
    return { row, version: this.#versionRow(row, input.value, principal, { now, time }) }
  }

  async #patchedRow(old: SecretRow, patch: SecretPatch, { now, time }: Moment, warnings: string[]): Promise<SecretRow> {
    const placements = readPlacementTexts(patch.placements ?? readPlacements(old.placements))
    // New placements must suit the value that is there already.
    if (patch.value !== undefined) checkValue(patch.value, placements)
    else if (patch.placements !== undefined) checkValue(await this.#currentValue(old), placements)
    const hosts = patch.hosts === undefined ? readHosts(old.hosts) : this.#hosts(patch.hosts, warnings)
    if (patch.value !== undefined || patch.hosts !== undefined) {
      warnings.push(...secretWarnings(patch.value ?? null, hosts))
    }
    return {
      ...old,
      description: patch.description === undefined ? old.description : checkDescription(patch.description),
      hosts: writeHosts(hosts),
      placements: JSON.stringify(placements.map(formatPlacement)),
      allow_plaintext: (patch.allowPlaintext ?? old.allow_plaintext === 1) ? 1 : 0,
      labels: patch.labels === undefined ? old.labels : JSON.stringify(checkLabels(patch.labels)),
      hint: patch.value === undefined ? old.hint : hintOf(patch.value, old.type as SecretType),
      current_version: old.current_version + (patch.value === undefined ? 0 : 1),
      expires_at: patch.expiresAt === undefined ? old.expires_at : checkExpiry(patch.expiresAt, now),
      updated_at: time,
    }
  }

  async #currentValue(row: SecretRow): Promise<SecretValue> {
    const version = { workspaceId: row.scope_id, id: row.id, version: row.current_version }
    const sealed = await this.#database.query(async (db) => await findSealed(db, version))
    if (sealed === null) throw changedMeanwhile('secret')
    return this.#sealer.open(sealed, { workspaceId: row.scope_id, secretId: row.id, version: row.current_version })
  }

  #versionRow(row: SecretRow, value: SecretValue, principal: Principal, { time }: Moment): SecretVersionRow {
    const context = { workspaceId: row.scope_id, secretId: row.id, version: row.current_version }
    const { ciphertext, wrappedKey, keyId } = this.#sealer.seal(value, context)
    return {
      secret_id: row.id,
      version: row.current_version,
      ciphertext,
      wrapped_key: wrappedKey,
      key_id: keyId,
      created_by: principalLabel(principal),
      created_at: time,
      disabled_at: null,
    }
  }

  #hosts(raw: readonly string[] | null, warnings: string[]): readonly string[] | null {
    if (raw === null) {
      if (!this.#policy.requireHosts) return null
      throw new CoatcheckError('invalid_input', 'Secrets need hosts here.', 'Name the hosts that may get this secret.')
    }
    const normalized = normalizeHosts(raw)
    warnings.push(...normalized.warnings)
    return normalized.hosts
  }
}

function givenFields(input: object): readonly string[] {
  return Object.entries(input).flatMap(([field, content]) => (content === undefined ? [] : [field]))
}

function readPlacementTexts(texts: readonly string[]): readonly Placement[] {
  checkPlacementCount(texts.length)
  return texts.map(parsePlacement)
}

/** `k` or `k=v` as it stands in the JSON of the labels column: unambiguous, because quotes inside are escaped there. */
function labelText(label: string): string {
  const equals = label.indexOf('=')
  if (equals < 0) return `${JSON.stringify(label)}:`
  return `${JSON.stringify(label.slice(0, equals))}:${JSON.stringify(label.slice(equals + 1))}`
}
