/** What one process does with an open store: reads and writes for a while each, through the store and the API, and resolves. */
import type { App } from '../src/app.ts'
import { HOSTS, heldAt, nameAt, newText, newValue, SANDBOX, scattered } from './store-fill.ts'

export interface LoadOptions {
  readonly size: number
  /** Of each kind of call. */
  readonly secs: number
}

export type Figures = Readonly<Record<string, number>>
/** By group. */
export type Groups = Readonly<Record<string, Figures>>

/** One of each kind, the next when the last is done. */
interface Calls {
  get(name: string): Promise<unknown>
  /** Gives the cursor of the next page. */
  list(cursor: string | null): Promise<string | null>
  create(name: string): Promise<unknown>
  rotate(name: string): Promise<unknown>
}

/** As many as the smallest store has, so that a page costs the same everywhere. */
const PAGE = 10
const FIRST_LOOK_UPS = 200
const CACHED_LOOK_UPS = 20_000
const WARM_UP_SHARE = 0.25
const US_PER_MS = 1_000
const MS_PER_S = 1_000

export async function load(app: App, options: LoadOptions): Promise<Groups> {
  const api = app.localApi()
  const ways = { store: throughStore(app), api: throughApi(api) }
  try {
    const resolve = await resolveOf(app, options)
    const reads = { store: await readsOf(ways.store, options), api: await readsOf(ways.api, options) }
    // Last, because they make the store larger.
    const store = { ...reads.store, ...(await writesOf(ways.store, options, 'S')) }
    return { store, api: { ...reads.api, ...(await writesOf(ways.api, options, 'A')) }, resolve }
  } finally {
    await api.close()
  }
}

function throughStore({ data }: App): Calls {
  const { secrets } = data
  const owner = data.tokens.systemPrincipal()
  return {
    get: async (name) => await secrets.get(owner, name),
    list: async (cursor) => (await secrets.list(owner, { limit: PAGE, cursor })).nextCursor,
    create: async (name) => await secrets.create(owner, { name, value: newValue(), hosts: HOSTS }),
    rotate: async (name) => await secrets.update(owner, name, { value: newValue() }),
  }
}

function throughApi(api: ReturnType<App['localApi']>): Calls {
  const send = async (method: string, path: string, body?: unknown) => {
    const answer = await api.request(method, path, body)
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered with ${answer.status}`)
    return JSON.parse(answer.body) as { readonly nextCursor?: string | null }
  }
  return {
    get: async (name) => await send('GET', `/v1/secrets/${name}`),
    list: async (cursor) => {
      const after = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      return (await send('GET', `/v1/secrets?limit=${PAGE}${after}`)).nextCursor ?? null
    },
    create: async (name) => await send('POST', '/v1/secrets', { name, value: newText(), hosts: HOSTS }),
    rotate: async (name) => await send('PATCH', `/v1/secrets/${name}`, { value: newText() }),
  }
}

async function readsOf(calls: Calls, { size, secs }: LoadOptions): Promise<Figures> {
  let cursor: string | null = null
  const list = async () => {
    cursor = await calls.list(cursor)
  }
  const get = async (turn: number) => await calls.get(nameAt(scattered(turn, size)))
  return { ...(await rate('get', secs, get)), ...(await rate('list', secs, list)) }
}

/** `way` keeps the names of one caller from those of another; runs differ in their process. */
async function writesOf(calls: Calls, { size, secs }: LoadOptions, way: string): Promise<Figures> {
  const held = heldAt(size)
  const create = async (turn: number) =>
    await calls.create(`${nameAt(scattered(turn, size))}_${way}${process.pid}_${turn}`)
  const rotate = async (turn: number) => await calls.rotate(nameAt(held[turn % held.length] ?? 0))
  return { ...(await rate('create', secs, create)), ...(await rate('rotate', secs, rotate)) }
}

/** Calls per second, and microseconds of CPU that each cost the whole process. */
async function rate(kind: string, secs: number, call: (turn: number) => Promise<unknown>): Promise<Figures> {
  let turn = 0
  const run = async (ms: number) => {
    const start = performance.now()
    while (performance.now() - start < ms) await call(turn++)
    return performance.now() - start
  }
  await run(secs * WARM_UP_SHARE * MS_PER_S)
  const first = turn
  const before = process.cpuUsage()
  const took = await run(secs * MS_PER_S)
  const { user, system } = process.cpuUsage(before)
  const calls = turn - first
  return { [`${kind}/s`]: (calls / took) * MS_PER_S, [`${kind} cpu us`]: (user + system) / calls }
}

/** At the reader of the proxy. A first look-up is one after a change, which empties every cache of the reader. */
async function resolveOf({ data }: App, { size }: LoadOptions): Promise<Figures> {
  const owner = data.tokens.systemPrincipal()
  const sandbox = await data.sandboxes.byName(SANDBOX)
  if (sandbox === undefined) throw new Error('the sandbox is missing')
  const tokens: string[] = []
  for (const at of heldAt(size)) tokens.push((await data.secrets.get(owner, nameAt(at))).placeholder)
  const resolve = async (turn: number) => {
    const found = await data.mounted.find(sandbox, tokens[turn % tokens.length] ?? '')
    if (found === undefined) throw new Error('a mounted secret was not found')
    await data.mounted.open(found)
  }
  const first: number[] = []
  for (let turn = 0; turn < FIRST_LOOK_UPS; turn += 1) {
    await data.database.change(async () => {})
    const start = performance.now()
    await resolve(turn)
    first.push((performance.now() - start) * US_PER_MS)
  }
  first.sort((a, b) => a - b)
  for (let turn = 0; turn < CACHED_LOOK_UPS; turn += 1) await resolve(turn)
  const start = performance.now()
  for (let turn = 0; turn < CACHED_LOOK_UPS; turn += 1) await resolve(turn)
  const cached = ((performance.now() - start) * US_PER_MS) / CACHED_LOOK_UPS
  const at = (share: number) => first[Math.floor(first.length * share)] ?? Number.NaN
  return { 'first p50 us': at(0.5), 'first p90 us': at(0.9), 'cached us': cached }
}
