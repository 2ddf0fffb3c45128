/**
 * API tokens of a workspace and the principals behind them: kept as digests, shown once, checked on every call.
 *
 * Nothing of them is cached, so a revoked or expired token is refused by the next call in every process.
 */
import { CoatcheckError } from '../core/errors.ts'
import { isUuid, uuidv7 } from '../core/id.ts'
import type { ApiToken, AuditAppender, Clock, NewToken, Page, PageRequest, TokenStore } from '../core/ports.ts'
import type { Audience, Principal } from '../core/principal.ts'
import { requireAbility } from './access.ts'
import { ADMIN, openAdminToken } from './admin-token.ts'
import { alreadyThere, type Change, Changes, changedMeanwhile, type Moment, notFound } from './change.ts'
import { type CredentialPrefix, digestOf, isFor, mintCredential, sameDigest } from './credential.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import type { TokenRow } from './schema.ts'
import { newTokenRows, principalOf, showToken, tokenTarget } from './token-rows.ts'

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
    const accountId = this.#database.defaultAccountId
    const scope = { workspaceId, scopeId: workspaceId, accountId, homeId: accountId, sandboxId: null }
    return Object.freeze({ kind: 'system', id: 'system', name: 'system', role: 'admin', ...scope })
  }

  async authenticate(token: string, audience: Audience = 'control'): Promise<Principal | undefined> {
    if (!isFor(audience, token)) return undefined
    const digest = digestOf(token)
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('tokens')
          .innerJoin('principals', 'principals.id', 'tokens.principal_id')
          .innerJoin('scopes', 'scopes.id', 'tokens.scope_id')
          .selectAll('tokens')
          .select(['principals.kind', 'principals.name as owner_name', 'principals.account_id'])
          .select('scopes.kind as home_kind')
          .where('token_hash', '=', digest)
          .where('audience', '=', audience)
          .where('revoked_at', 'is', null)
          .where('principals.deleted_at', 'is', null)
          .where('scopes.deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    const now = this.#clock()
    if (row === undefined || !sameDigest(row.token_hash, digest)) return undefined
    if (row.expires_at !== null && Date.parse(row.expires_at) <= this.#database.latest()) return undefined
    await this.#noteUse(row, now)
    return principalOf(row, { kind: row.kind, name: row.owner_name, account_id: row.account_id }, row.home_kind)
  }

  async create(principal: Principal, input: NewToken): Promise<{ readonly token: ApiToken; readonly secret: string }> {
    requireAbility(principal, 'tokens.manage')
    let secret = ''
    const token = await this.#changes.make(principal, async (moment) => {
      const rows = await this.#database.query(async (db) => await newTokenRows(db, principal, input, moment))
      const { owner } = rows
      secret = mintCredential(rows.row.prefix as CredentialPrefix)
      const row = { ...rows.row, token_hash: digestOf(secret) }
      if ((await this.#find(row.workspace_id, 'name', row.name)) !== undefined) throw alreadyThere(tokenTarget(row))
      return {
        action: 'token.create',
        target: tokenTarget(row),
        fields: ['name', 'expiresAt', 'role', 'scopeId'],
        apply: async (trx) => {
          if (owner !== null) await trx.insertInto('principals').values(owner).execute()
          await trx.insertInto('tokens').values(row).execute()
          return showToken(row)
        },
      }
    })
    return { token, secret }
  }

  /** Those of the workspace the principal acts in, and of its vaults. */
  async list(principal: Principal, page: PageRequest): Promise<Page<ApiToken>> {
    requireAbility(principal, 'tokens.manage')
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
    return toPage(found, page.limit, showToken, (row) => row.name)
  }

  async revoke(principal: Principal, idOrName: string): Promise<void> {
    requireAbility(principal, 'tokens.manage')
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
    const row = old ?? adminRow(system, await this.#adminPrincipal(), moment)
    return {
      action: old === undefined ? 'token.create' : 'token.replace',
      target: tokenTarget(row),
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

  async #noteUse(row: TokenRow, now: number): Promise<void> {
    if (row.last_used_at !== null && now - Date.parse(row.last_used_at) < LAST_USE_MS) return
    const last_used_at = new Date(now).toISOString()
    const write = this.#database.transaction(
      async (trx) => await trx.updateTable('tokens').set({ last_used_at }).where('id', '=', row.id).execute(),
    )
    // The call must not fail because another writer was in the way of a note.
    await write.catch(() => undefined)
  }
}

/** Of the account, so that it reaches every workspace. */
function adminRow(system: Principal, principal_id: string, { now, time }: Moment): TokenRow {
  return {
    id: uuidv7(now),
    workspace_id: system.workspaceId,
    principal_id,
    name: ADMIN,
    token_hash: null,
    role: 'admin',
    audience: 'control',
    scope_id: system.accountId,
    sandbox_id: null,
    prefix: 'cct_',
    created_by: system.name,
    created_at: time,
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
  }
}

function revocation(row: TokenRow, time: string): Change<void> {
  return {
    action: 'token.revoke',
    target: tokenTarget(row),
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
