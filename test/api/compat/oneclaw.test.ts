/** 1Claw's contract where it could go wrong: reads that may and may not be, 410, versions, paths, policies and exchanged tokens. */
import http from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../../src/core/secret.ts'
import { type Caller, CompatApp } from './support/compat-app.ts'

let app: CompatApp
let key: string
let call: Caller
let vault: string
let base: string

beforeAll(async () => {
  app = await CompatApp.start()
  key = await app.mint({ role: 'admin', prefix: '1ck_' })
  call = app.as(key)
  vault = (await call('POST', '/v1/vaults', { name: 'prod', description: 'd' })).json.id
  base = `/v1/vaults/${vault}`
})

afterAll(async () => {
  await app.stop()
})

const put = (path: string, body: object) => call('PUT', `${base}/secrets/${path}`, body)
const get = (path: string) => call('GET', `${base}/secrets/${path}`)

/** The path as it is written, which fetch would resolve. */
async function getRaw(path: string): Promise<{ readonly status: number; readonly body: string }> {
  const { hostname, port } = new URL(app.app.apiUrl)
  const headers = { authorization: `Bearer ${key}` }
  return await new Promise((resolve, reject) => {
    const sent = http.get({ hostname, port, path, headers }, (answer) => {
      text(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body }), reject)
    })
    sent.once('error', reject)
  })
}

describe('a PUT', () => {
  it('is always 201 and the next version, unset where it says nothing but for the type', async () => {
    const first = await put('api-keys/openai', {
      value: 'sk-one',
      type: 'api_key',
      metadata: { tags: ['a'] },
      expires_at: '2099-01-01T00:00:00Z',
      max_access_count: 9,
    })
    expect(first).toMatchObject({
      status: 201,
      json: { version: 1, secret_type: 'api_key', metadata: { tags: ['a'] } },
    })
    const second = await put('api-keys/openai', { value: 'sk-two' })
    expect(second).toMatchObject({
      status: 201,
      json: { id: first.json.id, version: 2, type: 'api_key', metadata: {} },
    })
    expect(second.json).not.toHaveProperty('expires_at')
    expect((await put('aliased', { value: 'x', secret_type: 'password' })).json.type).toBe('password')
    expect((await put('plain', { value: 'x' })).json.type).toBe('generic')
    expect(first.text + second.text).not.toContain('sk-')
  })

  it('to a deleted path revives it as its next version', async () => {
    const { json } = await put('revived', { value: 'one' })
    expect((await call('DELETE', `${base}/secrets/revived`)).status).toBe(204)
    expect((await put('revived', { value: 'two' })).json).toMatchObject({ id: json.id, version: 2 })
    expect((await get('revived')).json.value).toBe('two')
  })
})

describe('a GET', () => {
  it('gives the value as often as it may be read, and is recorded', async () => {
    await put('counted', { value: 'sk-counted', max_access_count: 2 })
    const answers = [await get('counted'), await get('counted'), await get('counted')]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 410])
    expect(answers[0]?.json).toMatchObject({ value: 'sk-counted', path: 'counted' })
    expect(answers[0]?.json.created_by).toMatch(/^user:/)
    expect(answers[2]?.json).toMatchObject({ type: 'about:blank', title: 'Gone', status: 410 })
    const { json } = await call('GET', `/v1/audit/events?resource_id=${answers[0]?.json.id}&action=secret.read`)
    expect(json.count).toBe(2)
    expect(JSON.stringify(json)).not.toContain('sk-counted')
  })

  it('is no HEAD: one uses up nothing', async () => {
    await put('headed', { value: 'sk-headed', max_access_count: 1 })
    expect((await call('HEAD', `${base}/secrets/headed`)).status).toBe(404)
    expect((await get('headed')).json.value).toBe('sk-headed')
  })

  it('of what was deleted or disabled is 410, of what never was 404', async () => {
    await put('off', { value: 'one' })
    await put('off', { value: 'two' })
    expect((await call('POST', `${base}/secret-version-disable/off/1`)).status).toBe(204)
    expect((await call('GET', `${base}/secret-version/off/1`)).status).toBe(410)
    expect((await get('off')).json.value).toBe('two')
    const { versions } = (await call('GET', `${base}/secret-versions/off`)).json
    expect(versions.map((each) => each.is_disabled)).toEqual([true, false])
    await call('DELETE', `${base}/secrets/off`)
    expect((await get('off')).status).toBe(410)
    expect((await get('no/such')).status).toBe(404)
  })

  it('of a secret that is write-only is 403, also after a PUT', async () => {
    const there = await app.app.data.vaults.enter(app.owner, vault)
    await app.app.data.secrets.create(there, { name: 'write-only', value: SecretValue.fromText('sk-never') })
    const refused = await get('write-only')
    expect(refused).toMatchObject({ status: 403, json: { title: 'Forbidden' } })
    await put('write-only', { value: 'sk-never-2' })
    expect((await get('write-only')).status).toBe(403)
    expect(refused.text).not.toContain('sk-never')
  })
})

