/**
 * The sandboxes of a workspace, and who a sandbox is, by its token.
 *
 * Tokens are kept as digests and shown once. A revoked token or a deleted sandbox counts at once in this process and within
 * 200 ms in others; what was not recognised is never remembered.
 */
import { LRUCache } from 'lru-cache'
import { uuidv7 } from '../core/id.ts'
import type { AuditAppender, Clock, Page, PageRequest, Principal, SandboxReader, SandboxStore } from '../core/ports.ts'
import type { Sandbox, SandboxIdentity } from '../core/sandbox.ts'
import { checkSandboxName } from '../core/secret-rules.ts'
import { requireAbility } from './access.ts'
import { Changes, type Moment, principalLabel } from './change.ts'
import { digestOf, hasForm, mintCredential, SANDBOX_PREFIX, sameDigest } from './credential.ts'
import type { Database } from './database.ts'
import { resolveMounts } from './mount-refs.ts'
import { readPage, toPage } from './page.ts'
import {
  findMounts,
  findSandbox,
  refuseTakenSandbox,
  replacement,
  sandboxTarget,
  showSandbox,
  writeMounts,
} from './sandbox-rows.ts'
import type { SandboxRow } from './schema.ts'

const MAX_KNOWN = 10_000

export interface SandboxesOptions {
  readonly database: Database
  readonly audit: AuditAppender
  readonly clock: Clock
}

/** An identity and what it was established by, so that a changed token ends it. */
interface Established extends SandboxIdentity {
  /** Null when the sandbox was named by a listener, not by its token. */
  readonly tokenVersion: number | null
}

interface Known {
  readonly identity: Established
  readonly digest: Uint8Array
}

export class Sandboxes implements SandboxStore, SandboxReader {
  readonly #database: Database
  readonly #changes: Changes
  /** By digest of the token. */
  readonly #known = new LRUCache<string, Known>({ max: MAX_KNOWN })
  /** Token version of live sandboxes, by id. */
  readonly #live = new LRUCache<string, number>({ max: MAX_KNOWN })
  #revision = 0

  constructor(options: SandboxesOptions) {
    this.#database = options.database
    this.#changes = new Changes(options)
  }

  async authenticate(nameOrId: string, token: string): Promise<SandboxIdentity | undefined> {
    if (!hasForm(token, SANDBOX_PREFIX)) return undefined
    const revision = this.#refresh()
    const digest = digestOf(token)
    const key = digest.toString('base64url')
    const known = this.#known.get(key) ?? (await this.#byDigest(digest))
    if (known === undefined || !sameDigest(known.digest, digest)) return undefined
    if (this.#refresh() === revision) this.#known.set(key, known)
    const { identity } = known
    return identity.name === nameOrId || identity.id === nameOrId ? identity : undefined
  }

  /** Undefined also when two workspaces have a sandbox of that name: a listener must not guess. An id is never ambiguous. */
  async byName(name: string): Promise<SandboxIdentity | undefined> {
    const rows = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('sandboxes')
          .select(['id', 'name', 'workspace_id'])
          .where((eb) => eb.or([eb('name', '=', name), eb('id', '=', name)]))
          .where('deleted_at', 'is', null)
          .limit(2)
          .execute(),
    )
    const [row] = rows
    return row === undefined || rows.length > 1 ? undefined : establish(row, null)
  }

