/** Contract: the client does everything that the API does, over the real API, and what a call opens is in nothing that prints. */
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Coatcheck, CoatcheckError } from '../../src/client/coatcheck.ts'
import { ApiUnderTest, CANARY } from '../api/support/api-under-test.ts'
import { routeTable } from '../api/support/route-table.ts'

let api: ApiUnderTest
let client: Coatcheck
/** `METHOD /path` of every request. */
const sent = new Set<string>()

beforeAll(async () => {
  api = await ApiUnderTest.start()
  const recording = async (url: string, init: RequestInit) => {
    sent.add(`${init.method ?? ''} ${new URL(url).pathname}`)
    return await fetch(url, init)
  }
  client = new Coatcheck({ url: api.url, token: api.adminToken, fetch: recording })
})
afterAll(async () => await api.stop())

/** Everything that prints an object, as people do it. */
function printed(thing: unknown): string {
  const spread = typeof thing === 'object' && thing !== null ? { ...thing } : thing
  return [
    inspect(thing, { depth: null, showHidden: true }),
    JSON.stringify(thing),
    String(thing),
    inspect(spread),
    JSON.stringify(Object.entries(thing as object)),
  ].join('\n')
}

async function failureOf(call: Promise<unknown>): Promise<CoatcheckError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (CoatcheckError.is(thrown)) return thrown
  throw new Error(`Not an error of the client: ${inspect(thrown)}`)
}

describe('secrets', () => {
  it('are created, got, listed, updated and deleted', async () => {
    const created = await client.secrets.create({ name: 'openai', value: CANARY, hosts: ['api.openai.com'] })
    expect(created).toMatchObject({ name: 'openai', hosts: ['api.openai.com'], version: 1 })
    expect(created.placeholder).toMatch(/^xcoat_/)
    expect(await client.secrets.get(created.id)).toMatchObject({ id: created.id })
    expect((await client.secrets.list()).map(({ name }) => name)).toEqual(['openai'])
    const updated = await client.secrets.update('openai', { description: 'ours', labels: { team: 'a' } })
    expect(updated).toMatchObject({ description: 'ours', version: 1, placeholder: created.placeholder })
    expect((await client.secrets.rotate('openai', `${CANARY}-2`)).version).toBe(2)
    await client.secrets.delete('openai')
    expect(await failureOf(client.secrets.get('openai'))).toMatchObject({ code: 'not_found', status: 404 })
  })

  it('are filtered by label, flag and state, and counted', async () => {
    for (const name of ['a', 'b', 'c']) {
      await client.secrets.create({ name: `f-${name}`, value: CANARY, labels: { letter: name, of: 'f' } })
    }
    await client.secrets.delete('f-c', { soft: true })
    const labelled = await client.secrets.list({ labels: { letter: 'b', of: 'f' } })
    expect(labelled.map(({ name }) => name)).toEqual(['f-b'])
    expect((await client.secrets.list({ deleted: true })).find(({ name }) => name === 'f-c')?.state).toBe('deleted')
    expect((await client.secrets.list()).map(({ name }) => name)).not.toContain('f-c')
    for await (const page of client.secrets.list({ prefix: 'f-', total: true, limit: 1 }).pages()) {
      expect([page.total, page.items.length]).toEqual([2, 1])
    }
    expect((await client.secrets.revive('f-c')).state).toBe('current')
  })

  it('are changed only at the version that was seen', async () => {
    await client.secrets.create({ name: 'guarded', value: CANARY })
    await client.secrets.update('guarded', { value: `${CANARY}-2` }, { ifVersion: 1 })
    const refused = await failureOf(client.secrets.rotate('guarded', `${CANARY}-3`, { ifVersion: 1 }))
    expect(refused).toMatchObject({ code: 'precondition_failed', status: 412 })
    expect((await client.secrets.get('guarded')).version).toBe(2)
  })

  it('are generated, and have versions that are switched off and on', async () => {
    expect((await client.secrets.generate('made', { length: 40, charset: 'hex' })).version).toBe(1)
    expect((await client.secrets.generate('made')).version).toBe(2)
    expect((await client.secrets.versions('made')).map(({ version }) => version)).toEqual([2, 1])
    expect((await client.secrets.disableVersion('made', 1)).disabledAt).not.toBeNull()
    expect((await client.secrets.version('made', 1)).state).toBe('disabled')
    expect((await client.secrets.enableVersion('made', 1)).disabledAt).toBeNull()
  })

  it('are revealed where their policy allows, by name and in nothing that prints', async () => {
    await client.secrets.create({ name: 'readable', value: CANARY, readPolicy: 'permission' })
    await client.secrets.rotate('readable', `${CANARY}-2`)
    const revealed = await client.secrets.reveal('readable')
    expect([revealed.value, revealed.version, revealed.accessCount]).toEqual([`${CANARY}-2`, 2, 1])
    expect((await client.secrets.reveal('readable', { version: 1 })).value).toBe(CANARY)
    expect(printed(revealed)).not.toContain(CANARY)
    const refused = await failureOf(client.secrets.reveal('made'))
    expect(refused).toMatchObject({ code: 'forbidden', status: 403 })
  })

  it('are imported and exported, the text by name and in nothing that prints', async () => {
    const text = `IMPORTED="${CANARY}"\n`
    expect(await client.secrets.import({ format: 'dotenv', text })).toMatchObject({ created: ['IMPORTED'] })
    expect(await client.secrets.import({ format: 'dotenv', text, ifExists: 'skip' })).toMatchObject({
      skipped: ['IMPORTED'],
    })
    await client.secrets.update('readable', { description: 'exported' })
    const exported = await client.secrets.export({ format: 'json', prefix: 'readable' })
    expect(exported.text).toContain(CANARY)
    expect(exported.count).toBe(1)
    expect(printed(exported)).not.toContain(CANARY)
  })

  it('are reported as unused, due, and effective for a sandbox', async () => {
    api.clock.now += 3 * 86_400_000
    const unused = await client.secrets.unused(new Date(api.clock.now).toISOString(), { limit: 2 })
    expect(unused.map(({ secret }) => secret.name)).toContain('guarded')
    await client.secrets.create({ name: 'due', value: CANARY, rotationPolicy: { everyDays: 1 } })
    api.clock.now += 3 * 86_400_000
    expect((await client.secrets.rotationDue()).map(({ name }) => name)).toContain('due')
    await client.sandboxes.create({ name: 'explained', mounts: { KEY: 'guarded' } })
    const { mounts } = await client.secrets.effective('explained')
    expect(mounts).toMatchObject([{ env: 'KEY', secret: { name: 'guarded' }, refusal: null }])
  })
})

