/** Contract: files go in secret by secret with a report, and come out with what may be read; reports tell which secret a mount means. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeAll(async () => {
  api = await ApiUnderTest.start()
})
afterAll(async () => await api.stop())

const post = (path: string, body?: unknown, headers?: Record<string, string>) => api.call('POST', path, body, headers)

describe('an import', () => {
  it('makes what is new and refuses, skips or replaces what is there, as asked', async () => {
    const text = `A="${CANARY}"\nB="${CANARY}-b"\n`
    const first = await post('/v1/secrets/import', { format: 'dotenv', text })
    expect(first.json).toEqual({ created: ['A', 'B'], replaced: [], skipped: [], failed: [] })
    const again = await post('/v1/secrets/import', { format: 'dotenv', text })
    expect(again.json.failed.map(({ name, code }) => [name, code])).toEqual([
      ['A', 'conflict'],
      ['B', 'conflict'],
    ])
    expect((await post('/v1/secrets/import', { format: 'dotenv', text, ifExists: 'skip' })).json.skipped).toEqual([
      'A',
      'B',
    ])
    expect((await post('/v1/secrets/import', { format: 'dotenv', text, ifExists: 'replace' })).json.replaced).toEqual([
      'A',
      'B',
    ])
    expect((await api.call('GET', '/v1/secrets/A')).json.version).toBe(2)
  })

  it('says what is wrong without any value, and keeps the rest', async () => {
    const secrets = [
      { name: 'good', value: CANARY, hosts: ['a.example'] },
      { name: 'bad=host', value: CANARY },
    ]
    const answer = await post('/v1/secrets/import', { format: 'json', text: JSON.stringify({ secrets }) })
    expect(answer.json.created).toEqual(['good'])
    expect(answer.json.failed).toMatchObject([{ name: 'secrets[1]', code: 'invalid_input' }])
    for (const text of [`not a line ${CANARY}`, `{"secrets": [{"value": "${CANARY}"}]}`, `{${CANARY}`]) {
      for (const format of ['dotenv', 'json']) {
        const refused = await post('/v1/secrets/import', { format, text })
        expect([refused.status, refused.text.includes(CANARY)]).toEqual([400, false])
      }
    }
  })
})

describe('an export', () => {
  it('holds what may be read, names what may not, and counts as reads', async () => {
    await post('/v1/secrets', { name: 'out/one', value: CANARY, readPolicy: 'permission', maxAccessCount: 5 })
    await post('/v1/secrets', { name: 'out/two', value: CANARY })
    const { json } = await post('/v1/secrets/export', { format: 'json', prefix: 'out/' })
    expect([json.count, json.leftOut]).toEqual([1, [{ name: 'out/two', code: 'forbidden' }]])
    const file = JSON.parse(json.text) as {
      readonly secrets: readonly { readonly name: string; readonly value: string }[]
    }
    expect(file.secrets).toMatchObject([{ name: 'out/one', value: CANARY }])
    expect((await api.call('GET', '/v1/secrets/out%2Fone')).json.accessCount).toBe(1)
  })

  it('as dotenv holds names and values only, so that other placements are to be said again', async () => {
    await post('/v1/secrets', {
      name: 'ROUND',
      value: `${CANARY} "$x"\n`,
      readPolicy: 'permission',
      placements: ['body'],
    })
    const { json } = await post('/v1/secrets/export', { format: 'dotenv', prefix: 'ROUND' })
    await api.call('DELETE', '/v1/secrets/ROUND')
    const placed = await post('/v1/secrets/import', { format: 'dotenv', text: json.text })
    // A dotenv file says nothing of placements, so a value with a line break is refused by the default ones.
    expect(placed.json.failed).toMatchObject([{ name: 'ROUND', code: 'invalid_input' }])
  })
})

describe('reports', () => {
  it('explain which secret a mount means, and why another does not win', async () => {
    const account = { 'coatcheck-scope': 'account' }
    await post('/v1/secrets', { name: 'shared', value: CANARY, hosts: ['a.example'] }, account)
    await post('/v1/sandboxes', { name: 'box', mounts: { SHARED: 'shared' } })
    const inherited = (await api.call('GET', '/v1/secrets/effective?sandbox=box')).json.mounts
    expect(inherited).toMatchObject([
      { env: 'SHARED', secret: { inherited: true }, hosts: ['a.example'], refusal: null },
    ])
    await post('/v1/secrets', { name: 'shared', value: CANARY, hosts: ['b.example'] })
    const own = (await api.call('GET', '/v1/secrets/effective?sandbox=box')).json.mounts
    expect(own).toMatchObject([{ secret: { inherited: false }, hosts: ['b.example'], others: [{ why: 'overridden' }] }])
    await api.call('DELETE', '/v1/secrets/shared')
    const exposed = (await api.call('GET', '/v1/secrets/effective?sandbox=box')).json.mounts
    expect(exposed).toMatchObject([{ secret: { inherited: true }, hosts: ['a.example'] }])
    expect((await api.call('GET', '/v1/secrets/effective?sandbox=nope')).status).toBe(404)
  })

  it('list what nobody used since, and what is due for rotation', async () => {
    await post('/v1/secrets', { name: 'stale', value: CANARY, rotationPolicy: { everyDays: 1 } })
    api.clock.now += 3 * 86_400_000
    const since = new Date(api.clock.now).toISOString()
    const unused = (await api.call('GET', `/v1/secrets/unused?since=${since}&limit=200`)).text
    expect(unused).toContain('"name":"stale"')
    expect((await api.call('GET', '/v1/secrets/rotation-due')).json.items.map(({ name }) => name)).toEqual(['stale'])
  })
})
