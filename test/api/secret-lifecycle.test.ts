/** Contract: a value is read by who may, as often as it may, and never from a secret that says so; versions and deletions say what they are. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest
let member: Record<string, string>

beforeAll(async () => {
  api = await ApiUnderTest.start()
  const { json } = await api.call('POST', '/v1/tokens', { name: 'member', role: 'member' })
  member = { authorization: `Bearer ${json.token}` }
})
afterAll(async () => await api.stop())

const post = (path: string, body?: unknown, headers?: Record<string, string>) => api.call('POST', path, body, headers)
const create = async (name: string, fields: object = {}) =>
  await post('/v1/secrets', { name, value: CANARY, ...fields })
const readable = { readPolicy: 'permission' }

describe('a value', () => {
  it('is read by an admin, with how often it was and may be', async () => {
    await create('a', { ...readable, maxAccessCount: 2 })
    const { status, json, headers } = await post('/v1/secrets/a/value')
    expect([status, headers['cache-control']]).toEqual([200, 'no-store'])
    expect(json).toMatchObject({
      name: 'a',
      version: 1,
      encoding: 'utf8',
      value: CANARY,
      accessCount: 1,
      maxAccessCount: 2,
    })
  })

  it('is gone, with 410, once it was read as often as it may be', async () => {
    await create('once', { ...readable, maxAccessCount: 1 })
    expect((await post('/v1/secrets/once/value')).status).toBe(200)
    const second = await post('/v1/secrets/once/value')
    expect([second.status, second.json.error.code]).toEqual([410, 'gone'])
    expect((await api.call('GET', '/v1/secrets/once')).json).toMatchObject({ state: 'exhausted', accessCount: 1 })
  })

  it('is not read of a secret that is write-only, nor by a role without the permission: both are 403 and recorded', async () => {
    await create('never')
    await create('b', readable)
    for (const answer of [
      await post('/v1/secrets/never/value'),
      await post('/v1/secrets/b/value', undefined, member),
    ]) {
      expect([answer.status, answer.json.error.code]).toEqual([403, 'forbidden'])
      expect(answer.text).not.toContain(CANARY)
    }
    const denied = (await api.call('GET', '/v1/audit/events?secret=never')).json.items.map(({ action }) => action)
    expect(denied).toContain('secret.read.denied')
  })

  it('that was written as never readable stays so', async () => {
    await create('tight')
    const answer = await api.call('PATCH', '/v1/secrets/tight', readable)
    expect([answer.status, answer.json.error.code]).toEqual([409, 'conflict'])
  })

  it('is recorded before it leaves: with the log gone nothing is read', async () => {
    await create('unlogged', readable)
    const deaf = await ApiUnderTest.start()
    await deaf.call('POST', '/v1/secrets', { name: 'unlogged', value: CANARY, ...readable })
    await deaf.data.audit.close()
    const answer = await deaf.call('POST', '/v1/secrets/unlogged/value')
    expect([answer.status, answer.json.error.code]).toEqual([503, 'audit_unavailable'])
    expect(answer.text).not.toContain(CANARY)
    await deaf.stop()
  })
})

describe('versions', () => {
  it('are read, disabled and enabled one by one', async () => {
    await create('v', readable)
    await api.call('PATCH', '/v1/secrets/v', { value: `${CANARY}-2` })
    expect((await post('/v1/secrets/v/versions/1/value')).json.value).toBe(CANARY)
    expect((await post('/v1/secrets/v/versions/2/disable')).json).toMatchObject({ version: 2, state: 'disabled' })
    expect((await post('/v1/secrets/v/value')).status).toBe(410)
    expect((await api.call('GET', '/v1/secrets/v')).json.state).toBe('disabled')
    expect((await post('/v1/secrets/v/versions/2/enable')).json).toMatchObject({ disabledAt: null, state: 'current' })
    expect((await post('/v1/secrets/v/value')).json.value).toBe(`${CANARY}-2`)
    expect((await api.call('GET', '/v1/secrets/v/versions/3')).status).toBe(404)
    expect((await api.call('GET', '/v1/secrets/v/versions/x')).status).toBe(400)
  })

  it('are guarded by If-Match: another version is 412 and changes nothing', async () => {
    const { headers } = await create('guarded')
    expect(headers['etag']).toBe('"1"')
    const first = await api.call('PATCH', '/v1/secrets/guarded', { value: `${CANARY}-2` }, { 'if-match': '"1"' })
    expect([first.status, first.headers['etag']]).toEqual([200, '"2"'])
    const stale = await api.call('PATCH', '/v1/secrets/guarded', { value: `${CANARY}-3` }, { 'if-match': '"1"' })
    expect([stale.status, stale.json.error.code]).toEqual([412, 'precondition_failed'])
    expect(stale.json.error.hint).toContain('send the version that is there now')
    expect((await api.call('GET', '/v1/secrets/guarded')).json.version).toBe(2)
    expect((await api.call('PATCH', '/v1/secrets/guarded', {}, { 'if-match': 'W/"2"' })).status).toBe(400)
    expect((await api.call('PATCH', '/v1/secrets/guarded', { value: CANARY }, { 'if-match': '*' })).status).toBe(200)
  })
})

describe('a secret', () => {
  it('softly deleted is 410 until it is revived, with its placeholder', async () => {
    const { json } = await create('soft')
    expect((await api.call('DELETE', '/v1/secrets/soft?soft=true')).status).toBe(204)
    expect((await api.call('GET', '/v1/secrets/soft')).status).toBe(410)
    expect((await api.call('GET', '/v1/secrets?deleted=true&name=soft')).json.items).toMatchObject([
      { state: 'deleted' },
    ])
    const revived = await post('/v1/secrets/soft/revive')
    expect([revived.status, revived.json.placeholder]).toEqual([200, json.placeholder])
  })

  it('gets a random value nobody sees, and is made when there is none', async () => {
    const made = await post('/v1/secrets/random/generate', { length: 40, charset: 'alphanumeric' })
    expect([made.status, made.json.version]).toEqual([201, 1])
    const next = await post('/v1/secrets/random/generate', {})
    expect([next.status, next.json.version]).toEqual([200, 2])
    expect((await post('/v1/secrets/random/generate', { length: 7 })).status).toBe(400)
  })

  it('is renamed, and found by every filter, sorted and counted', async () => {
    const labels = { env: 'prod', team: 'f' }
    await create('filter/one', { labels, externalId: 'x-1', type: 'api_key', description: 'For Payments' })
    await create('filter/two', { labels: { env: 'prod' } })
    const found = async (query: string) =>
      (await api.call('GET', `/v1/secrets?${query}`)).json.items.map(({ name }) => name)
    expect(await found('prefix=filter/')).toEqual(['filter/one', 'filter/two'])
    expect(await found('prefix=filter/&order=desc')).toEqual(['filter/two', 'filter/one'])
    expect(await found('labels=env=prod,team=f')).toEqual(['filter/one'])
    expect(await found('label=team=f')).toEqual(['filter/one'])
    expect(await found('externalId=x-1')).toEqual(['filter/one'])
    expect(await found('query=payments')).toEqual(['filter/one'])
    expect(await found('prefix=filter/&type=api_key')).toEqual(['filter/one'])
    expect((await api.call('GET', '/v1/secrets?prefix=filter/&limit=1&total=true')).json).toMatchObject({ total: 2 })
    expect((await api.call('GET', '/v1/secrets?labels=nonsense')).status).toBe(400)
    expect((await api.call('PATCH', '/v1/secrets/filter%2Ftwo', { name: 'filter/three' })).json.name).toBe(
      'filter/three',
    )
  })
})

describe('an Idempotency-Key', () => {
  const key = { 'idempotency-key': 'k-1' }

  it('repeats the answer of the same request, and refuses another one', async () => {
    const body = { name: 'again', value: CANARY }
    const [first, second] = [await post('/v1/secrets', body, key), await post('/v1/secrets', body, key)]
    expect([first.status, second.status, second.text]).toEqual([201, 201, first.text])
    expect(second.headers['idempotency-replayed']).toBe('true')
    const other = await post('/v1/secrets', { ...body, value: `${CANARY}-other` }, key)
    expect([other.status, other.json.error.code]).toEqual([409, 'conflict'])
    expect(other.text).not.toContain(CANARY)
  })

  it('is of one principal and one place', async () => {
    const mine = await post('/v1/secrets', { name: 'mine', value: CANARY }, { ...key, ...member })
    expect([mine.status, mine.headers['idempotency-replayed']]).toEqual([201, undefined])
    const vault = await post('/v1/vaults', { name: 'mine' }, key)
    expect(vault.status).toBe(201)
  })

  it('is free again after a refusal', async () => {
    const used = { 'idempotency-key': 'k-2' }
    expect((await post('/v1/secrets', { name: 'mine', value: CANARY }, used)).status).toBe(409)
    expect((await post('/v1/secrets', { name: 'mine-2', value: CANARY }, used)).status).toBe(201)
  })

  it('never keeps a token: the repetition says so', async () => {
    const body = { name: 'token-once' }
    const first = await post('/v1/tokens', body, key)
    const second = await post('/v1/tokens', body, key)
    expect([first.status, second.status, second.text.includes(first.json.token)]).toEqual([201, 409, false])
  })

  it('of strange form is refused', async () => {
    for (const strange of ['a b', 'x'.repeat(256)]) {
      expect((await post('/v1/secrets', { name: 'x', value: CANARY }, { 'idempotency-key': strange })).status).toBe(400)
    }
  })
})
