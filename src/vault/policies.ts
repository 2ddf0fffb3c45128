/** The access policies of a scope: seen by those who may, changed by admins, each change recorded first. */
import type { AccessPolicy, NewAccessPolicy, PolicyStore } from '../core/access-policy.ts'
import { uuidv7 } from '../core/id.ts'
import type { Page, PageRequest } from '../core/page.ts'
import type { Principal } from '../core/principal.ts'
import { requireAbility } from './access.ts'
import { Changes, type ChangesOptions, changedMeanwhile, principalLabel } from './change.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import { findPolicy, policyColumns, showPolicy } from './policy-rows.ts'
import type { AccessPolicyRow } from './schema.ts'

export class Policies implements PolicyStore {
  readonly #database: Database
  readonly #changes: Changes

  constructor(options: ChangesOptions) {
    this.#database = options.database
    this.#changes = new Changes(options)
  }

  async create(principal: Principal, input: NewAccessPolicy): Promise<AccessPolicy> {
    requireAbility(principal, 'policies.manage')
    return await this.#changes.make(principal, async (moment) => {
      const row: AccessPolicyRow = {
        id: uuidv7(moment.now),
        scope_id: principal.scopeId,
        ...policyColumns(input, moment),
        created_by: principalLabel(principal),
        created_at: moment.time,
        updated_at: moment.time,
      }
      return {
        action: 'policy.create',
        target: targetOf(row),
        fields: Object.keys(input),
        apply: async (trx) => {
          await trx.insertInto('access_policies').values(row).execute()
          return showPolicy(row)
        },
      }
    })
  }

  /** Oldest first. */
  async list(principal: Principal, page: PageRequest): Promise<Page<AccessPolicy>> {
    requireAbility(principal, 'policies.view')
    const { rows, after } = readPage(page)
    const found = await this.#database.query(
      async (db) =>
        await db
          .selectFrom('access_policies')
          .selectAll()
          .where('scope_id', '=', principal.scopeId)
          .where('id', '>', after)
          .orderBy('id')
          .limit(rows)
          .execute(),
    )
    return toPage(found, page.limit, showPolicy, (row) => row.id)
  }

  async get(principal: Principal, id: string): Promise<AccessPolicy> {
    requireAbility(principal, 'policies.view')
    return showPolicy(await this.#find(principal, id))
  }

  async replace(principal: Principal, id: string, input: NewAccessPolicy): Promise<AccessPolicy> {
    requireAbility(principal, 'policies.manage')
    return await this.#changes.make(principal, async (moment) => {
      const old = await this.#find(principal, id)
      const row: AccessPolicyRow = { ...old, ...policyColumns(input, moment), updated_at: moment.time }
      const { id: _id, scope_id, ...columns } = row
      return {
        action: 'policy.replace',
        target: targetOf(row),
        fields: Object.keys(input),
        apply: async (trx) => {
          const { numUpdatedRows } = await trx
            .updateTable('access_policies')
            .set(columns)
            .where('scope_id', '=', scope_id)
            .where('id', '=', id)
            .executeTakeFirst()
          if (numUpdatedRows !== 1n) throw changedMeanwhile('policy')
          return showPolicy(row)
        },
      }
    })
  }

  async delete(principal: Principal, id: string): Promise<void> {
    requireAbility(principal, 'policies.manage')
    await this.#changes.make(principal, async () => {
      const row = await this.#find(principal, id)
      return {
        action: 'policy.delete',
        target: targetOf(row),
        fields: [],
        apply: async (trx) => {
          await trx
            .deleteFrom('access_policies')
            .where('scope_id', '=', row.scope_id)
            .where('id', '=', row.id)
            .execute()
        },
      }
    })
  }

  async #find(principal: Principal, id: string): Promise<AccessPolicyRow> {
    return await this.#database.query(async (db) => await findPolicy(db, principal, id))
  }
}

/** How the log names it: by its path. */
function targetOf(row: AccessPolicyRow) {
  return { kind: 'policy', id: row.id, name: row.path }
}
