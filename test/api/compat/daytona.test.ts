/** Daytona's contract where it could go wrong: names, hosts, partial updates, both lists, and values for runners alone. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../../src/core/secret.ts'
import { CompatApp, type Document } from './support/compat-app.ts'

let app: CompatApp

beforeAll(async () => {
  app = await CompatApp.start({ COATCHECK_AUDIT_DURABILITY: 'process' })
})

afterAll(async () => {
  await app.stop()
})

const VALUE = 'sk-daytona-value-0001'
const create = (name: string, rest: object = {}) => app.call('POST', '/api/secret', { name, value: VALUE, ...rest })

describe('secrets', () => {
  it('are write-only, dressed dtn_secret_, and keep their placeholder when the value changes', async () => {
    const made = await create('rotating', { description: 'd', hosts: ['api.example.com'], unknown: 'ignored' })
    expect(made.status).toBe(201)
    expect(made.json).toMatchObject({ description: 'd', hosts: ['api.example.com'] })
    expect(made.json.placeholder).toMatch(/^dtn_secret_xcoat_[0-9a-z]{26}$/)
    const changed = await app.call('PATCH', `/api/secret/${made.json.id}`, { value: 'sk-daytona-value-0002' })
    expect(changed.json).toMatchObject({ placeholder: made.json.placeholder, name: 'rotating', description: 'd' })
    expect(await app.app.data.secrets.get(app.owner, 'rotating')).toMatchObject({ readPolicy: 'never', version: 2 })
    expect(made.text + changed.text).not.toContain('sk-daytona')
  })

  it('update what is there and leave what is not; null is no value', async () => {
    const { json } = await create('partial', { description: 'before', hosts: ['a.example.com'] })
    const described = await app.call('PATCH', `/api/secret/${json.id}`, { description: 'after' })
    expect(described.json).toMatchObject({ description: 'after', hosts: ['a.example.com'] })
    const refused = await app.call('PATCH', `/api/secret/${json.id}`, { value: null })
    expect(refused).toMatchObject({ status: 400, json: { error: 'Bad Request', statusCode: 400 } })
  })

  it('go to any host without hosts or with an empty list, where the workspace does not demand hosts', async () => {
    const { json } = await create('anywhere')
    expect(json.hosts).toEqual([])
    const listed = await app.call('PATCH', `/api/secret/${json.id}`, { hosts: ['a.example.com'] })
    expect(listed.json.hosts).toEqual(['a.example.com'])
    expect((await app.call('PATCH', `/api/secret/${json.id}`, { hosts: [] })).json.hosts).toEqual([])
    await app.app.data.settings.update(app.owner, { requireHosts: true })
    expect((await create('nowhere')).status).toBe(400)
    expect((await app.call('PATCH', `/api/secret/${json.id}`, { hosts: [] })).status).toBe(400)
    await app.app.data.settings.update(app.owner, { requireHosts: null })
  })

  it.each([
    ['a scheme', 'https://a.example.com'],
    ['a port', 'a.example.com:443'],
    ['an address', '10.0.0.1'],
    ['a wildcard inside', 'a.*.com'],
  ])('refuse a host with %s', async (_what, host) =>
    expect(await create('host', { hosts: [host] })).toMatchObject({ status: 400 }),
  )

  it('answer 409 to a taken name, and free it at once when deleted', async () => {
    const { json } = await create('taken')
    expect(await create('taken')).toMatchObject({ status: 409, json: { error: 'Conflict', code: 'CONFLICT' } })
    expect((await app.call('DELETE', `/api/secret/${json.id}`)).status).toBe(204)
    expect((await app.call('GET', `/api/secret/${json.id}`)).status).toBe(404)
    expect((await create('taken')).status).toBe(201)
  })

  it('of another workspace and missing ones are alike', async () => {
    const { data } = app.app
    const other = await data.workspaces.create(app.owner, { name: 'elsewhere' })
    const there = await data.workspaces.enter(app.owner, other.id)
    const { secret } = await data.secrets.create(there, { name: 'foreign', value: SecretValue.fromText(VALUE) })
    const foreign = await app.call('GET', `/api/secret/${secret.id}`)
    const missing = await app.call('GET', '/api/secret/01a1f8c1-5b81-7a85-a954-32f3d83ae601')
    expect([foreign.status, foreign.json.message]).toEqual([404, missing.json.message])
    const organization = { 'x-daytona-organization-id': other.id }
    expect((await app.call('GET', `/api/secret/${secret.id}`, undefined, organization)).json.name).toBe('foreign')
  })
})

describe('lists', () => {
  it('leave out names that this contract cannot spell, from the count too', async () => {
    await app.app.data.secrets.create(app.owner, { name: 'a/path', value: SecretValue.fromText(VALUE) })
    await create('a-flat_NAME')
    const list = JSON.parse((await app.call('GET', '/api/secret')).text) as readonly Document[]
    const page = await app.call('GET', '/api/secret/paginated')
    const names = (items: readonly Document[]) => items.map(({ name }) => name)
    expect(names(list)).toContain('a-flat_NAME')
    expect(names(list)).not.toContain('a/path')
    expect(names(page.json.items)).toEqual(names(list))
    expect(page.json.total).toBe(list.length)
  })

  it('are paged by cursor to the end, newest first', async () => {
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`
      const { json } = await app.call('GET', `/api/secret/paginated?limit=2${query}`)
      seen.push(...json.items.map(({ createdAt }) => createdAt))
      cursor = json.nextCursor
    }
    expect(seen.length).toBeGreaterThan(4)
    expect(seen).toEqual(seen.toSorted().reverse())
  })

  it('without pages end at 1,500 secrets with a 400', async () => {
    const workspace = await app.app.data.workspaces.create(app.owner, { name: 'crowded' })
    const there = await app.app.data.workspaces.enter(app.owner, workspace.id)
    const value = SecretValue.fromText(VALUE)
    const organization = { 'x-daytona-organization-id': workspace.id }
    for (let n = 0; n < 1500; n++) await app.app.data.secrets.create(there, { name: `n${n}`, value })
    expect((await app.call('GET', '/api/secret', undefined, organization)).json).toHaveLength(1500)
    await app.app.data.secrets.create(there, { name: 'one-more', value })
    expect((await app.call('GET', '/api/secret', undefined, organization)).status).toBe(400)
  }, 60_000)
})

describe('sandboxes', () => {
  it('get placeholders, replace all mounts at once, and refuse secrets that are not there', async () => {
    const { json: secret } = await create('mounted')
    const made = await app.call('POST', '/api/sandbox', {
      secrets: [{ ONE: 'mounted' }, { TWO: 'mounted' }],
      env: { OWN: 'x' },
    })
    expect(made.json.env).toMatchObject({ ONE: secret.placeholder, TWO: secret.placeholder })
    expect(made.json.env['HTTPS_PROXY']).toContain(`${made.json.name}:cst_`)
    expect(made.json.env).not.toHaveProperty('OWN')
    const path = `/api/sandbox/${made.json.id}/secrets`
    const replaced = await app.call('PUT', path, { secrets: [{ THREE: 'mounted' }] })
    expect(replaced.json.env).toEqual({ THREE: secret.placeholder })
    expect((await app.call('PUT', path, { secrets: [] })).json.env).toEqual({})
    expect((await app.call('PUT', path, { secrets: [{ A: 'no-such' }] })).status).toBe(400)
    expect((await app.call('PUT', path, { secrets: [{ A: 'mounted' }, { A: 'mounted' }] })).status).toBe(400)
    const one = `/api/sandbox/${made.json.name}`
    expect((await app.call('GET', one)).json.state).toBe('started')
    expect((await app.call('DELETE', one)).json.state).toBe('destroyed')
    expect((await app.call('GET', one)).status).toBe(404)
  })

  it('give values to their runner alone: never to a key of a user, nor to the runner of another sandbox', async () => {
    await create('resolved', { hosts: ['a.example.com'] })
    const { json: box } = await app.call('POST', '/api/sandbox', { name: 'box', secrets: [{ KEY: 'resolved' }] })
    const { json: other } = await app.call('POST', '/api/sandbox', { name: 'other' })
    const scopeId = app.app.data.database.defaultWorkspaceId
    const runner = app.as(await app.mint({ role: 'runner', scopeId, sandboxId: box.id }))
    const path = `/api/sandbox/${box.id}/secrets`
    const got = await runner('GET', path)
    expect(got.json).toEqual([
      {
        env: 'KEY',
        value: VALUE,
        hosts: ['a.example.com'],
        placeholder: expect.stringMatching(/^dtn_secret_/) as string,
      },
    ])
    expect((await app.call('GET', path)).status).toBe(401)
    expect((await runner('GET', `/api/sandbox/${other.id}/secrets`)).status).toBe(404)
    expect((await runner('GET', '/api/secret')).status).toBe(401)
  })
})

it('the socket that its client opens is refused at once', async () => {
  const answer = await app.call('GET', '/api/socket.io/?EIO=4&transport=websocket', undefined, { authorization: '' })
  expect(answer.status).toBe(404)
})
