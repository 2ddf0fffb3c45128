/** Contract: a value can be written and is in no answer and no log line, whatever is sent. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SecretDocument } from '../../src/api/contract/secrets.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest
let seen: string[]

beforeEach(async () => {
  api = await ApiUnderTest.start()
  seen = []
})
afterEach(async () => {
  await api.stop()
  expect([...seen, ...api.log.lines].filter((text) => text.includes(CANARY))).toEqual([])
})

async function call(method: string, path: string, body?: unknown) {
  const answer = await api.call(method, path, body)
  seen.push(answer.text, JSON.stringify(answer.headers))
  return answer
}

const create = (fields: object = {}) => call('POST', '/v1/secrets', { name: 'openai', value: CANARY, ...fields })

describe('secrets', () => {
  it('creates a secret and answers with its placeholder', async () => {
    const answer = await create({ hosts: ['api.openai.com'], dress: 'sk-', labels: { team: 'a' } })
    expect(answer.status).toBe(201)
    expect(answer.json).toMatchObject({ name: 'openai', hosts: ['api.openai.com'], version: 1, labels: { team: 'a' } })
    expect(answer.json.placeholder).toMatch(/^sk-xcoat_/)
    expect(answer.json).not.toHaveProperty('warnings')
  })

  it('passes the warnings of the store on', async () => {
    const warnings = (await create({ value: 'short' })).json.warnings ?? []
    expect(warnings.some((warning) => warning.includes('masked'))).toBe(true)
  })

  it('shows null for unrestricted hosts, no description and no expiry', async () => {
    expect((await create()).json).toMatchObject({ hosts: null, description: null, expiresAt: null, externalId: null })
  })

  it('shows every field of the entity, whatever was given', async () => {
    const { json } = await create()
    expect(Object.keys(json).toSorted()).toEqual(
      Object.keys(SecretDocument.properties)
        .toSorted()
        .filter((name) => name !== 'warnings' || json.warnings !== undefined),
    )
    expect(json).toMatchObject({ metadata: {}, hint: '••••8f21', createdBy: 'admin', lastUsedAt: null })
  })

  it('drops a field that the contract does not declare, even when a store returns it', async () => {
    const leaking = await ApiUnderTest.start((deps) => ({
      secrets: Object.assign(Object.create(null) as object, {
        get: async (...given: Parameters<typeof deps.secrets.get>) => ({
          ...(await deps.secrets.get(...given)),
          value: CANARY,
        }),
      }) as unknown as typeof deps.secrets,
    }))
    const principal = leaking.data.tokens.systemPrincipal()
    await leaking.data.secrets.create(principal, { name: 'openai', value: SecretValue.fromText(CANARY) })
    const answer = await leaking.call('GET', '/v1/secrets/openai')
    expect([answer.status, answer.text.includes(CANARY)]).toEqual([200, false])
    await leaking.stop()
  })

  it('reads by name and by id', async () => {
    const { json } = await create()
    const { warnings: _, ...shown } = json
    expect((await call('GET', '/v1/secrets/openai')).json).toEqual(shown)
    expect((await call('GET', `/v1/secrets/${json.id}`)).json).toEqual(shown)
  })

  it('reads a name with a slash when it is percent-encoded', async () => {
    await create({ name: 'team/openai' })
    expect((await call('GET', '/v1/secrets/team%2Fopenai')).json.name).toBe('team/openai')
  })

  it('adds a version for a new value and keeps the placeholder', async () => {
    const { json } = await create()
    const updated = await call('PATCH', '/v1/secrets/openai', { value: `${CANARY}-2` })
    expect(updated.json).toMatchObject({ version: 2, placeholder: json.placeholder })
    const versions = await call('GET', '/v1/secrets/openai/versions')
    expect(versions.json.items.map((item) => item.version)).toEqual([2, 1])
    expect(versions.json.nextCursor).toBeNull()
  })

  it('leaves what a patch omits and clears what it sets to null', async () => {
    await create({ hosts: ['a.example'], description: 'x' })
    const { json } = await call('PATCH', '/v1/secrets/openai', { description: null })
    expect(json).toMatchObject({ hosts: ['a.example'], description: null, version: 1 })
  })

  it('deletes with 204 and no body, and then answers 404', async () => {
    await create()
    const deleted = await call('DELETE', '/v1/secrets/openai')
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    expect((await call('GET', '/v1/secrets/openai')).json.error.code).toBe('not_found')
  })

  it('answers 409 for a name that is taken', async () => {
    await create()
    const again = await create()
    expect([again.status, again.json.error.code]).toEqual([409, 'conflict'])
  })

  it('pages through all of them, each once', async () => {
    for (let n = 0; n < 5; n += 1) await create({ name: `s${n}` })
    const names: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { json } = await call('GET', `/v1/secrets?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      names.push(...json.items.map((item) => item.name))
      cursor = json.nextCursor
    }
    expect(names).toEqual(['s0', 's1', 's2', 's3', 's4'])
  })

  it('takes a value of exactly 64 KiB and refuses one byte more, also when characters are fewer', async () => {
    expect((await create({ value: 'a'.repeat(65_536) })).status).toBe(201)
    for (const value of ['a'.repeat(65_537), 'é'.repeat(32_769)]) {
      const answer = await create({ name: 'b', value })
      expect([answer.status, answer.json.error.code]).toEqual([400, 'invalid_input'])
    }
  })
})
