/** Users and agents of an account. A deleted one's tokens stop working with the next call, and its name stays in the log. */
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { Page, PageRequest } from '../core/page.ts'
import {
  type NewPrincipal,
  type Principal,
  type PrincipalKind,
  type PrincipalStore,
  type Profile,
  ROLES,
} from '../core/principal.ts'
import { checkExternalId, checkScopeName } from '../core/secret-rules.ts'
import { requireAbility } from './access.ts'
import { alreadyThere, Changes, type ChangesOptions, notFound } from './change.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import type { PrincipalRow } from './schema.ts'

export class Principals implements PrincipalStore {
  readonly #database: Database
  readonly #changes: Changes

  constructor(options: ChangesOptions) {
    this.#database = options.database
    this.#changes = new Changes(options)
  }

  async create(principal: Principal, input: NewPrincipal): Promise<Profile> {
    requireAbility(principal, 'principals.manage')
    checkRole(input)
    return await this.#changes.make(principal, async ({ now, time }) => {
      const row: PrincipalRow = {
        id: uuidv7(now),
        kind: input.kind,
        name: checkScopeName(input.name),
        email: checkExternalId(input.email ?? null),
        account_id: principal.accountId,
        role: input.role,
        external_id: checkExternalId(input.externalId ?? null),
        created_at: time,
        deleted_at: null,
      }
      if (row.external_id !== null && (await this.#external(row.external_id)) !== undefined) {
        throw alreadyThere({ kind: 'principal', name: 'with that external id' })
      }
      return {
        action: 'principal.create',
        target: targetOf(row),
        fields: Object.keys(input),
        apply: async (trx) => {
          await trx.insertInto('principals').values(row).execute()
          return showPrincipal(row)
        },
      }
    })
  }

  async get(principal: Principal, id: string): Promise<Profile> {
    requireAbility(principal, 'principals.view')
    return showPrincipal(await this.#find(principal, id))
  }

  /** Oldest first. */
  async list(principal: Principal, page: PageRequest & { readonly kind?: PrincipalKind }): Promise<Page<Profile>> {
    requireAbility(principal, 'principals.view')
    const { rows, after } = readPage(page)
    const { kind } = page
    const found = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('principals')
          .selectAll()
          .where('account_id', '=', principal.accountId)
          .where('deleted_at', 'is', null)
          .where('id', '>', after)
          .$if(kind !== undefined, (query) => query.where('kind', '=', kind ?? 'user'))
          .orderBy('id')
          .limit(rows)
          .execute(),
    )
    return toPage(found, page.limit, showPrincipal, (row) => row.id)
  }

  async delete(principal: Principal, id: string): Promise<void> {
    requireAbility(principal, 'principals.manage')
    await this.#changes.make(principal, async ({ time }) => {
      const row = await this.#find(principal, id)
      if (row.kind === 'system' || row.name === 'admin') throw builtIn()
      return {
        action: 'principal.delete',
        target: targetOf(row),
        fields: [],
        apply: async (trx) => {
          await trx.updateTable('principals').set({ deleted_at: time }).where('id', '=', row.id).execute()
          await trx
            .updateTable('tokens')
            .set({ token_hash: null, revoked_at: time })
            .where('principal_id', '=', row.id)
            .where('revoked_at', 'is', null)
            .execute()
        },
      }
    })
  }

  async byExternalId(externalId: string): Promise<Principal | undefined> {
    const row = await this.#external(externalId)
    if (row === undefined) return undefined
    const workspace = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('scopes')
          .select('id')
          .where('parent_id', '=', row.account_id)
          .where('deleted_at', 'is', null)
          .orderBy('id')
          .limit(1)
          .executeTakeFirst(),
    )
    if (workspace === undefined) return undefined
    const scope = { workspaceId: workspace.id, scopeId: workspace.id, accountId: row.account_id, sandboxId: null }
    return Object.freeze({
      kind: row.kind,
      id: row.id,
      name: row.name,
      role: row.role,
      homeId: row.account_id,
      ...scope,
    })
  }

  async #find(principal: Principal, id: string): Promise<PrincipalRow> {
    const row = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('principals')
          .selectAll()
          .where('account_id', '=', principal.accountId)
          .where('id', '=', id)
          .where('deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    if (row === undefined) throw notFound('principal')
    return row
  }

  async #external(externalId: string): Promise<PrincipalRow | undefined> {
    return await this.#database.query(
      async (db) =>
        await db
          .selectFrom('principals')
          .selectAll()
          .where('external_id', '=', externalId)
          .where('deleted_at', 'is', null)
          .executeTakeFirst(),
    )
  }
}

function checkRole({ role, kind }: NewPrincipal): void {
  const fits = ROLES.includes(role) && role !== 'runner' && (kind === 'user' || kind === 'agent')
  if (fits) return
  throw new CoatcheckError(
    'invalid_input',
    'A principal of that kind and role is not made.',
    'Kinds are user and agent; roles are admin, member, viewer and agent.',
  )
}

function builtIn(): CoatcheckError {
  return new CoatcheckError('conflict', 'This principal is part of coatcheck.', 'Replace its token instead.')
}

function showPrincipal(row: PrincipalRow): Profile {
  return {
    id: row.id,
    accountId: row.account_id,
    kind: row.kind,
    name: row.name,
    email: row.email,
    role: row.role,
    externalId: row.external_id,
    createdAt: row.created_at,
  }
}

function targetOf(row: PrincipalRow) {
  return { kind: 'principal', id: row.id, name: row.name }
}
