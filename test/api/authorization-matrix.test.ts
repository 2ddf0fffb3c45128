/**
 * Contract: who may call what, for every role, every route and every thing that is its own, another workspace's, or nobody's.
 *
 * The table of routes is the API's own, so a route that does not say who may call it, or that this test has no things for, fails
 * here. What belongs to another workspace is answered as what does not exist: byte for byte, but for the request's id.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Api } from '../../src/api/dependencies.ts'
import type { RoutePermission } from '../../src/api/route-config.ts'
import { buildApi } from '../../src/api/server.ts'
import { PERMISSIONS } from '../../src/core/access-policy.ts'
import { ROLE_DEFAULTS, roleAllows } from '../../src/core/permission.ts'
import type { Principal, Role } from '../../src/core/principal.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { ApiUnderTest } from './support/api-under-test.ts'
import { routeTable, type TableRoute } from './support/route-table.ts'

/** A route's things: what stands for `:idOrName` or `:id`, and what is sent. */
interface Case {
  readonly own?: string
  readonly foreign?: string
  readonly query?: string
  readonly body?: object
}
type Whose = 'own' | 'foreign' | 'missing'

/** The one who may delete the workspace comes last. */
const CONTROL_ROLES = ['viewer', 'agent', 'member', 'admin'] as const
const NOBODYS = '01940000-0000-7000-8000-000000000000'

let api: ApiUnderTest
let routes: readonly TableRoute[]
let tokens: Record<Role, string>
let sandboxToken: string
const things = new Map<string, { readonly own: string; readonly foreign: string }>()

/** Things of the caller's workspace, and like ones of another: the ids of both are real. */
async function thingsOf(principal: Principal, suffix: string) {
  const { secrets, sandboxes, tokens: tokenStore, vaults, policies } = api.deps
  const value = () => SecretValue.fromText('a value that is long enough')
  const readable = { readPolicy: 'permission' as const }
  const secret = await secrets.create(principal, { name: `thing-${suffix}`, value: value(), ...readable })
  const deleted = await secrets.create(principal, { name: `deleted-${suffix}`, value: value() })
  await secrets.softDelete(principal, deleted.secret.id)
  const { sandbox } = await sandboxes.create(principal, { name: `sandbox-${suffix}`, mounts: {} })
  const { token } = await tokenStore.create(principal, { name: `token-${suffix}` })
  const vault = await vaults.create(principal, { name: `vault-${suffix}` })
  const permissions = PERMISSIONS.slice(0, 1)
  const policy = await policies.create(principal, { path: 'nothing-here', permissions, principalKind: 'system' })
  return {
    secrets: secret.secret.id,
    deleted: deleted.secret.id,
    sandboxes: sandbox.id,
    tokens: token.id,
    vaults: vault.id,
    policies: policy.id,
    workspaces: principal.workspaceId,
  }
}

beforeAll(async () => {
  api = await ApiUnderTest.start()
  routes = (await routeTable(api.deps)).filter(({ foreign }) => !foreign)
  const system = api.data.tokens.systemPrincipal()
  const { workspaces, tokens: tokenStore } = api.deps
  const ours = await workspaces.enter(system, (await workspaces.create(system, { name: 'ours' })).id)
  const theirs = await workspaces.enter(system, (await workspaces.create(system, { name: 'theirs' })).id)
  const [own, foreign] = [await thingsOf(ours, 'a'), await thingsOf(theirs, 'a')]
  for (const [kind, id] of Object.entries(own)) things.set(kind, { own: id, foreign: foreign[kind as 'secrets'] })
  const somebody = await api.deps.principals.create(system, { kind: 'user', name: 'somebody', role: 'viewer' })
  things.set('principals', { own: somebody.id, foreign: NOBODYS })
  const made: [Role, string][] = []
  for (const role of [...CONTROL_ROLES, 'runner'] as const) {
    const scope = { scopeId: ours.scopeId, role }
    made.push([role, (await tokenStore.create(ours, { name: `caller-${role}`, ...scope })).secret])
  }
  tokens = Object.fromEntries(made) as Record<Role, string>
  sandboxToken = (await api.deps.sandboxes.create(ours, { name: 'caller', mounts: {} })).token
}, 60_000)
afterAll(async () => await api.stop())

