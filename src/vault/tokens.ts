/**
 * API tokens of a workspace and the principals behind them: kept as digests, shown once, checked on every call.
 *
 * Nothing of them is cached, so a revoked or expired token is refused by the next call in every process.
 */
import { CoatcheckError } from '../core/errors.ts'
import { isUuid, uuidv7 } from '../core/id.ts'
import type { ApiToken, AuditAppender, Clock, Page, PageRequest, Principal, TokenStore } from '../core/ports.ts'
import { checkExpiry, checkTokenName } from '../core/secret-rules.ts'
import { ADMIN, openAdminToken } from './admin-token.ts'
import {
  alreadyThere,
  type Change,
  Changes,
  changedMeanwhile,
  type Moment,
  notFound,
  principalLabel,
} from './change.ts'
import { digestOf, hasForm, mintCredential, sameDigest } from './credential.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import type { PrincipalRow, TokenRow } from './schema.ts'

/** How often the last use of one token is written. */
const LAST_USE_MS = 60_000

export interface TokensOptions {
  readonly database: Database
  readonly audit: AuditAppender
  readonly clock: Clock
}

export class Tokens implements TokenStore {
  readonly #database: Database
  readonly #clock: Clock
  readonly #changes: Changes

  constructor(options: TokensOptions) {
    this.#database = options.database
    this.#clock = options.clock
    this.#changes = new Changes(options)
  }

  /** Who acts when coatcheck itself does, or the command line on the data directory. Default: the workspace `default`. */
  systemPrincipal(workspaceId: string = this.#database.defaultWorkspaceId): Principal {
    return { kind: 'system', id: 'system', name: 'system', workspaceId }
  }

