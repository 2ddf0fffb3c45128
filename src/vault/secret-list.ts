/**
 * Pages of secrets in the order of one column and the id, by keyset: a row that comes or goes elsewhere moves nothing in between.
 *
 * In a workspace the account's secrets are merged in, but for those it overrides. Each scope is read by its own index, so a page
 * costs the same however many there are; only a principal whose policies hide some makes it read past those.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { CoatcheckError } from '../core/errors.ts'
import type { PageRequest } from '../core/page.ts'
import type { Principal } from '../core/principal.ts'
import type { NameForm } from '../core/secret-name.ts'
import type { SecretFilter, SecretPage } from '../core/secret-store.ts'
import type { SecretAccess } from './access.ts'
import { readPage, strangeCursor, writeCursor } from './page.ts'
import type { Schema } from './schema.ts'
import { type ShownRow, selectShown, showSecret, visibleScopes } from './secret-rows.ts'

const COLUMNS = { name: 'name', createdAt: 'created_at', updatedAt: 'updated_at' } as const

/** `NAME_FORMS` as GLOB patterns that a name must match and must not match. */
const FORMS: Readonly<Record<NameForm, readonly [string, string]>> = {
  flat: ['[A-Za-z_]*', '*[^A-Za-z0-9_-]*'],
  capitals: ['[A-Z_]*', '*[^A-Z0-9_-]*'],
  variable: ['[A-Za-z_]*', '*[^A-Za-z0-9_]*'],
  path: ['*', '*[^A-Za-z0-9/_-]*'],
}

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
    let query = selectShown(context.db).where(matches(context.principal, scope, request))
    if (place !== null) {
      const than = sql.raw(order.descending ? '<' : '>')
      query = query.where(sql<boolean>`(${column}, secrets.id) ${than} (${place.value}, ${place.id})`)
    }
    const direction = order.descending ? 'desc' : 'asc'
    pages.push(...(await query.orderBy(column, direction).orderBy('secrets.id', direction).limit(count).execute()))
  }
  return pages.sort((a, b) => compareRows(a, b, order)).slice(0, count)
}

/** True in SQL for all that match in one scope; of inherited ones for those that the workspace does not have itself. */
function matches(principal: Principal, scope: string, filter: SecretFilter): RawBuilder<boolean> {
  const { type, externalId } = filter
  // As names are kept.
  const [name, prefix, query] = [filter.name, filter.prefix, filter.query].map((text) => text?.normalize('NFC'))
  const conditions = [sql`secrets.scope_id = ${scope}`]
  const inherited = scope !== principal.scopeId
  if (inherited) {
    conditions.push(sql`NOT EXISTS (SELECT 1 FROM secrets AS own WHERE own.scope_id = ${principal.scopeId}
      AND own.name_key = secrets.name_key AND own.deleted_at IS NULL)`)
  }
  const deleted = filter.deleted === true && !inherited
  conditions.push(deleted ? sql`secrets.destroyed_at IS NULL` : sql`secrets.deleted_at IS NULL`)
  if (name !== undefined) conditions.push(sql`instr(secrets.name, ${name}) > 0`)
  if (prefix !== undefined) {
    conditions.push(sql`secrets.name >= ${prefix} AND substr(secrets.name, 1, length(${prefix})) = ${prefix}`)
  }
  if (query !== undefined) {
    const text = sql`lower(name || char(10) || coalesce(description, '') || char(10) || coalesce(external_id, ''))`
    conditions.push(sql`instr(${text}, lower(${query})) > 0`)
  }
  if (filter.form !== undefined) {
    const [like, unlike] = FORMS[filter.form]
    conditions.push(sql`secrets.name GLOB ${like} AND secrets.name NOT GLOB ${unlike}`)
  }
  if (type !== undefined) conditions.push(sql`secrets.type = ${type}`)
  if (externalId !== undefined) conditions.push(sql`secrets.external_id = ${externalId}`)
  for (const label of labelsOf(filter)) conditions.push(sql`instr(secrets.labels, ${labelText(label)}) > 0`)
  return sql<boolean>`${sql.join(conditions, sql` AND `)}`
}

function labelsOf({ label, labels = {} }: SecretFilter): readonly string[] {
  const all = Object.entries(labels).map(([key, value]) => `${key}=${value}`)
  return label === undefined ? all : [label, ...all]
}

/** Names alone are read where policies may hide some. */
async function countAll(context: ListContext, filter: SecretFilter): Promise<number> {
  let total = 0
  for (const scope of scopesOf(context.principal, filter)) {
    const select = context.db.selectFrom('secrets').where(matches(context.principal, scope, filter))
    if (context.access.listsAll) {
      total += (await select.select(sql<number>`count(*)`.as('count')).executeTakeFirstOrThrow()).count
      continue
    }
    const names = await select.select('name').execute()
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
