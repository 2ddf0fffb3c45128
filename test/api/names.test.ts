/**
 * Contract: a name is free text that a secret is found by wherever names are used, however it was typed; one that stands for another's
 * name is that name; and a contract that cannot spell it does not know the secret.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeAll(async () => {
  api = await ApiUnderTest.start()
})
afterAll(async () => await api.stop())

const LABEL = 'Clé d’été: API（本番）, 2nd & last'
const at = (name: string, rest = '') => `/v1/secrets/${encodeURIComponent(name)}${rest}`
const create = (name: string, rest: object = {}) => api.call('POST', '/v1/secrets', { name, value: CANARY, ...rest })

describe('a name of free text', () => {
  it('is found in paths, changed, used and deleted by, however its letters are composed', async () => {
    const made = await create(LABEL.normalize('NFD'), { readPolicy: 'permission' })
    expect([made.status, made.json.name]).toEqual([201, LABEL])
    for (const form of ['NFC', 'NFD', 'NFKC']) {
      expect((await api.call('GET', at(LABEL.normalize(form)))).json.id, form).toBe(made.json.id)
    }
    expect((await api.call('PATCH', at(LABEL), { value: `${CANARY}-2` })).json.version).toBe(2)
    expect((await api.call('POST', at(LABEL, '/value'))).json.value).toBe(`${CANARY}-2`)
    expect((await api.call('POST', at(LABEL, '/generate'), {})).json.version).toBe(3)
    expect((await api.call('GET', `/v1/secrets?prefix=${encodeURIComponent('Cle\u0301 d')}`)).json.items).toHaveLength(
      1,
    )
    expect((await api.call('PATCH', at(LABEL), { name: 'été/hiver' })).json.name).toBe('été/hiver')
    expect((await api.call('DELETE', at('été/hiver'))).status).toBe(204)
  })

  it('has 256 characters, whatever each takes', async () => {
    const longest = '𐐷'.repeat(256)
    expect((await create(longest)).status).toBe(201)
    expect((await api.call('GET', at(longest))).json.name).toBe(longest)
    expect((await create(`${longest}𐐷`)).status).toBe(400)
  })

  it('is mounted by, and stays mounted under a new one', async () => {
    await create('ключ/прод')
    const { json } = await api.call('POST', '/v1/sandboxes', { name: 'box', mounts: { KEY: 'ключ/прод' } })
    expect(json.mounts['KEY']).toBe('ключ/прод')
    await api.call('PATCH', at('ключ/прод'), { name: 'ключ/тест' })
    expect((await api.call('GET', '/v1/sandboxes/box')).json.mounts['KEY']).toBe('ключ/тест')
  })

  it('is in the audit log as it is kept', async () => {
    await create('Schlüssel 1')
    const { items } = (await api.call('GET', `/v1/audit/events?secret=${encodeURIComponent('Schlüssel 1')}`)).json
    expect(items.map((event) => event.target?.name)).toEqual(['Schlüssel 1'])
  })

  it('goes out as JSON and comes back, and a dotenv file leaves it out before its value is read', async () => {
    await create('aus/Prüfung (alt)', { readPolicy: 'permission', maxAccessCount: 2 })
    const left = await api.call('POST', '/v1/secrets/export', { format: 'dotenv', prefix: 'aus/' })
    expect(left.json).toMatchObject({ count: 0, leftOut: [{ name: 'aus/Prüfung (alt)', code: 'invalid_input' }] })
    expect((await api.call('GET', at('aus/Prüfung (alt)'))).json.accessCount).toBe(0)
    const { json } = await api.call('POST', '/v1/secrets/export', { format: 'json', prefix: 'aus/' })
    await api.call('DELETE', at('aus/Prüfung (alt)'))
    const back = await api.call('POST', '/v1/secrets/import', { format: 'json', text: json.text })
    expect(back.json.created).toEqual(['aus/Prüfung (alt)'])
  })
})

describe('a name that stands for another', () => {
  it('is taken when that is', async () => {
    await create('office')
    for (const name of ['oﬃce', 'ｏｆｆｉｃｅ', 'ℴffice']) expect((await create(name)).status, name).toBe(409)
    expect((await create('Office')).status).toBe(201)
    await create('other')
    expect((await api.call('PATCH', at('other'), { name: 'oﬃce' })).status).toBe(409)
  })

  it('is under the policies of that one', async () => {
    await create('prod/key')
    const reader = (await api.call('POST', '/v1/tokens', { name: 'agent', role: 'agent' })).json
    const policy = { principalId: reader.principalId, permissions: ['list', 'write'] }
    await api.call('POST', '/v1/policies', { ...policy, path: 'ｐrod/**' })
    await api.call('POST', '/v1/policies', { ...policy, path: '**', permissions: ['list'] })
    const as = { authorization: `Bearer ${reader.token}` }
    const write = (name: string) => api.call('POST', '/v1/secrets', { name, value: CANARY }, as)
    expect((await write('ｐｒｏｄ/clé')).status).toBe(201)
    expect((await write('test/clé')).status).toBe(403)
    const denial = { path: 'prod/cl*', permissions: ['list'], effect: 'deny', priority: 1 }
    await api.call('POST', '/v1/policies', denial)
    expect((await api.call('GET', at('ｐｒｏｄ/clé'), undefined, as)).status).toBe(404)
    expect((await api.call('GET', at('prod/key'), undefined, as)).status).toBe(200)
  })
})

describe('a contract that cannot spell a name', () => {
  it('neither lists nor gives nor makes it', async () => {
    const { id } = (await create('Geheim für alle')).json
    const call = async (method: string, path: string, body?: object) => {
      const answer = await fetch(`${api.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${api.adminToken}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      })
      return { status: answer.status, text: await answer.text() }
    }
    const name = encodeURIComponent('Geheim für alle')
    const { json: vault } = await api.call('POST', '/v1/vaults', { name: 'v' })
    const lists = [
      '/api/secret',
      '/api/secret/paginated',
      '/v1/workspace_secrets',
      '/api/3/stacks/default/secrets',
      '/api/3/stacks/default/environments',
      `/v1/vaults/${vault.id}/secrets`,
    ]
    for (const path of lists) {
      const { status, text } = await call('GET', path)
      expect([status, text.includes('Geheim')], path).toEqual([200, false])
    }
    for (const path of [
      `/api/secret/${id}`,
      `/api/secret/${name}`,
      `/v1/workspace_secrets/${id}`,
      `/api/3/stacks/default/secrets/${name}`,
      `/api/3/stacks/default/environments/${name}`,
    ]) {
      for (const method of ['GET', 'DELETE']) expect((await call(method, path)).status, `${method} ${path}`).toBe(404)
    }
    const value = CANARY
    const bodies: readonly (readonly [string, string, object, number])[] = [
      ['PATCH', `/api/secret/${id}`, { value }, 404],
      ['PATCH', `/v1/workspace_secrets/${id}`, { spec: { value } }, 404],
      ['PUT', `/api/3/stacks/default/secrets/${name}`, { value }, 404],
      ['POST', '/api/secret', { name: 'Über', value }, 400],
      ['POST', '/v1/workspace_secrets', { metadata: { name: 'Über' }, spec: { value } }, 400],
      ['POST', '/api/3/stacks/default/secrets', { key: 'Über', value }, 422],
      ['PUT', `/v1/vaults/${vault.id}/secrets/${encodeURIComponent('Über')}`, { value }, 400],
    ]
    for (const [method, path, body, status] of bodies) {
      expect((await call(method, path, body)).status, `${method} ${path}`).toBe(status)
    }
    expect((await api.call('GET', at('Geheim für alle'))).json.version).toBe(1)
  })
})
