/** Contract: a call acts where its token is for, or where it says and reaches; what it does not reach is not there. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeAll(async () => {
  api = await ApiUnderTest.start()
})
afterAll(async () => await api.stop())

const at = (scope: string) => ({ 'coatcheck-scope': scope })
const names = async (headers: Record<string, string>) =>
  (await api.call('GET', '/v1/secrets', undefined, headers)).json.items.map(({ name }) => name)
const store = (name: string, headers?: Record<string, string>) =>
  api.call('POST', '/v1/secrets', { name, value: CANARY }, headers)

describe('workspaces and vaults', () => {
  it('keep their secrets apart, and workspaces see the account’s', async () => {
    await api.call('POST', '/v1/workspaces', { name: 'billing team', externalKey: 'stack-7' })
    await api.call('POST', '/v1/vaults', { name: 'deep' }, at('workspace=billing%20team'))
    await store('of-account', at('account'))
    await store('of-default')
    await store('of-billing', at('workspace=stack-7'))
    await store('of-vault', at('workspace=billing%20team; vault=deep'))
    expect(await names(at('account'))).toEqual(['of-account'])
    expect(await names({})).toEqual(['of-account', 'of-default'])
    expect(await names(at('workspace=stack-7'))).toEqual(['of-account', 'of-billing'])
    expect(await names(at('workspace=stack-7; vault=deep'))).toEqual(['of-vault'])
    expect((await api.call('GET', '/v1/account')).json.kind).toBe('account')
  })

  it('are refused when the header is none of its forms, and not found when they are not there', async () => {
    for (const scope of [
      '',
      'workspace',
      'workspace=',
      'account; vault=x',
      'workspace=%zz',
      'x=y',
      'vault=a; workspace=b',
    ]) {
      expect((await api.call('GET', '/v1/secrets', undefined, at(scope))).status, scope).toBe(scope === '' ? 200 : 400)
    }
    for (const scope of ['workspace=nope', 'vault=nope', 'workspace=stack-7; vault=nope']) {
      expect((await api.call('GET', '/v1/secrets', undefined, at(scope))).status, scope).toBe(404)
    }
  })

  it('bound a token: it does not reach its account, its siblings or what is above', async () => {
    const { json: workspace } = await api.call('GET', '/v1/workspaces/stack-7')
    const made = await api.call(
      'POST',
      '/v1/tokens',
      { name: 'limited', scopeId: workspace.id, role: 'admin' },
      at('workspace=stack-7'),
    )
    const own = { authorization: `Bearer ${made.json.token}` }
    expect(await names(own)).toEqual(['of-account', 'of-billing'])
    expect((await api.call('GET', '/v1/principals/self', undefined, own)).json).toMatchObject({
      role: 'admin',
      workspaceId: workspace.id,
    })
    for (const scope of ['account', 'workspace=default']) {
      expect((await api.call('GET', '/v1/secrets', undefined, { ...own, ...at(scope) })).status, scope).toBe(404)
    }
    const escalated = await api.call('POST', '/v1/tokens', { name: 'up', scopeId: workspace.parentId }, own)
    expect([400, 403, 404]).toContain(escalated.status)
  })

  it('are changed in their settings and deleted with what is in them', async () => {
    const patch = await api.call('PATCH', '/v1/workspaces/stack-7/settings', {
      requireHosts: true,
      placements: ['basic'],
    })
    expect(patch.json).toEqual({ requireHosts: true, onDenied: null, inBody: null, placements: ['basic'] })
    expect((await store('without-hosts', at('workspace=stack-7'))).status).toBe(400)
    expect((await api.call('DELETE', '/v1/workspaces/stack-7')).status).toBe(204)
    expect((await api.call('GET', '/v1/secrets', undefined, at('workspace=stack-7'))).status).toBe(404)
    expect((await api.call('DELETE', '/v1/workspaces/default')).status).toBe(409)
  })
})

describe('policies', () => {
  it('give and take by path; deny wins; a token of an agent has what they give and no more', async () => {
    const made = await api.call('POST', '/v1/tokens', { name: 'agent', role: 'agent' })
    const agent = { authorization: `Bearer ${made.json.token}` }
    const { principalId } = made.json
    const fields = { value: CANARY, readPolicy: 'permission' }
    for (const name of ['prod/a', 'prod/b', 'dev/a']) await api.call('POST', '/v1/secrets', { name, ...fields })
    const allow = { path: 'prod/**', permissions: ['list', 'read'], principalId }
    const policy = await api.call('POST', '/v1/policies', allow)
    expect(policy.status).toBe(201)
    await api.call('POST', '/v1/policies', { path: 'prod/b', permissions: ['read'], principalId, effect: 'deny' })
    expect(await names(agent)).toEqual(['prod/a', 'prod/b'])
    const read = async (name: string) =>
      (await api.call('POST', `/v1/secrets/${encodeURIComponent(name)}/value`, undefined, agent)).status
    expect([await read('prod/a'), await read('prod/b'), await read('dev/a')]).toEqual([200, 403, 404])
    expect((await api.call('PUT', `/v1/policies/${policy.json.id}`, { ...allow, permissions: ['list'] })).status).toBe(
      200,
    )
    expect(await read('prod/a')).toBe(403)
    expect((await api.call('DELETE', `/v1/policies/${policy.json.id}`)).status).toBe(204)
    expect(await names(agent)).toEqual([])
  })
})

describe('tokens', () => {
  it('say what they are for, and pub_ is for reading metadata alone', async () => {
    const sec = await api.call('POST', '/v1/tokens', { name: 'sec', prefix: 'sec_', expiresAt: '2030-02-01T00:00:00Z' })
    expect(sec.json).toMatchObject({
      role: 'member',
      audience: 'control',
      prefix: 'sec_',
      expiresAt: '2030-02-01T00:00:00.000Z',
    })
    expect(sec.json.token).toMatch(/^sec_/)
    const pub = await api.call('POST', '/v1/tokens', { name: 'pub', prefix: 'pub_' })
    const own = { authorization: `Bearer ${pub.json.token}` }
    expect((await api.call('GET', '/v1/secrets/prod%2Fa', undefined, own)).json.hint).toBe('••••8f21')
    expect((await store('x', own)).status).toBe(403)
    expect((await api.call('POST', '/v1/secrets/prod%2Fa/value', undefined, own)).status).toBe(403)
    expect((await api.call('POST', '/v1/tokens', { name: 'p2', prefix: 'pub_', role: 'admin' })).status).toBe(400)
  })

  it('stop at their expiry, also when the clock is set back', async () => {
    const { json } = await api.call('POST', '/v1/tokens', { name: 'short', expiresAt: '2030-01-02T00:00:00Z' })
    const own = { authorization: `Bearer ${json.token}` }
    expect((await api.call('GET', '/v1/secrets', undefined, own)).status).toBe(200)
    api.clock.now += 2 * 86_400_000
    expect((await api.call('GET', '/v1/secrets', undefined, own)).status).toBe(401)
    api.clock.now -= 2 * 86_400_000
    expect((await api.call('GET', '/v1/secrets', undefined, own)).status).toBe(401)
  })
})
