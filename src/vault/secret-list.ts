/**
 * Pages of secrets in the order of one column and the id, by keyset: a row that comes or goes elsewhere moves nothing in between.
 *
 * In a workspace the account's secrets are merged in, but for those it overrides. Each scope is read by its own index, so a page
 * costs the same however many there are; only a principal whose policies hide some makes it read past those.
 */
import { type Kysely, sql } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { PageRequest } from '../core/page.ts'
import type { Principal } from '../core/principal.ts'
import type { SecretFilter, SecretPage } from '../core/secret-store.ts'
import type { SecretAccess } from './access.ts'
import { readPage, strangeCursor, writeCursor } from './page.ts'
import type { Schema } from './schema.ts'
import { type ShownRow, selectShown, showSecret, visibleScopes } from './secret-rows.ts'

const COLUMNS = { name: 'name', createdAt: 'created_at', updatedAt: 'updated_at' } as const

/** Where a page begins: after this value of the sort column, and this id. */
interface Place {
  readonly value: string
  readonly id: string
}

interface Order {
  readonly column: (typeof COLUMNS)[keyof typeof COLUMNS]
  readonly descending: boolean
}

export interface ListContext {
  readonly db: Kysely<Schema>
  readonly principal: Principal
  readonly access: SecretAccess
  /** Milliseconds since the epoch. */
  readonly now: number
}

export async function listSecrets(context: ListContext, request: PageRequest & SecretFilter): Promise<SecretPage> {
  const { principal, access, now } = context
  const order = orderOf(request)
  const { rows: wanted } = readPage({ ...request, cursor: null })
  const found: ShownRow[] = []
  let place = request.cursor === null ? null : readPlace(request.cursor, order)
  for (;;) {
    const read = await readAfter(context, request, order, place, wanted)
    found.push(...read.filter((row) => access.listsAll || access.decide('list', row.name).allow))
    const last = read.at(-1)
    if (found.length >= wanted || read.length < wanted || last === undefined) break
    place = { value: last[order.column], id: last.id }
  }
  const shown = found.slice(0, request.limit)
  const last = shown.at(-1)
  const more = found.length > request.limit && last !== undefined
  return {
    items: shown.map((row) => showSecret(row, principal, now)),
    nextCursor: more ? writePlace({ value: last[order.column], id: last.id }, order) : null,
    ...(request.total === true ? { total: await countAll(context, request) } : {}),
  }
}

/** The next `count` rows of all scopes together. */
async function readAfter(
  context: ListContext,
  request: SecretFilter,
  order: Order,
  place: Place | null,
  count: number,
): Promise<readonly ShownRow[]> {
  const column = sql.ref(`secrets.${order.column}`)
  const pages: ShownRow[] = []
  for (const scope of scopesOf(context.principal, request)) {
    let query = matching(context, scope, request)
    if (place !== null) {
      const than = sql.raw(order.descending ? '<' : '>')
      query = query.where(sql<boolean>`(${column}, secrets.id) ${than} (${place.value}, ${place.id})`)
    }
    const direction = order.descending ? 'desc' : 'asc'
    pages.push(...(await query.orderBy(column, direction).orderBy('secrets.id', direction).limit(count).execute()))
  }
  return pages.sort((a, b) => compareRows(a, b, order)).slice(0, count)
}

/** All that match in one scope; inherited ones without those that the workspace has itself. */
function matching({ db, principal }: ListContext, scope: string, filter: SecretFilter) {
  const { name, prefix, query, type, externalId } = filter
  const labels = [filter.label, ...Object.entries(filter.labels ?? {}).map(([key, value]) => `${key}=${value}`)]
  let select = selectShown(db).where('scope_id', '=', scope)
  if (scope !== principal.scopeId) {
    select =
      select.where(sql<boolean>`NOT EXISTS (SELECT 1 FROM secrets AS own WHERE own.scope_id = ${principal.scopeId}
      AND own.name_key = secrets.name_key AND own.deleted_at IS NULL)`)
  }
  const live = filter.deleted !== true || scope !== principal.scopeId
  select = select.where(live ? 'deleted_at' : 'destroyed_at', 'is', null)
  if (name !== undefined) select = select.where(sql<boolean>`instr(name, ${name}) > 0`)
  if (prefix !== undefined) {
    select = select.where('name', '>=', prefix).where(sql<boolean>`substr(name, 1, length(${prefix})) = ${prefix}`)
  }
  if (query !== undefined) {
    const text = sql`lower(name || char(10) || coalesce(description, '') || char(10) || coalesce(external_id, ''))`
    select = select.where(sql<boolean>`instr(${text}, lower(${query})) > 0`)
  }
  if (type !== undefined) select = select.where('secrets.type', '=', type)
  if (externalId !== undefined) select = select.where('external_id', '=', externalId)
  for (const label of labels) {
    if (label !== undefined) select = select.where(sql<boolean>`instr(labels, ${labelText(label)}) > 0`)
  }
  return select
}

/** Names alone are read where policies may hide some. */
async function countAll(context: ListContext, filter: SecretFilter): Promise<number> {
  let total = 0
  for (const scope of scopesOf(context.principal, filter)) {
    const select = matching(context, scope, filter).clearSelect()
    if (context.access.listsAll) {
      total += (await select.select(sql<number>`count(*)`.as('count')).executeTakeFirstOrThrow()).count
      continue
    }
    const names = await select.select('secrets.name').execute()
    total += names.filter((row) => context.access.decide('list', row.name).allow).length
  }
  return total
}

function scopesOf(principal: Principal, { from = 'effective' }: SecretFilter): readonly string[] {
  const visible = visibleScopes(principal)
  if (from === 'effective') return visible
  return visible.filter((scope) => (scope === principal.scopeId) === (from === 'own'))
}

function orderOf({ sort = 'name', order = 'asc' }: SecretFilter): Order {
  if (Object.hasOwn(COLUMNS, sort) && (order === 'asc' || order === 'desc')) {
    return { column: COLUMNS[sort], descending: order === 'desc' }
  }
  throw new CoatcheckError(
    'invalid_input',
    'The order is not offered.',
    'Sort by name, createdAt or updatedAt, in the order asc or desc.',
  )
}

/** As SQLite compares text: by bytes, which is the order of code points. */
function compareRows(a: ShownRow, b: ShownRow, { column, descending }: Order): number {
  const order = Buffer.compare(Buffer.from(a[column]), Buffer.from(b[column])) || (a.id < b.id ? -1 : 1)
  return descending ? -order : order
}

function writePlace({ value, id }: Place, order: Order): string {
  return writeCursor(JSON.stringify([order.column, order.descending, value, id]))
}

/** A cursor belongs to the order it was given in. */
function readPlace(cursor: string, order: Order): Place {
  try {
    const read: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (!Array.isArray(read)) throw strangeCursor()
    const [column, descending, value, id] = read as readonly unknown[]
    if (column !== order.column || descending !== order.descending) throw strangeCursor()
    if (typeof value !== 'string' || typeof id !== 'string') throw strangeCursor()
    return { value, id }
  } catch {
    throw strangeCursor()
  }
}

/** `k` or `k=v` as it stands in the JSON of the labels column: unambiguous, because quotes inside are escaped there. */
function labelText(label: string): string {
  const equals = label.indexOf('=')
  if (equals < 0) return `${JSON.stringify(label)}:`
  return `${JSON.stringify(label.slice(0, equals))}:${JSON.stringify(label.slice(equals + 1))}`
}
