/** Explains secrets to people: which one a mount means and why, what nobody uses, and what is due for rotation. */
import { type Kysely, sql } from 'kysely'
import type { Page, PageRequest } from '../core/page.ts'
import type { Principal } from '../core/principal.ts'
import type { Secret, SecretState } from '../core/secret.ts'
import { checkInstant } from '../core/secret-rules.ts'
import type { EffectiveMount, EffectiveReport, PassedOver, SecretReports, UnusedSecret } from '../core/secret-store.ts'
import { accessOf, requireAbility } from './access.ts'
import type { Database } from './database.ts'
import { readPage, toPage } from './page.ts'
import { findMounts, findSandbox, type ShownMount } from './sandbox-rows.ts'
import type { Schema } from './schema.ts'
import { listSecrets } from './secret-list.ts'
import { type ShownRow, selectShown, showSecret } from './secret-rows.ts'

const DAY_MS = 86_400_000
const MAX_NOT_MOUNTED = 200
const MAX_PASSED_OVER = 20

const REFUSALS: Readonly<Record<Exclude<SecretState, 'current'>, string>> = {
  deleted: 'It was deleted; revive it, or mount another one.',
  disabled: 'Its current version is disabled; enable it or store a new value.',
  expired: 'It has expired; renew it or store a new value.',
  exhausted: 'It was used as often as it may be; store a new value.',
}

export class Reports implements SecretReports {
  readonly #database: Database

  constructor(options: { readonly database: Database }) {
    this.#database = options.database
  }

  async effective(principal: Principal, sandboxIdOrName: string): Promise<EffectiveReport> {
    requireAbility(principal, 'sandboxes.view')
    const now = this.#database.latest()
    return await this.#database.query(async (db) => {
      const sandbox = await findSandbox(db, principal, sandboxIdOrName)
      const found = await findMounts(db, [sandbox.id])
      const mounts: EffectiveMount[] = []
      for (const mount of found) mounts.push(await explainMount(db, principal, mount, now))
      const access = await accessOf(db, principal, now)
      const page = { limit: MAX_NOT_MOUNTED, cursor: null }
      const { items } = await listSecrets({ db, principal, access, now }, page)
      const mounted = new Set(found.map((mount) => mount.secret_id))
      const notMounted = items.filter(({ id }) => !mounted.has(id)).map(({ id, name }) => ({ id, name }))
      return { sandboxId: sandbox.id, mounts, notMounted }
    })
  }

  async unused(principal: Principal, request: PageRequest & { readonly since: string }): Promise<Page<UnusedSecret>> {
    const since = checkInstant(request.since)
    const now = this.#database.latest()
    const page = await this.#page(principal, request, 'idle_since', since)
    const show = (row: ShownRow) => ({
      secret: showSecret(row, principal, now),
      days: Math.floor((now - Date.parse(row.idle_since)) / DAY_MS),
    })
    return { ...page, items: page.items.map(show) }
  }

  async rotationDue(principal: Principal, request: PageRequest): Promise<Page<Secret>> {
    const now = this.#database.latest()
    const page = await this.#page(principal, request, 'rotate_at', new Date(now).toISOString())
    return { ...page, items: page.items.map((row) => showSecret(row, principal, now)) }
  }

  /** Live ones whose column is at or before `until`, the earliest first, without those the principal may not list. */
  async #page(
    principal: Principal,
    request: PageRequest,
    column: 'idle_since' | 'rotate_at',
    until: string,
  ): Promise<Page<ShownRow>> {
    const { rows, after } = readPage(request)
    const [value = '', id = ''] = after.split('|')
    const access = await this.#database.query(async (db) => await accessOf(db, principal, this.#database.latest()))
    const found = await this.#database.query(
      async (db) =>
        await selectShown(db)
          .where('scope_id', '=', principal.scopeId)
          .where('deleted_at', 'is', null)
          .where(column, '<=', until)
          .where(sql<boolean>`(${sql.ref(column)}, secrets.id) > (${value}, ${id})`)
          .orderBy(column)
          .orderBy('secrets.id')
          .limit(rows)
          .execute(),
    )
    const page = toPage(
      found,
      request.limit,
      (row) => row,
      (row) => `${row[column] ?? ''}|${row.id}`,
    )
    return { ...page, items: page.items.filter((row) => access.decide('list', row.name).allow) }
  }
}

async function explainMount(
  db: Kysely<Schema>,
  principal: Principal,
  mount: ShownMount,
  now: number,
): Promise<EffectiveMount> {
  const row = await selectShown(db).where('id', '=', mount.secret_id).executeTakeFirst()
  const secret = row === undefined ? null : showSecret(row, principal, now)
  return {
    env: mount.env_name,
    ref: mount.name_key ?? mount.secret_id,
    secret,
    refusal: refusalOf(secret),
    hosts: secret === null ? [] : secret.hosts,
    placements: secret?.placements ?? [],
    others: mount.name_key === null ? [] : await passedOver(db, principal, mount, mount.name_key),
  }
}

function refusalOf(secret: Secret | null): EffectiveMount['refusal'] {
  if (secret === null) return { state: 'missing', message: 'There is no such secret any more.' }
  return secret.state === 'current' ? null : { state: secret.state, message: REFUSALS[secret.state] }
}

/** Those of the same name in the workspace and its account that the mount does not mean. */
async function passedOver(
  db: Kysely<Schema>,
  principal: Principal,
  mount: ShownMount,
  name: string,
): Promise<readonly PassedOver[]> {
  const named = db
    .selectFrom('secrets')
    .select(['id', 'scope_id', 'deleted_at'])
    .where('scope_id', 'in', [principal.workspaceId, principal.accountId])
    .where('name_key', '=', name)
    .where('id', '!=', mount.secret_id)
    .limit(MAX_PASSED_OVER)
  // Asked apart, because each has an index of its own.
  const live = await named.where('deleted_at', 'is', null).execute()
  const deleted = named.where('deleted_at', 'is not', null).where('destroyed_at', 'is', null)
  const rows = [...live, ...(await deleted.orderBy('deleted_at', 'desc').execute())]
  return rows.map(({ id, scope_id, deleted_at }) => {
    const why = deleted_at === null ? 'overridden' : 'deleted'
    const message =
      why === 'overridden' ? 'The workspace has its own secret of that name.' : 'It was deleted and can be revived.'
    return { id, scopeId: scope_id, why, message }
  })
}