describe('sandboxes', () => {
  it('are created with credentials that are read by name and are in nothing that prints', async () => {
    const made = await client.sandboxes.create({ name: 'agent', mounts: { KEY: 'guarded' } })
    const { token, env, proxyUrl } = made
    expect([env['HTTPS_PROXY'], proxyUrl]).toEqual([proxyUrl, expect.stringContaining(token)])
    expect(printed(made)).not.toContain(token)
    const rotated = await client.sandboxes.rotateToken('agent')
    expect(rotated.token).not.toBe(token)
    expect(printed(rotated)).not.toContain(rotated.token)
    expect((await client.sandboxes.environment('agent')).env).toHaveProperty('KEY')
    expect((await client.sandboxes.setMounts('agent', { OTHER: 'guarded' })).mounts).toEqual({ OTHER: 'guarded' })
    expect((await client.sandboxes.list({ limit: 1 })).map(({ name }) => name)).toContain('agent')
    expect((await client.sandboxes.get('agent')).name).toBe('agent')
    await client.sandboxes.delete('agent')
    expect(await failureOf(client.sandboxes.get('agent'))).toMatchObject({ code: 'not_found' })
  })
})

describe('scopes', () => {
  it('are workspaces and vaults, which a client acts within', async () => {
    expect((await client.workspaces.account()).kind).toBe('account')
    const made = await client.workspaces.create({ name: 'team a', externalKey: 'ext/1' })
    expect((await client.workspaces.get('team a')).id).toBe(made.id)
    expect((await client.workspaces.list()).length).toBeGreaterThan(1)
    const inside = client.within({ workspace: 'team a' })
    await inside.vaults.create({ name: 'payments' })
    expect((await inside.vaults.list()).map(({ name }) => name)).toEqual(['payments'])
    expect((await inside.vaults.get('payments')).parentId).toBe(made.id)
    const vault = client.within({ workspace: 'ext/1', vault: 'payments' })
    const secret = await vault.secrets.create({ name: 'deep', value: CANARY })
    expect(secret.workspaceId).toBe(made.id)
    expect(await failureOf(client.secrets.get('deep'))).toMatchObject({ code: 'not_found' })
    expect((await client.within('account').principals.self()).scopeId).toBe((await client.workspaces.account()).id)
    await inside.vaults.delete('payments')
    expect(await client.workspaces.settings('team a')).toMatchObject({ requireHosts: null })
    const changed = await client.workspaces.updateSettings('team a', { requireHosts: true, onDenied: 'withhold' })
    expect(changed).toMatchObject({ requireHosts: true, onDenied: 'withhold' })
    await client.workspaces.delete('team a')
    expect(await failureOf(inside.vaults.list().catch((error: unknown) => Promise.reject(error)))).toMatchObject({
      code: 'not_found',
    })
  })
})

