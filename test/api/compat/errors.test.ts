/** Every failure below a contract's routes has that contract's own shape, whoever found it, and never repeats what was sent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, CompatApp } from './support/compat-app.ts'

const CANARY = 'canary-9f2e7c1ab3d84e6f'

let app: CompatApp

beforeAll(async () => {
  app = await CompatApp.start()
})

afterAll(async () => {
  await app.stop()
})

interface Dialect {
  readonly contract: string
  readonly list: string
  readonly create: readonly [string, string, object]
  readonly unknown: string
  /** Of a body that breaks a rule. */
  readonly invalid: number
  readonly shape: (status: number) => object
}

const any = (type: unknown) => expect.any(type) as unknown
const CODES: Readonly<Record<number, number>> = { 400: 3, 401: 16, 404: 5, 429: 8 }

const DIALECTS: readonly Dialect[] = [
  {
    contract: 'daytona',
    list: '/api/secret',
    create: ['POST', '/api/secret', { name: 'n', value: CANARY, hosts: CANARY }],
    unknown: `/api/${CANARY}`,
    invalid: 400,
    shape: (statusCode) => ({
      path: any(String),
      timestamp: any(String),
      statusCode,
      error: any(String),
      code: any(String),
      source: 'DAYTONA_API',
      message: any(String),
    }),
  },
  {
    contract: 'cadenya',
    list: '/v1/workspaces/default/workspace_secrets',
    create: ['POST', '/v1/workspace_secrets', { metadata: { name: `${CANARY}/` }, spec: { value: CANARY } }],
    unknown: `/v1/workspace_secrets/a/${CANARY}`,
    invalid: 400,
    shape: (status) => ({ code: CODES[status], message: any(String), details: [] }),
  },
  {
    contract: '1claw',
    list: '/v1/vaults/01a1f8c1-5b81-7a85-a954-32f3d83ae601/secrets',
    create: [
      'PUT',
      '/v1/vaults/01a1f8c1-5b81-7a85-a954-32f3d83ae601/secrets/k',
      { value: CANARY, max_access_count: CANARY },
    ],
    unknown: `/v1/auth/${CANARY}`,
    invalid: 400,
    shape: (status) => ({ type: 'about:blank', title: any(String), status, detail: any(String) }),
  },
  {
    contract: 'cloud66',
    list: '/api/3/stacks.json',
    create: ['POST', '/api/3/stacks/default/secrets', { key: `-${CANARY}`, value: CANARY }],
    unknown: `/api/3/${CANARY}`,
    invalid: 422,
    shape: () => ({ error: any(String), error_description: any(String), details: any(String) }),
  },
]

describe.each(DIALECTS)('$contract', ({ list, create, unknown, invalid, shape }) => {
  function check(answer: Answer, status: number): void {
    expect(answer.status).toBe(status)
    expect(answer.json).toEqual(shape(status))
    expect(answer.text).not.toContain(CANARY)
    expect(answer.headers.get('x-request-id')).not.toBeNull()
  }

  it('without a token is told so', async () => {
    const answer = await app.call('GET', list, undefined, { authorization: '' })
    check(answer, 401)
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /)
  })

  it('with a body that breaks a rule is told the rule, and nothing of the body', async () => {
    check(await app.call(...create), invalid)
  })

  it('with a body that is no JSON is told so', async () => {
    check(await app.call(create[0], create[1], `{"value":"${CANARY}`), 400)
  })

  it('at an unknown route is told so', async () => {
    check(await app.call('GET', unknown), 404)
  })
})

it('too many wrong tokens are refused in the contract’s shape, with the time to wait', async () => {
  for (const { list, shape } of DIALECTS) {
    let answer = await app.as('dtn_wrong')('GET', list)
    for (let n = 0; n < 40 && answer.status === 401; n++) answer = await app.as('dtn_wrong')('GET', list)
    expect(answer.status).toBe(429)
    expect(answer.json).toEqual(shape(429))
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  }
})