/** Told by tests of their own: an answer without an end, and what only a credential of the whole account may. */
const APART = new Set(['GET /v1/audit/events/stream', 'GET /metrics', 'POST /v1/workspaces'])
/** Of all secrets of the scope: who may not is answered with none of them. */
const FILTERED = new Set([
  'GET /v1/secrets',
  'GET /v1/secrets/unused',
  'GET /v1/secrets/rotation-due',
  'POST /v1/secrets/import',
  'POST /v1/secrets/export',
])
const newName = () => `new-${Math.random().toString(36).slice(2)}`

/** What is sent so that a caller who may gets a 2xx; a route that is not here and needs more than its path fails. */
const SENT: Readonly<Record<string, () => Case>> = {
  'POST /v1/secrets': () => ({ body: { name: newName(), value: 'a value that is long enough' } }),
  'PATCH /v1/secrets/:idOrName': () => ({ body: { description: 'changed' } }),
  'DELETE /v1/secrets/:idOrName': () => ({ query: '?soft=true' }),
  'POST /v1/secrets/:idOrName/generate': () => ({ body: {} }),
  'POST /v1/secrets/:idOrName/revive': () => things.get('deleted') ?? {},
  'GET /v1/secrets/effective': () => ({ query: '?sandbox=:sandbox' }),
  'GET /v1/secrets/unused': () => ({ query: '?since=2030-01-01T00:00:00Z' }),
  'POST /v1/secrets/import': () => ({ body: { format: 'dotenv', text: `${newName()}="a value that is long enough"` } }),
  'POST /v1/secrets/export': () => ({ body: { format: 'json' } }),
  'POST /v1/sandboxes': () => ({ body: { name: newName() } }),
  'PUT /v1/sandboxes/:idOrName/mounts': () => ({ body: { mounts: {} } }),
  'POST /v1/tokens': () => ({ body: { name: newName() } }),
  'POST /v1/workspaces': () => ({ body: { name: newName() } }),
  'PATCH /v1/workspaces/:idOrName/settings': () => ({ body: { requireHosts: null } }),
  'POST /v1/vaults': () => ({ body: { name: newName() } }),
  'POST /v1/policies': () => ({ body: { path: 'nothing', permissions: ['list'], principalKind: 'system' } }),
  'PUT /v1/policies/:id': () => ({ body: { path: 'nothing', permissions: ['list'], principalKind: 'system' } }),
  'POST /v1/principals': () => ({ body: { kind: 'user', name: newName(), role: 'viewer' } }),
}

function requestOf({ method, path }: TableRoute, whose: Whose) {
  const { body, query = '', ...given } = SENT[`${method} ${path}`]?.() ?? {}
  const noun = path.split('/')[2] ?? ''
  const pair = given.own === undefined ? things.get(noun) : (given as { own: string; foreign: string })
  const id = (whose === 'missing' ? NOBODYS : pair?.[whose]) ?? NOBODYS
  const sandbox = (whose === 'missing' ? NOBODYS : things.get('sandboxes')?.[whose]) ?? NOBODYS
  const filled = path.replace(/:idOrName|:id\b/, id).replace(':version', '1')
  return { url: filled + query.replace(':sandbox', sandbox), body }
}

async function call(route: TableRoute, whose: Whose, token: string) {
  const { url, body } = requestOf(route, whose)
  return await api.call(route.method, url, body, { authorization: token === '' ? '' : `Bearer ${token}` })
}

function names(route: TableRoute): boolean {
  return /:id|\/effective$/.test(route.path)
}

function allowed(role: Role, permission: RoutePermission): boolean {
  if (permission === 'anyone' || permission === 'caller') return true
  const [, of] = /^secrets\.(.+)$/.exec(permission) ?? []
  if (of === undefined) return roleAllows(role, permission as never)
  return ROLE_DEFAULTS[role].secrets.includes(of as 'list')
}

/** Without its request id, which differs. */
function comparable({ status, text, headers }: Awaited<ReturnType<typeof call>>) {
  const { 'x-request-id': id = '', date: _, 'x-ratelimit-remaining': _1, 'x-ratelimit-reset': _2, ...rest } = headers
  return { status, text: text.replaceAll(id, 'ID'), headers: rest }
}

it('every route says who may call it', () => {
  expect(routes.length).toBeGreaterThan(50)
  expect(routes.filter(({ permission }) => permission === undefined)).toEqual([])
})

it('the only routes for anyone are health and the description of the API', () => {
  const open = routes.filter(({ permission }) => permission === 'anyone').map(({ path }) => path)
  expect(open.toSorted()).toEqual(['/healthz', '/openapi.json', '/readyz', '/reference'])
})

