/**
 * What the proxy may see: the secrets mounted in one sandbox, by their token, and their values.
 *
 * Answers come from bounded caches without a promise when nothing changed since (`Database.revision`: at once for changes made
 * by this process, within 200 ms for others). What is not found is never remembered. Opened values are let go after 60 s.
 * A mount by name means the secret that has the name now; a placeholder the sandbox got for an earlier one of that name still stands for it.
 */
import type { Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import { CoatcheckError } from '../core/errors.ts'
import { compileHosts, type HostList } from '../core/host-pattern.ts'
import { type Placement, parsePlacement } from '../core/placement.ts'
import type { Clock, SecretReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { MountedSecret, SecretValue } from '../core/secret.ts'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'
import { findSealed, readHosts, readPlacements } from './secret-rows.ts'
import { countAccess } from './version-access.ts'

const MAX_FOUND = 10_000
const MAX_OPENED = 1_000
const MAX_SANDBOXES = 1_000
const OPENED_MS = 60_000
/** An expiry that has passed whatever the time is. */
const LAPSED = 0

export interface MountedSecretsOptions {
  readonly database: Database
  readonly sealer: Sealer
  readonly clock: Clock
}

export class MountedSecrets implements SecretReader {
  readonly #database: Database
  readonly #sealer: Sealer
  readonly #found = new LRUCache<string, MountedSecret>({ max: MAX_FOUND })
  readonly #opened: LRUCache<string, SecretValue>
  readonly #hosts = new LRUCache<string, readonly HostList[]>({ max: MAX_SANDBOXES })
  readonly #placeable = new LRUCache<string, readonly MountedSecret[]>({ max: MAX_SANDBOXES })
  #revision = 0

  constructor(options: MountedSecretsOptions) {
    this.#database = options.database
    this.#sealer = options.sealer
    const perf = { now: options.clock }
    // Dropped, not zeroed: an exchange may still be writing the bytes.
    this.#opened = new LRUCache({ max: MAX_OPENED, ttl: OPENED_MS, ttlResolution: 0, ttlAutopurge: true, perf })
  }

  find(sandbox: SandboxIdentity, token: string): MountedSecret | undefined | Promise<MountedSecret | undefined> {
    this.#refresh()
    const key = `${sandbox.workspaceId}|${sandbox.id}|${token}`
    const found = this.#found.get(key)
    if (found === undefined) return this.#load(key, sandbox, token)
    return this.#lapses(found) ? this.#lapsed(key, found) : found
  }

  open(secret: MountedSecret): SecretValue | Promise<SecretValue> {
    this.#refresh()
    if (secret.countUses === true) return this.#openCounted(secret)
    const key = `${secret.workspaceId}|${secret.id}|${secret.version}`
    return this.#opened.get(key) ?? this.#unseal(key, secret)
  }

  placeable(
    sandbox: SandboxIdentity,
    kind: Placement['kind'],
  ): readonly MountedSecret[] | Promise<readonly MountedSecret[]> {
    this.#refresh()
    const key = `${sandbox.workspaceId}|${sandbox.id}|${kind}`
    return this.#placeable.get(key) ?? this.#loadPlaceable(key, sandbox, kind)
  }

  anyMountedAllows(sandbox: SandboxIdentity, host: string): boolean | Promise<boolean> {
    this.#refresh()
    const key = `${sandbox.workspaceId}|${sandbox.id}`
    const hosts = this.#hosts.get(key)
    if (hosts === undefined) return this.#loadHosts(key, sandbox).then((loaded) => someAllows(loaded, host))
    return someAllows(hosts, host)
  }

  #refresh(): void {
    const revision = this.#database.revision()
    if (revision === this.#revision) return
    this.#revision = revision
    this.#found.clear()
    this.#opened.clear()
    this.#hosts.clear()
    this.#placeable.clear()
  }

  /** Keeps what was read, unless something changed while it was being read. */
  #keep<V extends object>(cache: LRUCache<string, V>, key: string, value: V, revision: number): void {
    if (revision === this.#database.revision() && revision === this.#revision) cache.set(key, value)
  }

  /** Expired by the latest time ever seen, though the clock may say otherwise now. */
  #lapses({ expiresAt }: MountedSecret): boolean {
    return expiresAt !== null && expiresAt !== LAPSED && expiresAt <= this.#database.latest()
  }

  #lapsed(key: string, found: MountedSecret): MountedSecret {
    const lapsed = Object.freeze({ ...found, expiresAt: LAPSED })
    this.#found.set(key, lapsed)
    return lapsed
  }

  async #load(key: string, sandbox: SandboxIdentity, token: string): Promise<MountedSecret | undefined> {
    const revision = this.#revision
    const row = await this.#database.query(async (db) => await findMounted(db, sandbox, token))
    if (row === undefined) return undefined
    const expiresAt = row.expires_at === null ? null : Date.parse(row.expires_at)
    const used = row.max_access_count !== null && row.access_count >= row.max_access_count
    const found: MountedSecret = Object.freeze({
      id: row.id,
      workspaceId: row.scope_id,
      name: row.name,
      placeholder: row.held_placeholder,
      token,
      version: row.current_version,
      hosts: compileHosts(readHosts(row.hosts)),
      placements: readPlacements(row.placements).map(parsePlacement),
      allowPlaintext: row.allow_plaintext === 1,
      expiresAt: expiresAt !== null && expiresAt <= this.#database.latest() ? LAPSED : expiresAt,
      state: row.disabled_at !== null ? 'disabled' : used ? 'exhausted' : 'current',
      countUses: row.count_uses === 1,
      maxOccurrences: row.max_occurrences,
    })
    this.#keep(this.#found, key, found, revision)
    return found
  }

  /** Never from memory: the count is taken, for good, before the value is given. */
  async #openCounted(secret: MountedSecret): Promise<SecretValue> {
    const { workspaceId, id, version } = secret
    const counted = await countAccess(this.#database, { scopeId: workspaceId, id, version })
    if (counted !== null) return this.#sealer.open(counted, { workspaceId, secretId: id, version })
    throw new CoatcheckError(
      'exhausted',
      `Secret "${secret.name}" is used up.`,
      `Store a new value: coatcheck secret rotate ${secret.name}`,
    )
  }

  async #unseal(key: string, secret: MountedSecret): Promise<SecretValue> {
    const revision = this.#revision
    const { workspaceId, id, version } = secret
    const sealed = await this.#database.query(async (db) => await findSealed(db, { workspaceId, id, version }))
    if (sealed === null) {
      throw new CoatcheckError(
        'store_unavailable',
        `Version ${version} of secret ${secret.name} is not there any more.`,
        'Send the request again: the secret was deleted or changed meanwhile.',
      )
    }
    const value = this.#sealer.open(sealed, { workspaceId, secretId: id, version })
    this.#keep(this.#opened, key, value, revision)
    return value
  }

  async #loadPlaceable(
    key: string,
    sandbox: SandboxIdentity,
    kind: Placement['kind'],
  ): Promise<readonly MountedSecret[]> {
    const revision = this.#revision
    const rows = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('mounted')
          .innerJoin('secrets', 'secrets.id', 'mounted.secret_id')
          .select(['secrets.token', 'secrets.placements'])
          .where('mounted.sandbox_id', '=', sandbox.id)
          .where('mounted.workspace_id', '=', sandbox.workspaceId)
          .where('secrets.deleted_at', 'is', null)
          .execute(),
    )
    const tokens = rows.filter((row) =>
      readPlacements(row.placements)
        .map(parsePlacement)
        .some((each) => each.kind === kind),
    )
    const found = await Promise.all(tokens.map(async (row) => await this.find(sandbox, row.token)))
    const secrets = found.filter((secret) => secret !== undefined)
    this.#keep(this.#placeable, key, secrets, revision)
    return secrets
  }

  async #loadHosts(key: string, sandbox: SandboxIdentity): Promise<readonly HostList[]> {
    const revision = this.#revision
    const rows = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('mounted')
          .innerJoin('secrets', 'secrets.id', 'mounted.secret_id')
          .select('secrets.hosts')
          .where('mounted.sandbox_id', '=', sandbox.id)
          .where('mounted.workspace_id', '=', sandbox.workspaceId)
          .where('secrets.deleted_at', 'is', null)
          .execute(),
    )
    const hosts = rows.map((row) => compileHosts(readHosts(row.hosts)))
    this.#keep(this.#hosts, key, hosts, revision)
    return hosts
  }
}