describe('access', () => {
  it('is given by policies, principals and tokens', async () => {
    const policy = await client.policies.create({ path: 'prod/**', permissions: ['list'], principalKind: 'agent' })
    expect((await client.policies.get(policy.id)).path).toBe('prod/**')
    const replaced = await client.policies.replace(policy.id, { path: 'dev/*', permissions: ['use'], effect: 'deny' })
    expect(replaced).toMatchObject({ path: 'dev/*', effect: 'deny' })
    expect(await client.policies.list()).toMatchObject([{ id: policy.id }])
    await client.policies.delete(policy.id)

    const user = await client.principals.create({ kind: 'user', name: 'ada', role: 'viewer' })
    expect((await client.principals.get(user.id)).name).toBe('ada')
    expect((await client.principals.list({ kind: 'user' })).map(({ id }) => id)).toContain(user.id)
    await client.principals.delete(user.id)

    const created = await client.tokens.create({ name: 'ci', role: 'viewer' })
    expect(printed(created)).not.toContain(created.token)
    const viewer = new Coatcheck({ url: api.url, token: async () => created.token })
    expect((await viewer.principals.self()).role).toBe('viewer')
    expect(await failureOf(viewer.tokens.list().finally(() => undefined))).toMatchObject({ code: 'forbidden' })
    expect((await client.tokens.list()).map(({ name }) => name)).toContain('ci')
    await client.tokens.revoke('ci')
    expect(await failureOf(viewer.principals.self())).toMatchObject({ code: 'unauthenticated', status: 401 })
  })
})

describe('the log and the server', () => {
  it('are read', async () => {
    expect((await client.audit.verify()).ok).toBe(true)
    expect((await client.audit.list({ limit: 5 })).length).toBeGreaterThan(5)
    expect(Array.isArray(await client.audit.checkpoints())).toBe(true)
    await client.server.live()
    expect(await client.server.ready()).toMatchObject({ status: 'ready' })
    expect(await client.server.metrics()).toContain('coatcheck_audit_healthy')
    expect(await client.server.openapi()).toMatchObject({ openapi: '3.1.0' })
    expect(await client.server.reference()).toContain('<!doctype html>')
    expect((await client.authority.get()).certificate).toBe(await client.authority.certificate())
    expect(await client.authority.bundle()).toContain('BEGIN CERTIFICATE')
  })

  it('are followed as the log grows, until the loop ends', async () => {
    const follower = client.audit.follow({ secret: 'followed' })
    const first = follower.next()
    await client.secrets.create({ name: 'not-this-one', value: CANARY })
    // The stream begins when the server has it: what is made until then may come before it.
    const making = setInterval(() => void client.secrets.generate('followed'), 300)
    const { value } = await first
    clearInterval(making)
    expect(value).toMatchObject({ kind: 'change', target: { name: 'followed' } })
    await follower.return()
  })

  it('end to be followed when the signal says so', async () => {
    const ending = new AbortController()
    const seen: unknown[] = []
    setTimeout(() => ending.abort(), 100)
    for await (const event of client.audit.follow({ secret: 'nothing' }, { signal: ending.signal })) seen.push(event)
    expect(seen).toEqual([])
  })
})

it('reaches every route of the API', async () => {
  const routes = (await routeTable(api.deps)).filter(({ foreign }) => !foreign)
  const patterns = routes.map(({ method, path }) => ({
    route: `${method} ${path}`,
    pattern: new RegExp(`^${method} ${path.replaceAll(/:[a-zA-Z]+/g, '[^/]+')}$`),
  }))
  expect(
    patterns.filter(({ pattern }) => ![...sent].some((each) => pattern.test(each))).map(({ route }) => route),
  ).toEqual([])
})

it('shows neither token nor values when it is printed', () => {
  expect(printed(client)).not.toContain(api.adminToken)
  expect(printed(client.secrets)).not.toContain(api.adminToken)
})

it('has no value in what the server logged', () => {
  expect(api.log.lines.filter((line) => line.includes(CANARY))).toEqual([])
})