describe('paths', () => {
  it('are taken with their slashes raw and encoded', async () => {
    await put('a/b/c', { value: 'deep' })
    for (const path of ['a/b/c', 'a%2Fb%2Fc', 'a/b%2fc']) expect((await get(path)).json.value).toBe('deep')
    expect((await call('GET', `${base}/secret-version/a%2Fb%2Fc/1`)).json.value).toBe('deep')
    await put('team/rotate', { value: 'no special name' })
    expect((await get('team/rotate')).status).toBe(200)
  })

  it.each(['a/../b', 'a/%2e%2e/b', 'a/./b', 'a//b', '%2Fa', 'a%2F', 'a%252Fb', 'a%00b', 'a.b'])(
    '%s is refused',
    async (path) => {
      const { status, body } = await getRaw(`${base}/secrets/${path}`)
      expect(status).toBe(400)
      expect(JSON.parse(body)).toMatchObject({ type: 'about:blank', status: 400 })
    },
  )
})

describe('generated values', () => {
  it('are the next version, read like any other', async () => {
    await put('made', { value: 'old' })
    const { status, json } = await call('POST', `${base}/secret-rotate/made`, { length: 48, charset: 'alphanumeric' })
    expect([status, json.version, 'value' in json]).toEqual([201, 2, false])
    expect((await get('made')).json.value).toMatch(/^[A-Za-z0-9]{48}$/)
    expect((await call('POST', `${base}/secret-rotate/never-there`, {})).status).toBe(404)
    expect((await call('POST', `${base}/secret-rotate/made`, { length: 7 })).status).toBe(400)
  })
})

describe('policies', () => {
  it('let an agent read and list what they say, and deny wins', async () => {
    const { data } = app.app
    const agent = await data.principals.create(app.owner, { kind: 'agent', name: 'bot', role: 'agent' })
    const asAgent = app.as(await app.mint({ principalId: agent.id, prefix: 'ocv_' }))
    await put('shared/one', { value: 'one' })
    await put('shared/two', { value: 'two' })
    expect((await asAgent('GET', `${base}/secrets`)).json.secrets).toEqual([])
    const about = { secret_path_pattern: 'shared/**', principal_type: 'agent', principal_id: agent.id }
    const made = await call('POST', `${base}/policies`, { ...about, permissions: ['read'] })
    expect(made).toMatchObject({
      status: 201,
      json: { ...about, permissions: ['read'], effect: 'allow', vault_id: vault },
    })
    const deny = { ...about, secret_path_pattern: 'shared/two', permissions: ['read'], effect: 'deny' }
    const denied = await call('POST', `${base}/policies`, deny)
    const { secrets } = (await asAgent('GET', `${base}/secrets`)).json
    expect(secrets.map((each) => each.path)).toEqual(['shared/one'])
    expect((await asAgent('GET', `${base}/secrets/shared/one`)).json.value).toBe('one')
    expect((await asAgent('GET', `${base}/secrets/shared/two`)).status).toBe(404)
    expect((await asAgent('PUT', `${base}/secrets/shared/one`, { value: 'x' })).status).toBe(403)
    const changed = await call('PUT', `${base}/policies/${denied.json.id}`, { permissions: ['write'] })
    expect(changed.json).toMatchObject({ permissions: ['write'], effect: 'deny', secret_path_pattern: 'shared/two' })
    expect((await call('GET', `${base}/policies`)).json.policies).toHaveLength(2)
    expect((await call('DELETE', `${base}/policies/${denied.json.id}`)).status).toBe(204)
  })
})

