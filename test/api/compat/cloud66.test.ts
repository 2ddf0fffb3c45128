/** Cloud 66's contract where it could go wrong: inheritance, who sees raw values, both spellings of paths, and page numbers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../../src/core/secret.ts'
import { type Caller, CompatApp } from './support/compat-app.ts'

let app: CompatApp
let account: string
let stack: string
let member: Caller

beforeAll(async () => {
  app = await CompatApp.start()
  const { data } = app.app
  await data.workspaces.create(app.owner, { name: 'demo', externalKey: 'st1' })
  stack = '/api/3/stacks/st1'
  account = `/api/3/accounts/${(await app.call('GET', '/api/3/accounts')).json.response[0]?.id}`
  member = app.as(await app.mint({ role: 'member' }))
})

afterAll(async () => {
  await app.stop()
})

const inStack = async (key: string) => (await app.call('GET', `${stack}/secrets/${key}`)).json.response

describe('inheritance', () => {
  it('shows account secrets in every stack until it has its own, and again once that is deleted', async () => {
    await app.call('POST', `${account}/secrets`, { key: 'SHARED', value: 'of-the-account' })
    expect(await inStack('SHARED')).toMatchObject({ raw_value: 'of-the-account', inherited: true })
    const own = await app.call('PUT', `${stack}/secrets/SHARED`, { value: 'of-the-stack' })
    expect(own).toMatchObject({ status: 200, json: { response: { inherited: false, raw_value: null } } })
    expect(await inStack('SHARED')).toMatchObject({ raw_value: 'of-the-stack', inherited: false })
    expect((await app.call('GET', `${account}/secrets/SHARED`)).json.response.raw_value).toBe('of-the-account')
    expect((await app.call('DELETE', `${stack}/secrets/SHARED`)).status).toBe(200)
    expect(await inStack('SHARED')).toMatchObject({ raw_value: 'of-the-account', inherited: true })
  })

  it('refuses to delete an inherited key in a stack, and the account keeps it', async () => {
    await app.call('POST', `${account}/secrets`, { key: 'KEPT', value: 'kept' })
    expect((await app.call('DELETE', `${stack}/secrets/KEPT`)).status).toBe(404)
    expect((await app.call('DELETE', `${stack}/environments/KEPT`)).status).toBe(404)
    expect(await inStack('KEPT')).toMatchObject({ inherited: true })
  })

  it('of an account is out of reach for a token of one stack', async () => {
    const { id } = await app.app.data.workspaces.get(app.owner, 'st1')
    const limited = app.as(await app.mint({ role: 'admin', scopeId: id }))
    expect((await limited('GET', `${account}/secrets`)).status).toBe(404)
    expect((await limited('GET', `${stack}/secrets`)).status).toBe(200)
  })
})

describe('raw values', () => {
  it('are for who may read them, each time recorded, and null for others', async () => {
    await app.call('POST', `${stack}/secrets`, { key: 'RAW', value: 'raw-value-0123' })
    const seen = await inStack('RAW')
    expect(seen.raw_value).toBe('raw-value-0123')
    expect(seen.value).toMatch(/^encrypted:AES256:[A-Za-z0-9+/=]{44}$/)
    const other = await member('GET', `${stack}/secrets/RAW`)
    expect(other.json.response).toMatchObject({ raw_value: null, value: seen.value })
    expect((await member('GET', `${stack}/environments/RAW`)).json.response.value).toBe('')
    const there = await app.app.data.workspaces.enter(app.owner, 'st1')
    const { items } = await app.app.data.records.list(there, { secret: 'RAW', limit: 200, cursor: null })
    const actions = items.map((event) => (event.kind === 'change' ? event.action : event.kind))
    expect(actions).toEqual(['secret.read', 'secret.create'])
  })

  it('of a write-only secret are null for everybody, and a list never uses up a counted read', async () => {
    const there = await app.app.data.workspaces.enter(app.owner, 'st1')
    const value = SecretValue.fromText('never-shown-0123')
    await app.app.data.secrets.create(there, { name: 'NEVER', value })
    const counted = { name: 'ONCE', value, readPolicy: 'permission', maxAccessCount: 1 } as const
    await app.app.data.secrets.create(there, counted)
    expect(await inStack('NEVER')).toMatchObject({ raw_value: null })
    const { response } = (await app.call('GET', `${stack}/secrets`)).json
    expect(response.find((each) => each.key === 'ONCE')?.raw_value).toBeNull()
    expect((await inStack('ONCE')).raw_value).toBe('never-shown-0123')
    expect((await inStack('ONCE')).raw_value).toBeNull()
  })
})

describe('paths and pages', () => {
  it('work with and without .json, and a key may end in it', async () => {
    const records = `/api/3/configstore/namespaces/st1/records`
    await app.call('POST', `${records}.json`, {
      record: { key: 'app.json', raw_value: 'v1', metadata: { a: 'b' }, ttl: 60 },
    })
    for (const path of ['app%2Ejson.json', 'app%2Ejson']) {
      const { json } = await app.call('GET', `${records}/${path}`)
      expect(json.response).toEqual({ key: 'app.json', raw_value: 'v1', metadata: { a: 'b' }, ttl: 60 })
    }
    for (const path of ['', '.json']) expect((await app.call('GET', `${stack}/secrets${path}`)).status).toBe(200)
    expect((await app.call('GET', `${stack}.json`)).json.response.uid).toBe('st1')
    expect((await app.call('GET', `${records}/SHARED.json`)).status).toBe(404)
  })

  it('number pages, count all, and leave out keys that are no variables', async () => {
    const { data } = app.app
    await data.workspaces.create(app.owner, { name: 'paged', externalKey: 'st2' })
    const there = await data.workspaces.enter(app.owner, 'st2')
    const value = SecretValue.fromText('a value 0123')
    for (const name of ['A', 'B', 'C', 'no-hyphen', 'no/path']) await data.secrets.create(there, { name, value })
    const { pagination: whole } = (await app.call('GET', '/api/3/stacks/st2/secrets')).json
    const last = Math.ceil(whole.count / 2)
    const { json } = await app.call('GET', `/api/3/stacks/st2/secrets?page=${last}&per_page=2`)
    expect(json.pagination).toMatchObject({ previous: last - 1, next: null, current: last, per_page: 2, pages: last })
    expect(json.response.length).toBe(json.count)
    const all = (await app.call('GET', '/api/3/stacks/st2/secrets?per_page=100')).json.response
    expect(all.filter((each) => /[-/]/.test(each.key))).toEqual([])
    expect((await app.call('POST', '/api/3/stacks/st2/secrets', { key: 'no-hyphen', value: 'x' })).status).toBe(422)
  })
})

describe('environment variables', () => {
  it('are the same secrets, by key and by number, and writes answer an action', async () => {
    const made = await app.call('POST', `${stack}/environments`, {
      key: 'VARIABLE',
      value: 'v1',
      apply_strategy: 'deployment',
    })
    expect(made.json.response).toMatchObject({ action: 'env-var-new', resource_type: 'stack', finished_at: null })
    await app.call('PUT', `${stack}/environments/VARIABLE.json`, { value: 'v2' })
    const { response } = (await app.call('GET', `${stack}/environments/VARIABLE`)).json
    expect(response).toMatchObject({ key: 'VARIABLE', value: 'v2', history: [{ value: '' }] })
    expect((await app.call('GET', `${stack}/environments/${response.id}`)).json.response.key).toBe('VARIABLE')
    expect(await inStack('VARIABLE')).toMatchObject({ raw_value: 'v2' })
    expect((await app.call('POST', `${stack}/environments`, { key: 'VARIABLE', value: 'x' })).status).toBe(409)
    expect((await app.call('PUT', `${stack}/environments/MISSING`, { value: 'x' })).status).toBe(404)
    expect((await app.call('DELETE', `${stack}/environments/VARIABLE`)).json.response.action).toBe('env-var-delete')
    expect((await app.call('GET', `${stack}/environments/VARIABLE`)).status).toBe(404)
  })
})

describe('environment variables as one text', () => {
  const bulk = '/api/3/stacks/st1/environments/bulk'
  const send = (method: string, contents: string, environments_format = 'dotenv') =>
    app.call(method, bulk, { environments_format, contents, apply_strategy: 'immediate' })
  const contents = async (format: string, caller: Caller = (...sent) => app.call(...sent)) =>
    (await caller('GET', `${bulk}?environments_format=${format}&requested_types=user`)).json.response.contents

  it('are made, set and read, with values for who may read them alone', async () => {
    const made = await send('POST', 'BULK_A=one\nexport BULK_B="two words"\n')
    expect(made).toMatchObject({ status: 200, json: { response: { action: 'env-var-new', finished_at: null } } })
    const changed = await send('PATCH', '{"BULK_B": "three", "BULK_C": "a b"}', 'json')
    expect(changed.json.response.action).toBe('env-var-update')
    expect(await contents('dotenv')).toMatch(/^BULK_A="one"\nBULK_B="three"\n/m)
    expect(JSON.parse(await contents('json'))).toMatchObject({ BULK_A: 'one', BULK_C: 'a b' })
    expect(await contents('dotenv', member)).toBe('')
    expect((await app.call('GET', `${stack}/environments/BULK_B`)).json.response.value).toBe('three')
  })

  it('are made only when none is there, and never with keys that are no variables', async () => {
    await send('POST', 'BULK_THERE=1')
    expect((await send('POST', 'BULK_NEW=1\nBULK_THERE=2')).status).toBe(409)
    expect((await app.call('GET', `${stack}/environments/BULK_NEW`)).status).toBe(404)
    for (const [text, format] of [
      ['no-hyphen=1', 'dotenv'],
      ['not a line', 'dotenv'],
      ['{"a": 1}', 'json'],
      ['A: 1', 'yaml'],
    ] as const) {
      expect((await send('PATCH', text, format)).status, text).toBe(422)
    }
    expect((await member('POST', bulk, { environments_format: 'dotenv', contents: 'BULK_M=1' })).status).toBe(200)
  })

  it('of the account are overridden in the stack', async () => {
    await app.call('POST', `${account}/secrets`, { key: 'BULK_SHARED', value: 'of-the-account' })
    expect((await send('POST', 'BULK_SHARED=of-the-stack')).status).toBe(200)
    expect(await inStack('BULK_SHARED')).toMatchObject({ raw_value: 'of-the-stack', inherited: false })
  })
})

it('tells how many requests are left, as its clients read it', async () => {
  const { headers } = await app.call('GET', `${stack}/secrets`)
  expect(Number(headers.get('X-RateLimit-Limit'))).toBeGreaterThan(Number(headers.get('X-RateLimit-Remaining')))
})

it('another account in X-Account is not there', async () => {
  const answer = await app.call('GET', `${stack}/secrets`, undefined, { 'x-account': '1' })
  expect(answer.status).toBe(404)
})