  isCurrent(sandbox: SandboxIdentity): boolean | Promise<boolean> {
    // An identity that was not established here is never current.
    if (!('tokenVersion' in sandbox)) return false
    const { tokenVersion } = sandbox as Established
    const revision = this.#refresh()
    const live = this.#live.get(sandbox.id)
    if (live !== undefined) return tokenVersion === null || tokenVersion === live
    return this.#loadLive(sandbox, revision).then(
      (loaded) => loaded !== undefined && (tokenVersion === null || tokenVersion === loaded),
    )
  }

  async create(
    principal: Principal,
    input: { readonly name: string; readonly mounts: Readonly<Record<string, string>> },
  ): Promise<{ readonly sandbox: Sandbox; readonly token: string }> {
    requireAbility(principal, 'sandboxes.manage')
    const token = mintCredential(SANDBOX_PREFIX)
    const sandbox = await this.#changes.make(principal, async (moment) => {
      const row = newRow(principal, checkSandboxName(input.name), digestOf(token), moment)
      const mounts = await this.#database.query(async (db) => {
        await refuseTakenSandbox(db, row)
        return await resolveMounts(db, principal, { id: row.id, now: moment.now }, input.mounts)
      })
      return {
        action: 'sandbox.create',
        target: sandboxTarget(row),
        fields: ['name', 'mounts'],
        apply: async (trx) => {
          await trx.insertInto('sandboxes').values(row).execute()
          await writeMounts(trx, row.id, mounts)
          return showSandbox(row, mounts)
        },
      }
    })
    return { sandbox, token }
  }

  async list(principal: Principal, page: PageRequest): Promise<Page<Sandbox>> {
    requireAbility(principal, 'sandboxes.view')
    const { rows, after } = readPage(page)
    return await this.#database.query(async (db) => {
      const found = await db
        .selectFrom('sandboxes')
        .selectAll()
        .where('workspace_id', '=', principal.workspaceId)
        .where('deleted_at', 'is', null)
        .where('name', '>', after)
        .orderBy('name')
        .limit(rows)
        .execute()
      const mounts = await findMounts(
        db,
        found.map((row) => row.id),
      )
      return toPage(
        found,
        page.limit,
        (row) => showSandbox(row, mounts),
        (row) => row.name,
      )
    })
  }

  async get(principal: Principal, idOrName: string): Promise<Sandbox> {
    requireAbility(principal, 'sandboxes.view')
    return await this.#database.query(async (db) => {
      const row = await findSandbox(db, principal, idOrName)
      return showSandbox(row, await findMounts(db, [row.id]))
    })
  }

  async setMounts(principal: Principal, idOrName: string, mounts: Readonly<Record<string, string>>): Promise<Sandbox> {
    requireAbility(principal, 'sandboxes.manage')
    return await this.#changes.make(principal, async ({ now, time }) => {
      const old = await this.#find(principal, idOrName)
      const place = { id: old.id, now }
      const resolved = await this.#database.query(async (db) => await resolveMounts(db, principal, place, mounts))
      const row = { ...old, updated_at: time }
      return replacement('sandbox.mount', ['mounts'], old, row, async (trx) => {
        await writeMounts(trx, row.id, resolved)
        return showSandbox(row, resolved)
      })
    })
  }

  async rotateToken(
    principal: Principal,
    idOrName: string,
  ): Promise<{ readonly sandbox: Sandbox; readonly token: string }> {
    requireAbility(principal, 'sandboxes.manage')
    const token = mintCredential(SANDBOX_PREFIX)
    const sandbox = await this.#changes.make(principal, async ({ time }) => {
      const old = await this.#find(principal, idOrName)
      const token_version = old.token_version + 1
      const row = { ...old, token_hash: digestOf(token), token_version, updated_at: time }
      return replacement('sandbox.rotate_token', ['token'], old, row, async (trx) =>
        showSandbox(row, await findMounts(trx, [row.id])),
      )
    })
    return { sandbox, token }
  }

  async delete(principal: Principal, idOrName: string): Promise<void> {
    requireAbility(principal, 'sandboxes.manage')
    await this.#changes.make(principal, async ({ time }) => {
      const old = await this.#find(principal, idOrName)
      const row = { ...old, token_hash: null, updated_at: time, deleted_at: time }
      return replacement('sandbox.delete', [], old, row, async (trx) => await writeMounts(trx, row.id, []))
    })
  }

  async #find(principal: Principal, idOrName: string): Promise<SandboxRow> {
    return await this.#database.query(async (db) => await findSandbox(db, principal, idOrName))
  }

  /** The revision that the caches now stand for. */
  #refresh(): number {
    const revision = this.#database.revision()
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#known.clear()
      this.#live.clear()
    }
    return revision
  }

  async #byDigest(digest: Uint8Array): Promise<Known | undefined> {
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('sandboxes')
          .selectAll()
          .where('token_hash', '=', digest)
          .where('deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    if (row === undefined || row.token_hash === null) return undefined
    return { identity: establish(row, row.token_version), digest: row.token_hash }
  }

  async #loadLive(sandbox: SandboxIdentity, revision: number): Promise<number | undefined> {
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('sandboxes')
          .select('token_version')
          .where('id', '=', sandbox.id)
          .where('workspace_id', '=', sandbox.workspaceId)
          .where('deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    if (row !== undefined && this.#refresh() === revision) this.#live.set(sandbox.id, row.token_version)
    return row?.token_version
  }
}

function establish(row: Pick<SandboxRow, 'id' | 'name' | 'workspace_id'>, tokenVersion: number | null): Established {
  return Object.freeze({ id: row.id, name: row.name, workspaceId: row.workspace_id, tokenVersion })
}

function newRow(principal: Principal, name: string, token_hash: Uint8Array, { now, time }: Moment): SandboxRow {
  return {
    id: uuidv7(now),
    workspace_id: principal.workspaceId,
    name,
    token_hash,
    token_version: 1,
    created_by: principalLabel(principal),
    created_at: time,
    updated_at: time,
    deleted_at: null,
  }
}
