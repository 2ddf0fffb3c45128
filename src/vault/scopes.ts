/**
 * Workspaces of an account and vaults of a workspace. What a credential does not reach is as if it were not there.
 *
 * Deleting one destroys its secrets and sandboxes and revokes the tokens limited to it, in one transaction.
 */
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { Page, PageRequest } from '../core/page.ts'
import type { Principal } from '../core/principal.ts'
import type { NewScope, Scope, VaultStore, WorkspaceStore } from '../core/scope.ts'
import { checkDescription, checkExternalId, checkScopeName } from '../core/secret-rules.ts'
import { requireAbility } from './access.ts'
import { Changes, type ChangesOptions, type Moment, notFound, principalLabel } from './change.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import type { ScopeRow } from './schema.ts'
import { emptyAndDelete, findChild, findReached, isReached, scopeTarget, showScope } from './scope-rows.ts'

/** One level: its kind, whose children it holds, and what acting on one of them means. */
interface Level {
  readonly kind: 'workspace' | 'vault'
  readonly parentOf: (principal: Principal) => string
  readonly entered: (principal: Principal, row: ScopeRow) => Principal
}

const WORKSPACES: Level = {
  kind: 'workspace',
  parentOf: (principal) => principal.accountId,
  entered: (principal, { id }) => ({ ...principal, workspaceId: id, scopeId: id }),
}

const VAULTS: Level = {
  kind: 'vault',
  parentOf: (principal) => principal.workspaceId,
  entered: (principal, { id }) => ({ ...principal, scopeId: id }),
}

class Scopes {
  readonly database: Database
  readonly #changes: Changes
  readonly #level: Level

  constructor(options: ChangesOptions, level: Level) {
    this.database = options.database
    this.#changes = new Changes(options)
    this.#level = level
  }

  async create(principal: Principal, input: NewScope): Promise<Scope> {
    requireAbility(principal, 'scopes.manage')
    return await this.#changes.make(principal, async (moment) => {
      const row = await this.#newRow(principal, input, moment)
      return {
        action: `${row.kind}.create`,
        target: scopeTarget(row),
        fields: Object.keys(input),
        apply: async (trx) => {
          await trx.insertInto('scopes').values(row).execute()
          return showScope(row)
        },
      }
    })
  }

  async list(principal: Principal, page: PageRequest): Promise<Page<Scope>> {
    requireAbility(principal, 'scopes.view')
    const { rows, after } = readPage(page)
    const found = await this.database.query(
      async (db) =>
        await db
          .selectFrom('scopes')
          .selectAll()
          .where('kind', '=', this.#level.kind)
          .where('parent_id', '=', this.#level.parentOf(principal))
          .where('deleted_at', 'is', null)
          .where(isReached(principal))
          .where('name', '>', after)
          .orderBy('name')
          .limit(rows)
          .execute(),
    )
    return toPage(found, page.limit, showScope, (row) => row.name)
  }

  async get(principal: Principal, ref: string): Promise<Scope> {
    requireAbility(principal, 'scopes.view')
    return showScope(await this.#find(principal, ref))
  }

  async delete(principal: Principal, ref: string): Promise<void> {
    requireAbility(principal, 'scopes.manage')
    await this.#changes.make(principal, async ({ time }) => {
      const row = await this.#find(principal, ref)
      if (row.id === this.database.defaultWorkspaceId) throw neededByUs()
      return {
        action: `${row.kind}.delete`,
        target: scopeTarget(row),
        fields: [],
        apply: async (trx) => await emptyAndDelete(trx, row, time),
      }
    })
    await this.database.truncateLog()
  }

  async enter(principal: Principal, ref: string): Promise<Principal> {
    return Object.freeze(this.#level.entered(principal, await this.#find(principal, ref)))
  }

  async #find(principal: Principal, ref: string): Promise<ScopeRow> {
    const parent = this.#level.parentOf(principal)
    const row = await this.database.query(async (db) => await findChild(db, principal, parent, ref))
    if (row === undefined || row.kind !== this.#level.kind) throw notFound(this.#level.kind)
    return row
  }

  async #newRow(principal: Principal, input: NewScope, { now, time }: Moment): Promise<ScopeRow> {
    const parent_id = this.#level.parentOf(principal)
    // Only who reaches the parent adds to it: a credential limited to one vault makes no other.
    const parent = await this.database.query(async (db) => await findReached(db, principal, parent_id))
    if (parent === undefined || parent.kind === this.#level.kind) throw notFound(this.#level.kind)
    return {
      id: uuidv7(now),
      kind: this.#level.kind,
      parent_id,
      external_key: checkExternalId(input.externalKey ?? null),
      name: checkScopeName(input.name),
      description: checkDescription(input.description ?? null),
      created_by: principalLabel(principal),
      created_at: time,
      deleted_at: null,
    }
  }
}

export class Workspaces extends Scopes implements WorkspaceStore {
  constructor(options: ChangesOptions) {
    super(options, WORKSPACES)
  }

  async enterAccount(principal: Principal): Promise<Principal> {
    if (principal.homeId !== principal.accountId) throw notFound('account')
    return Object.freeze({ ...principal, workspaceId: principal.accountId, scopeId: principal.accountId })
  }

  async account(principal: Principal): Promise<Scope> {
    requireAbility(principal, 'scopes.view')
    const row = await this.database.query(
      async (db) =>
        await db
          .selectFrom('scopes')
          .selectAll()
          .where('id', '=', principal.accountId)
          .where('deleted_at', 'is', null)
          .executeTakeFirst(),
    )
    if (row === undefined) throw notFound('account')
    return showScope(row)
  }
}

export class Vaults extends Scopes implements VaultStore {
  constructor(options: ChangesOptions) {
    super(options, VAULTS)
  }
}

function neededByUs(): CoatcheckError {
  return new CoatcheckError(
    'conflict',
    'The workspace default is not deleted: the command line and the first token act in it.',
    'Delete what is in it instead.',
  )
}
