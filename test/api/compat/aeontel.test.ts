/** Aeontel's contract is the API's own: its entity is what `/v1/secrets` answers, with its kinds of key and its request id. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CompatApp } from './support/compat-app.ts'

let app: CompatApp

beforeAll(async () => {
  app = await CompatApp.start()
})

afterAll(async () => {
  await app.stop()
})

const ENTITY = ['id', 'workspaceId', 'name', 'hint', 'metadata', 'createdBy', 'createdAt', 'updatedAt']

it('the entity has all its fields in every answer, and its statuses', async () => {
  const secret = app.as(await app.mint({ role: 'admin', prefix: 'sec_' }))
  const made = await secret('POST', '/v1/secrets', {
    name: 'vendor',
    value: 'sk-live-000000004242',
    metadata: { vendor: 'x', n: 1 },
  })
  expect(made.status).toBe(201)
  expect(made.json).toMatchObject({ hint: '••••4242', metadata: { vendor: 'x', n: 1 } })
  const path = `/v1/secrets/${made.json.id}`
  const answers = [made, await secret('GET', path), await secret('PATCH', path, { name: 'renamed', value: 'short' })]
  for (const { json } of answers) expect(Object.keys(json)).toEqual(expect.arrayContaining(ENTITY))
  expect(answers[2]?.json).toMatchObject({ name: 'renamed', hint: null })
  expect((await secret('GET', '/v1/secrets')).json.items.map((item) => item.name)).toEqual(['renamed'])
  expect((await secret('POST', '/v1/secrets', { name: 'renamed', value: 'x' })).status).toBe(409)
  expect((await secret('DELETE', path)).status).toBe(204)
  expect((await secret('GET', path)).status).toBe(404)
  for (const { text } of answers) expect(text).not.toMatch(/sk-live|"short"/)
})

it('a pub_ key reads metadata and changes nothing; a tok_ key is as good as its role', async () => {
  const made = await app.call('POST', '/v1/secrets', { name: 'public', value: 'sk-live-000000004242' })
  const publishable = app.as(await app.mint({ prefix: 'pub_' }))
  expect((await publishable('GET', `/v1/secrets/${made.json.id}`)).json.name).toBe('public')
  expect((await publishable('POST', '/v1/secrets', { name: 'no', value: 'x' })).status).toBe(403)
  expect((await publishable('DELETE', `/v1/secrets/${made.json.id}`)).status).toBe(403)
  const session = app.as(await app.mint({ role: 'member', prefix: 'tok_' }))
  expect((await session('POST', '/v1/secrets', { name: 'session', value: 'x' })).status).toBe(201)
})

it('x-request-id is in every answer, of success and of failure', async () => {
  const paths: readonly (readonly [string, string])[] = [
    ['/v1/secrets', app.token],
    ['/v1/secrets/missing', app.token],
    ['/v1/secrets', 'sec_wrong'],
    ['/v1/nothing', app.token],
  ]
  for (const [path, token] of paths)
    expect((await app.as(token)('GET', path)).headers.get('x-request-id')).toMatch(/^.{8,}$/)
})