  async authenticate(token: string): Promise<Principal | undefined> {
    if (!hasForm(token, 'cct_')) return undefined
    const digest = digestOf(token)
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('tokens')
          .innerJoin('principals', 'principals.id', 'tokens.principal_id')
          .selectAll('tokens')
          .select(['principals.kind', 'principals.name as principal_name'])
          .where('token_hash', '=', digest)
          .where('revoked_at', 'is', null)
          .where('principals.deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    const now = this.#clock()
    if (row === undefined || !sameDigest(row.token_hash, digest)) return undefined
    if (row.expires_at !== null && Date.parse(row.expires_at) <= now) return undefined
    await this.#noteUse(row, now)
    return { kind: row.kind, id: row.principal_id, name: row.principal_name, workspaceId: row.workspace_id }
  }

  async create(
    principal: Principal,
    input: { readonly name: string; readonly expiresAt?: string | null },
  ): Promise<{ readonly token: ApiToken; readonly secret: string }> {
    const secret = mintCredential('cct_')
    const token = await this.#changes.make(principal, async (moment) => {
      const name = checkTokenName(input.name)
      const expires_at = checkExpiry(input.expiresAt ?? null, moment.now)
      const row = { ...newRow(principal, name, digestOf(secret), moment), expires_at }
      const owner = await this.#newOwner(row)
      return {
        action: 'token.create',
        target: targetOf(row),
        fields: ['name', 'expiresAt'],
        apply: async (trx) => {
          await trx.insertInto('principals').values(owner).execute()
          await trx.insertInto('tokens').values(row).execute()
          return showToken(row)
        },
      }
    })
    return { token, secret }
  }

  async list(principal: Principal, page: PageRequest): Promise<Page<ApiToken>> {
    const { rows, after } = readPage(page)
    const found = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('tokens')
          .selectAll()
          .where('workspace_id', '=', principal.workspaceId)
          .where('revoked_at', 'is', null)
          .where('name', '>', after)
          .orderBy('name')
          .limit(rows)
          .execute(),
    )
    return toPage(found, page.limit, showToken)
  }

  async revoke(principal: Principal, idOrName: string): Promise<void> {
    await this.#changes.make(principal, async ({ time }) => {
      const row = await this.#find(principal.workspaceId, isUuid(idOrName) ? 'id' : 'name', idOrName)
      if (row === undefined) throw notFound('token')
      if (row.name === ADMIN) {
        throw new CoatcheckError(
          'forbidden',
          'The admin token is not revoked here.',
          'Delete the file admin-token in the data directory and restart: that makes a new one and ends the old one.',
        )
      }
      return revocation(row, time)
    })
  }

  /**
   * Makes the token in `<dir>/admin-token` (0600, created when absent) the one of the principal `admin` in the default
   * workspace; the file is the truth, so deleting it renews the token. Throws `config_invalid` when it cannot be trusted.
   */
  async ensureAdminToken(dir: string): Promise<{ readonly path: string; readonly created: boolean }> {
    const { path, created, token } = await openAdminToken(dir)
    const digest = digestOf(token)
    const system = this.systemPrincipal()
    const row = await this.#find(system.workspaceId, 'name', ADMIN)
    if (row !== undefined && sameDigest(row.token_hash, digest)) return { path, created }
    await this.#changes.make(system, async (moment) => await this.#adminChange(system, digest, moment))
    return { path, created }
  }

  async #adminChange(system: Principal, digest: Uint8Array, moment: Moment): Promise<Change<void>> {
    const old = await this.#find(system.workspaceId, 'name', ADMIN)
    const row = old ?? { ...newRow(system, ADMIN, digest, moment), principal_id: await this.#adminPrincipal() }
    return {
      action: old === undefined ? 'token.create' : 'token.replace',
      target: targetOf(row),
      fields: ['token'],
      apply: async (trx) => {
        // Another process that starts at the same time writes the digest of the same file.
        await trx
          .deleteFrom('tokens')
          .where('workspace_id', '=', row.workspace_id)
          .where('name', '=', ADMIN)
          .where('revoked_at', 'is', null)
          .execute()
        await trx
          .insertInto('tokens')
          .values({ ...row, token_hash: digest })
          .execute()
      },
    }
  }

  async #adminPrincipal(): Promise<string> {
    const { id } = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('principals')
          .innerJoin('scopes', 'scopes.parent_id', 'principals.account_id')
          .select('principals.id')
          .where('scopes.id', '=', this.#database.defaultWorkspaceId)
          .where('principals.kind', '=', 'user')
          .where('principals.name', '=', ADMIN)
          .where('principals.deleted_at', 'is', null)
          .executeTakeFirstOrThrow(),
    )
    return id
  }

  async #find(workspaceId: string, by: 'id' | 'name', text: string): Promise<TokenRow | undefined> {
    return await this.#database.query(
      async (db) =>
        await db
          .selectFrom('tokens')
          .selectAll()
          .where('workspace_id', '=', workspaceId)
          .where('revoked_at', 'is', null)
          .where(by, '=', text)
          .executeTakeFirst(),
    )
  }

  /** The principal a new token stands for, once it is clear that its name is free. */
  async #newOwner(row: TokenRow): Promise<PrincipalRow> {
    const account = await this.#database.query(async (db) => {
      const scope = db.selectFrom('scopes').select('parent_id').where('id', '=', row.workspace_id)
      return await scope.where('kind', '=', 'workspace').where('deleted_at', 'is', null).executeTakeFirst()
    })
    if (account === undefined || account.parent_id === null) throw notFound('workspace')
    const taken = await this.#find(row.workspace_id, 'name', row.name)
    if (taken !== undefined) throw alreadyThere(targetOf(row))
    return {
      id: row.principal_id,
      kind: 'api_key',
      name: row.name,
      email: null,
      account_id: account.parent_id,
      created_at: row.created_at,
      deleted_at: null,
    }
  }

  async #noteUse(row: TokenRow, now: number): Promise<void> {
    if (row.last_used_at !== null && now - Date.parse(row.last_used_at) < LAST_USE_MS) return
    const last_used_at = new Date(now).toISOString()
    const write = this.#database.query(
      async (db) => await db.updateTable('tokens').set({ last_used_at }).where('id', '=', row.id).execute(),
    )
    // The call must not fail because another writer was in the way of a note.
    await write.catch(() => undefined)
  }
}

function newRow(principal: Principal, name: string, token_hash: Uint8Array, { now, time }: Moment): TokenRow {
  return {
    id: uuidv7(now),
    workspace_id: principal.workspaceId,
    principal_id: uuidv7(now),
    name,
    token_hash,
    created_by: principalLabel(principal),
    created_at: time,
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
  }
}

function revocation(row: TokenRow, time: string): Change<void> {
  return {
    action: 'token.revoke',
    target: targetOf(row),
    fields: [],
    apply: async (trx) => {
      const { numUpdatedRows } = await trx
        .updateTable('tokens')
        .set({ token_hash: null, revoked_at: time })
        .where('id', '=', row.id)
        .where('workspace_id', '=', row.workspace_id)
        .where('revoked_at', 'is', null)
        .executeTakeFirst()
      if (numUpdatedRows !== 1n) throw changedMeanwhile('token')
    },
  }
}

function targetOf(row: TokenRow) {
  return { kind: 'token', id: row.id, name: row.name }
}

function showToken(row: TokenRow): ApiToken {
  return {
    id: row.id,
    name: row.name,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
  }
}