describe('without a token of the control plane', () => {
  let uncounted: Api
  let callers = 0

  beforeAll(() => {
    uncounted = buildApi(api.deps)
  })
  afterAll(async () => await uncounted.close())

  /** Each from an address of its own, so that failed attempts are not counted together. */
  async function from(route: TableRoute, authorization: string | undefined) {
    const { url } = requestOf(route, 'own')
    const headers = { host: 'localhost', ...(authorization === undefined ? {} : { authorization }) }
    const method = route.method as 'GET'
    const payload = method === 'GET' ? {} : { payload: 'not json' }
    return await uncounted.inject({ method, url, headers, remoteAddress: `10.0.0.${++callers}`, ...payload })
  }

  it('every other route is a 401, before it reads the body', async () => {
    for (const route of routes.filter(({ permission }) => permission !== 'anyone')) {
      const answer = await from(route, undefined)
      expect([answer.statusCode, answer.json()], `${route.method} ${route.path}`).toMatchObject([
        401,
        { error: { code: 'unauthenticated' } },
      ])
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="coatcheck"')
    }
  })

  it('a token of a sandbox or a runner is one of nobody', async () => {
    for (const token of [sandboxToken, tokens.runner]) {
      const answers = []
      for (const route of routes.filter(({ permission }) => permission !== 'anyone').slice(0, 40)) {
        answers.push((await from(route, `Bearer ${token}`)).statusCode)
      }
      expect(new Set(answers)).toEqual(new Set([401]))
    }
  })
})

describe.each(CONTROL_ROLES)('the role %s', (role) => {
  it('gets from each route what its permission says, and never what is another workspace’s', async () => {
    const wrong: string[] = []
    const order = [...routes].toSorted((a, b) => rank(a) - rank(b))
    for (const route of order) {
      const { method, path, permission = 'anyone' } = route
      if (permission === 'anyone' || APART.has(`${method} ${path}`)) continue
      const where = `${method} ${path}`
      const missing = comparable(await call(route, 'missing', tokens[role]))
      const foreign = comparable(await call(route, 'foreign', tokens[role]))
      if (names(route) && JSON.stringify(foreign) !== JSON.stringify(missing)) {
        wrong.push(`${where}: foreign ${foreign.status} is not as missing ${missing.status}`)
      }
      const may = allowed(role, permission)
      if (may && names(route) && !creates(where) && ![404].includes(missing.status)) {
        wrong.push(`${where}: missing is ${missing.status}`)
      }
      if (removes(where) && may && role !== 'admin') continue
      const own = await call(route, 'own', tokens[role])
      if (FILTERED.has(where)) {
        if (own.status !== 200) wrong.push(`${where}: own is ${own.status}`)
        if (!may && /"(id|created)":\s*"?\[?"[^\]]/.test(own.text))
          wrong.push(`${where}: shows ${own.text.slice(0, 200)}`)
        continue
      }
      const refused = own.status === 403 || own.status === 404
      if (may === refused || own.status >= 500)
        wrong.push(`${where}: own is ${own.status}, may ${may}: ${own.text.slice(0, 100)}`)
    }
    expect(wrong).toEqual([])
  }, 60_000)
})

it('a credential of one workspace makes no workspace and sees no figures; one of the account may both', async () => {
  for (const [method, path, body] of [
    ['GET', '/metrics', undefined],
    ['POST', '/v1/workspaces', { name: newName() }],
  ] as const) {
    const principal = await api.deps.workspaces.enter(
      api.data.tokens.systemPrincipal(),
      things.get('workspaces')?.foreign ?? '',
    )
    const { secret } = await api.deps.tokens.create(principal, { name: newName(), role: 'admin' })
    const limited = await api.call(method, path, body, { authorization: `Bearer ${secret}` })
    expect([403, 404], path).toContain(limited.status)
    expect(
      (await api.call(method, path, body, { authorization: `Bearer ${api.adminToken}` })).status,
      path,
    ).toBeLessThan(300)
  }
})

/** What cannot be repeated comes last, and is done by the admin alone. */
function removes(where: string): boolean {
  return where.startsWith('DELETE ') || where.endsWith('/revive')
}

/** A create by name makes what is missing. */
function creates(where: string): boolean {
  return where.endsWith('/generate')
}

function rank({ method, path }: TableRoute): number {
  if (method === 'DELETE') return path.startsWith('/v1/workspaces') ? 3 : 2
  return path.endsWith('/revive') ? 1 : 0
}
