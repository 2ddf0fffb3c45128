/**
 * What the proxy may see: the secrets mounted in one sandbox, by their token, and their values.
 *
 * Answers come from bounded caches without a promise when nothing changed since (`Database.revision`: at once for changes made
 * by this process, within 200 ms for others). What is not found is never remembered. Opened values are let go after 60 s.
 */
import { LRUCache } from 'lru-cache'
import { CoatcheckError } from '../core/errors.ts'
import { compileHosts, type HostList } from '../core/host-pattern.ts'
import { parsePlacement } from '../core/placement.ts'
import type { Clock, SecretReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { MountedSecret, SecretValue } from '../core/secret.ts'
import type { Database } from './database.ts'
import type { Sealer } from './seal.ts'
import { findSealed, readHosts, readPlacements } from './secret-rows.ts'

const MAX_FOUND = 10_000
const MAX_OPENED = 1_000
const MAX_SANDBOXES = 1_000
const OPENED_MS = 60_000

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
    return this.#found.get(key) ?? this.#load(key, sandbox, token)
  }

  open(secret: MountedSecret): SecretValue | Promise<SecretValue> {
    this.#refresh()
    const key = `${secret.workspaceId}|${secret.id}|${secret.version}`
    return this.#opened.get(key) ?? this.#unseal(key, secret)
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
  }

  /** Keeps what was read, unless something changed while it was being read. */
  #keep<V extends object>(cache: LRUCache<string, V>, key: string, value: V, revision: number): void {
    if (revision === this.#database.revision() && revision === this.#revision) cache.set(key, value)
  }

  async #load(key: string, sandbox: SandboxIdentity, token: string): Promise<MountedSecret | undefined> {
    const revision = this.#revision
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('mounts')
          .innerJoin('sandboxes', 'sandboxes.id', 'mounts.sandbox_id')
          .innerJoin('secrets', 'secrets.id', 'mounts.secret_id')
          .innerJoin('secret_versions', (join) =>
            join
              .onRef('secret_versions.secret_id', '=', 'secrets.id')
              .onRef('secret_versions.version', '=', 'secrets.current_version'),
          )
          .selectAll('secrets')
          .select('secret_versions.disabled_at')
          .where('sandboxes.id', '=', sandbox.id)
          .where('sandboxes.workspace_id', '=', sandbox.workspaceId)
          .where('sandboxes.deleted_at', 'is', null)
          .where('secrets.scope_id', '=', sandbox.workspaceId)
          .where('secrets.token', '=', token)
          .where('secrets.deleted_at', 'is', null)
          .limit(1)
          .executeTakeFirst(),
    )
    if (row === undefined) return undefined
    const found: MountedSecret = Object.freeze({
      id: row.id,
      workspaceId: row.scope_id,
      name: row.name,
      placeholder: row.placeholder,
      token: row.token,
      version: row.current_version,
      hosts: compileHosts(readHosts(row.hosts)),
      placements: readPlacements(row.placements).map(parsePlacement),
      allowPlaintext: row.allow_plaintext === 1,
      expiresAt: row.expires_at === null ? null : Date.parse(row.expires_at),
      state: row.disabled_at === null ? 'current' : 'disabled',
    })
    this.#keep(this.#found, key, found, revision)
    return found
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

  async #loadHosts(key: string, sandbox: SandboxIdentity): Promise<readonly HostList[]> {
    const revision = this.#revision
    const rows = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('mounts')
          .innerJoin('sandboxes', 'sandboxes.id', 'mounts.sandbox_id')
          .innerJoin('secrets', 'secrets.id', 'mounts.secret_id')
          .select('secrets.hosts')
          .where('sandboxes.id', '=', sandbox.id)
          .where('sandboxes.workspace_id', '=', sandbox.workspaceId)
          .where('sandboxes.deleted_at', 'is', null)
          .where('secrets.scope_id', '=', sandbox.workspaceId)
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