describe('tokens', () => {
  const exchange = (api_key: string, path = 'api-key-token', rest: object = {}) =>
    app.call('POST', `/v1/auth/${path}`, { api_key, ...rest }, { authorization: '' })

  it('are exchanged for one with the form of a JWT, which ends with its key', async () => {
    const revocable = await app.mint({ name: 'revocable', role: 'admin', prefix: '1ck_' })
    const { json } = await exchange(revocable)
    const [, claims = ''] = json.access_token.split('.')
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { readonly exp: number }
    expect(exp * 1000).toBeGreaterThan(Date.now())
    expect(json).toMatchObject({ token_type: 'Bearer', expires_in: 900 })
    expect(json.access_token).not.toContain(revocable)
    const exchanged = app.as(json.access_token)
    expect((await exchanged('GET', `${base}/secrets`)).status).toBe(200)
    const changed = json.access_token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
    expect((await app.as(changed)('GET', `${base}/secrets`)).status).toBe(401)
    await app.app.data.tokens.revoke(app.owner, 'revocable')
    expect((await exchanged('GET', `${base}/secrets`)).status).toBe(401)
  })

  it('of an agent say which agent, and are refused to another', async () => {
    const agent = await app.mint({ role: 'agent', prefix: 'ocv_' })
    const { json } = await exchange(agent, 'agent-token')
    expect(json.agent_id).toMatch(/^[0-9a-f-]{36}$/)
    expect((await exchange(agent, 'agent-token', { agent_id: json.agent_id })).status).toBe(200)
    expect((await exchange(agent, 'agent-token', { agent_id: 'another' })).status).toBe(401)
    expect((await exchange('1ck_wrong')).json).toMatchObject({ title: 'Unauthorized', status: 401 })
  })

  it('decide which contract answers on a path that the API has too', async () => {
    expect((await call('GET', '/v1/vaults')).json).toHaveProperty('vaults')
    expect((await app.call('GET', '/v1/vaults')).json).toHaveProperty('items')
    expect((await call('GET', '/v1/audit/verify')).json.valid).toBe(true)
    expect((await app.call('GET', '/v1/audit/events')).json).toHaveProperty('items')
  })
})

it('a native token does all of it as it is, and gets native documents on the paths that the API has too', async () => {
  const native = app.as(await app.mint({ role: 'admin', name: 'native' }))
  const made = await native('POST', '/v1/vaults', { name: 'native', description: '' })
  expect([made.status, made.json.name]).toEqual([201, 'native'])
  const there = `/v1/vaults/${made.json.id}`
  expect((await native('PUT', `${there}/secrets/a/b`, { value: 'one', max_access_count: 1 })).json.version).toBe(1)
  expect((await native('GET', `${there}/secrets/a/b`)).json.value).toBe('one')
  expect((await native('GET', `${there}/secrets/a%2Fb`)).status).toBe(410)
  const policy = { secret_path_pattern: 'a/**', principal_type: 'user', principal_id: 'x', permissions: ['read'] }
  expect((await native('POST', `${there}/policies`, policy)).status).toBe(201)
  const asked = `principal=${encodeURIComponent('token:native')}&until=2099-01-01T00:00:00Z`
  const log = await native('GET', `/v1/audit/events?action=secret.read&limit=5&${asked}`)
  expect(log.json.items.map((event) => event.action)).toEqual(['secret.read'])
  expect((await native('GET', '/v1/vaults')).json.items.map(({ name }) => name)).toContain('native')
  expect((await native('GET', there)).json.createdAt).toBeTypeOf('string')
  expect((await native('DELETE', there)).status).toBe(204)
  expect((await native('GET', `${there}/secrets/a/b`)).status).toBe(404)
})

it('a vault may be named as another one is, and a deleted one is gone with its secrets', async () => {
  const { json, status } = await call('POST', '/v1/vaults', { name: 'prod' })
  expect([status, json.name]).toEqual([201, 'prod'])
  await call('PUT', `/v1/vaults/${json.id}/secrets/k`, { value: 'x' })
  expect((await call('DELETE', `/v1/vaults/${json.id}`)).status).toBe(204)
  expect((await call('GET', `/v1/vaults/${json.id}/secrets/k`)).status).toBe(404)
  expect((await call('GET', `/v1/vaults/${json.id}`)).status).toBe(404)
})