function someAllows(hosts: readonly HostList[], host: string): boolean {
  return hosts.some((list) => list.allows(host))
}

/** What the mounted secret of that token means now. The token may be of a deleted secret whose name another one has. */
async function findMounted(db: Kysely<Schema>, sandbox: SandboxIdentity, token: string) {
  return await db
    .selectFrom('secrets as held')
    .innerJoin('mounted', (join) =>
      join
        .on('mounted.sandbox_id', '=', sandbox.id)
        .on('mounted.workspace_id', '=', sandbox.workspaceId)
        .on((eb) =>
          eb.or([
            eb('mounted.secret_id', '=', eb.ref('held.id')),
            eb.and([
              eb('mounted.name_key', '=', eb.ref('held.name_key')),
              eb.or([
                eb('held.scope_id', '=', eb.ref('mounted.workspace_id')),
                eb('held.scope_id', '=', eb.ref('mounted.account_id')),
              ]),
            ]),
          ]),
        ),
    )
    .innerJoin('secrets', 'secrets.id', 'mounted.secret_id')
    .innerJoin('secret_versions', (join) =>
      join
        .onRef('secret_versions.secret_id', '=', 'secrets.id')
        .onRef('secret_versions.version', '=', 'secrets.current_version'),
    )
    .innerJoin('scopes', 'scopes.id', 'secrets.scope_id')
    .selectAll('secrets')
    .select(['secret_versions.disabled_at', 'secret_versions.access_count', 'held.placeholder as held_placeholder'])
    .where('held.token', '=', token)
    .where('secrets.deleted_at', 'is', null)
    // The workspace's own, its account's, or one in a vault of it; nothing of any other tenant.
    .where((eb) =>
      eb.or([
        eb('secrets.scope_id', '=', sandbox.workspaceId),
        eb('secrets.scope_id', '=', eb.ref('mounted.account_id')),
        eb('scopes.parent_id', '=', sandbox.workspaceId),
      ]),
    )
    // A mount of that very secret comes before one that only has its name.
    .orderBy((eb) => eb('mounted.secret_id', '=', eb.ref('held.id')), 'desc')
    .limit(1)
    .executeTakeFirst()
}
