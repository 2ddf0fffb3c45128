/** Contract: the answer that makes a token shows it, with everything a workload needs; no other answer does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiUnderTest } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeEach(async () => {
  api = await ApiUnderTest.start()
  await api.call('POST', '/v1/secrets', { name: 'openai', value: 'a value that is long enough' })
})
afterEach(() => api.stop())

const create = (fields: object = {}) =>
  api.call('POST', '/v1/sandboxes', { name: 'agent', mounts: { KEY: 'openai' }, ...fields })

describe('sandboxes', () => {
  it('are made with a token, a proxy URL and the whole environment', async () => {
    const { status, json } = await create()
    expect(status).toBe(201)
    expect(Object.keys(json).toSorted()).toEqual(
      ['createdAt', 'env', 'id', 'mounts', 'name', 'proxyUrl', 'token', 'updatedAt', 'workspaceId'].toSorted(),
    )
    expect(json.proxyUrl).toBe(`http://agent:${json.token}@127.0.0.1:8080`)
    expect(json.mounts).toEqual({ KEY: 'openai' })
    expect(json.env).toMatchObject({
      KEY: (await api.call('GET', '/v1/secrets/openai')).json.placeholder,
      HTTPS_PROXY: json.proxyUrl,
      https_proxy: json.proxyUrl,
      NODE_USE_ENV_PROXY: '1',
      NODE_EXTRA_CA_CERTS: '/trust/ca.pem',
      SSL_CERT_FILE: '/trust/bundle.pem',
    })
  })

  it('have no trust variables when nothing was exported', async () => {
    const bare = await ApiUnderTest.start({ trust: null })
    const { json } = await bare.call('POST', '/v1/sandboxes', { name: 'agent' })
    expect(Object.keys(json.env)).not.toContain('SSL_CERT_FILE')
    expect(Object.keys(json.env)).toContain('HTTPS_PROXY')
    await bare.stop()
  })

  it('show no token once they were made', async () => {
    const { json } = await create()
    for (const path of [
      '/v1/sandboxes',
      '/v1/sandboxes/agent',
      '/v1/sandboxes/agent/env',
      `/v1/sandboxes/${json.id}`,
    ]) {
      const answer = await api.call('GET', path)
      expect(answer.status, path).toBe(200)
      expect(answer.text, path).not.toContain(json.token)
    }
  })

  it('tell their environment again, with a proxy URL that names them', async () => {
    const { json } = await create()
    const again = await api.call('GET', '/v1/sandboxes/agent/env')
    expect(again.json.proxyUrl).toBe('http://agent@127.0.0.1:8080')
    expect(Object.keys(again.json.env)).toEqual(Object.keys(json.env))
  })

  it('get a new token, with the environment that goes with it', async () => {
    const { json } = await create()
    const rotated = await api.call('POST', '/v1/sandboxes/agent/token')
    expect(rotated.status).toBe(200)
    expect(rotated.json.token).not.toBe(json.token)
    expect(rotated.json.env['HTTPS_PROXY']).toBe(`http://agent:${rotated.json.token}@127.0.0.1:8080`)
  })

  it('have all their mounts replaced', async () => {
    await create()
    const replaced = await api.call('PUT', '/v1/sandboxes/agent/mounts', { mounts: { OTHER: 'openai' } })
    expect(replaced.json.mounts).toEqual({ OTHER: 'openai' })
    expect((await api.call('PUT', '/v1/sandboxes/agent/mounts', { mounts: {} })).json.mounts).toEqual({})
  })

  it('answer 400 for a mount of a secret that does not exist, and 404 for a sandbox that does not', async () => {
    expect((await create({ mounts: { KEY: 'nope' } })).status).toBe(400)
    expect((await api.call('GET', '/v1/sandboxes/nope')).status).toBe(404)
  })

  it('are deleted with 204', async () => {
    await create()
    expect((await api.call('DELETE', '/v1/sandboxes/agent')).status).toBe(204)
    expect((await api.call('GET', '/v1/sandboxes')).json).toEqual({ items: [], nextCursor: null })
  })
})
