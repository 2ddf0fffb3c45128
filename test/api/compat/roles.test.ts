/** What a role may do is the same at every contract's door, and tokens for another audience open none of them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Role } from '../../../src/core/principal.ts'
import { CompatApp } from './support/compat-app.ts'

let app: CompatApp
let vault: string
const tokens = new Map<string, string>()

beforeAll(async () => {
  app = await CompatApp.start()
  const { data } = app.app
  vault = (await data.vaults.create(app.owner, { name: 'prod' })).id
  for (const role of ['viewer', 'member', 'agent', 'admin', 'runner'] as const)
    tokens.set(role, await app.mint({ role }))
  const { token } = await data.sandboxes.create(app.owner, { name: 'box', mounts: {} })
  tokens.set('sandbox', token)
})

afterAll(async () => {
  await app.stop()
})

interface Door {
  readonly contract: string
  readonly list: () => string
  readonly write: (name: string) => readonly [string, string, object]
  /** The id or path of what was written, as later requests name it. */
  readonly one: (name: string, id: string) => string
}

const DOORS: readonly Door[] = [
  {
    contract: 'daytona',
    list: () => '/api/secret',
    write: (name) => ['POST', '/api/secret', { name, value: 'a value 0123456789' }],
    one: (_name, id) => `/api/secret/${id}`,
  },
  {
    contract: 'cadenya',
    list: () => '/v1/workspace_secrets',
    write: (name) => ['POST', '/v1/workspace_secrets', { metadata: { name }, spec: { value: 'a value 0123456789' } }],
    one: (name) => `/v1/workspace_secrets/external_id%3A${name}`,
  },
  {
    contract: '1claw',
    list: () => `/v1/vaults/${vault}/secrets`,
    write: (name) => ['PUT', `/v1/vaults/${vault}/secrets/${name}`, { value: 'a value 0123456789' }],
    one: (name) => `/v1/vaults/${vault}/secrets/${name}`,
  },
  {
    contract: 'cloud66',
    list: () => '/api/3/stacks/default/secrets',
    write: (name) => ['POST', '/api/3/stacks/default/secrets', { key: name, value: 'a value 0123456789' }],
    one: (name) => `/api/3/stacks/default/secrets/${name}`,
  },
]

describe.each(DOORS)('$contract', ({ contract, list, write, one }) => {
  /** The doors share one workspace. */
  const named = (what: string) => `${contract === '1claw' ? 'ONECLAW' : contract.toUpperCase()}_${what}`
  const as = (role: Role | 'sandbox') => app.as(tokens.get(role) ?? '')

  /** Of an administrator; its place in the path. */
  async function made(name: string): Promise<string> {
    const [method, path, body] = write(name)
    const external =
      contract === 'cadenya' ? { metadata: { name, externalId: name }, spec: { value: 'a value 0123' } } : body
    const { json, status } = await as('admin')(method, path, external)
    expect(status).toBeLessThan(300)
    return one(name, json.id)
  }

  it('lets a member write and delete, and a viewer only look', async () => {
    const path = await made(named('OF_ADMIN'))
    expect((await as('viewer')('GET', list())).status).toBe(200)
    expect((await as('viewer')(...write(named('OF_VIEWER')))).status).toBe(403)
    expect((await as('viewer')('DELETE', path)).status).toBe(403)
    expect((await as('member')(...write(named('OF_MEMBER')))).status).toBeLessThan(300)
    expect((await as('member')('DELETE', path)).status).toBeLessThan(300)
  })

  it('shows an agent without a policy nothing', async () => {
    const path = await made(named('HIDDEN'))
    const seen = await as('agent')('GET', list())
    expect(seen.text).not.toContain('HIDDEN')
    expect((await as('agent')('GET', path)).status).toBe(404)
    expect((await as('agent')('DELETE', path)).status).toBe(404)
  })

  it.each(['runner', 'sandbox'] as const)('takes no token of a %s', async (audience) => {
    const path = await made(named(`NOT_FOR_${audience.toUpperCase()}`))
    // Two calls each: more failures than 20 in a minute are no longer looked at.
    expect((await as(audience)('GET', list())).status).toBe(401)
    expect((await as(audience)('GET', path)).status).toBe(401)
  })
})
