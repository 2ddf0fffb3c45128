/** Cadenya's contract where it could go wrong: two generations of routes, masks, names, external ids and page keys. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { uuidOfUlid } from '../../../src/core/id.ts'
import { CompatApp } from './support/compat-app.ts'

let app: CompatApp

beforeAll(async () => {
  app = await CompatApp.start()
})

afterAll(async () => {
  await app.stop()
})

const OLD = '/v1/workspace_secrets'
const NEW = '/v1/workspaces/default/workspace_secrets'
const create = (name: string, metadata: object = {}, path = OLD) =>
  app.call('POST', path, { metadata: { name, ...metadata }, spec: { value: `value-of-${name}-0123` } })

describe('both generations', () => {
  it('show one secret under one id, which is the native id', async () => {
    const made = await create('both', { externalId: 'ext-both', labels: { env: 'prod' } })
    expect(made).toMatchObject({ status: 200, json: { spec: {}, metadata: { name: 'BOTH', externalId: 'ext-both' } } })
    const { id, workspaceId } = made.json.metadata
    const paths = [
      `${OLD}/${id}`,
      `${NEW}/${id}`,
      `/v1/workspaces/${workspaceId}/workspace_secrets/external_id%3Aext-both`,
    ]
    for (const path of paths) expect((await app.call('GET', path)).json.metadata).toEqual(made.json.metadata)
    const native = await app.app.data.secrets.get(app.owner, 'BOTH')
    expect(uuidOfUlid(id.slice('wss_'.length))).toBe(native.id)
    expect(native.readPolicy).toBe('never')
    expect(made.text).not.toContain('value-of')
  })

  it('answer a workspace out of reach as a missing one', async () => {
    const { status, json } = await app.call('GET', '/v1/workspaces/ws_01M7WC2NZGFJ180FKEF0ZEB8YW/workspace_secrets')
    expect([status, json.code]).toEqual([404, 5])
  })
})

describe('names', () => {
  it('are upper-cased, so that a second spelling is a conflict, which no client asks for again', async () => {
    await create('Stripe-Key')
    const again = await create('STRIPE-KEY')
    expect(again).toMatchObject({ status: 409, json: { code: 6, details: [] } })
    expect(again.headers.get('x-should-retry')).toBe('false')
    expect((await create('no/path')).json.code).toBe(3)
  })

  it('are found by prefix in any case, and others are left out of the list', async () => {
    await app.call('POST', '/api/secret', { name: 'stripe-lower', value: 'x' })
    const { json } = await app.call('GET', `${NEW}?prefix=stripe`)
    expect(json.items.map((item) => item.metadata.name)).toEqual(['STRIPE-KEY'])
  })
})

describe('updates', () => {
  const patch = (id: string, body: object) => app.call('PATCH', `${NEW}/${id}`, body)

  it('change what the mask names and nothing else, and clear what it names without a value', async () => {
    const { id } = (await create('masked', { externalId: 'ext-m', labels: { env: 'prod' } })).json.metadata
    const renamed = await patch(id, {
      metadata: { name: 'unmasked', labels: { env: 'dev' } },
      spec: { value: 'a new value 0123' },
      updateMask: 'metadata.name,spec.value',
    })
    expect(renamed.json.metadata).toMatchObject({ name: 'UNMASKED', labels: { env: 'prod' }, externalId: 'ext-m' })
    expect(await app.app.data.secrets.get(app.owner, 'UNMASKED')).toMatchObject({ version: 2 })
    const cleared = await patch(id, { updateMask: 'metadata.externalId,metadata.labels' })
    expect(cleared.json.metadata).toMatchObject({ externalId: '', labels: {} })
    expect((await patch(id, { metadata: { labels: { a: 'b' } } })).json.metadata.labels).toEqual({ a: 'b' })
  })

  it.each([
    ['an unknown path', { updateMask: 'spec.hosts' }],
    ['a value that is not there', { updateMask: 'spec.value' }],
    ['a value that is null', { spec: { value: null } }],
    ['a label that is none', { metadata: { labels: { a: '-' } } }],
  ])('refuse %s with code 3', async (_what, body) => {
    const { id } = (await create(`refused${crypto.randomUUID().slice(0, 8)}`)).json.metadata
    expect(await patch(id, body)).toMatchObject({ status: 400, json: { code: 3 } })
  })
})

describe('lists', () => {
  it('give the next cursor under both names, and an empty one at the end', async () => {
    for (const name of ['p1', 'p2', 'p3']) await create(name, { labels: { list: 'paged', other: 'x' } })
    const names: string[] = []
    let cursor = ''
    do {
      const query = `limit=1&labels=${encodeURIComponent('list=paged,other=x')}&cursor=${cursor}`
      const { json } = await app.call('GET', `${NEW}?${query}`)
      expect(json.pagination.next_cursor).toBe(json.pagination.nextCursor)
      names.push(...json.items.map((item) => item.metadata.name))
      cursor = json.pagination.nextCursor
    } while (cursor !== '')
    expect(names).toEqual(['P1', 'P2', 'P3'])
  })

  it('tell who made a secret only when asked', async () => {
    await create('informed', { labels: { list: 'informed' } })
    const [asked] = (await app.call('GET', `${NEW}?labels=list%3Dinformed&includeInfo=true`)).json.items
    const [unasked] = (await app.call('GET', `${NEW}?labels=list%3Dinformed`)).json.items
    expect(asked?.info.createdBy).toMatchObject({ spec: { type: 'PROFILE_TYPE_API_KEY', name: 'tests' } })
    expect(asked?.info.createdBy.metadata.id).toBe(asked?.metadata.profileId)
    expect(unasked).not.toHaveProperty('info')
  })
})
