/** Contract: bad input is a 4xx with field, rule and fix; never a 5xx, never a crash, and never what was sent. */
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeAll(async () => {
  api = await ApiUnderTest.start()
})
afterAll(() => api.stop())
beforeEach(() => {
  api.log.lines.length = 0
})

async function refused(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const answer = await api.call(method, path, body, headers)
  expect(answer.text).not.toContain(CANARY)
  expect(api.log.lines.filter((line) => line.includes(CANARY))).toEqual([])
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
  expect(answer.json.error.requestId).toBe(answer.headers['x-request-id'])
  const { code, message, hint } = answer.json.error
  return { status: answer.status, code, message, hint }
}

describe('fields', () => {
  const valid = { name: 'a', value: CANARY }
  const cases: { readonly name: string; readonly body: unknown; readonly message: RegExp; readonly hint?: RegExp }[] = [
    { name: 'no body', body: undefined, message: /^The body must be an object\.$/ },
    { name: 'an array', body: [CANARY], message: /^The body must be an object\.$/ },
    { name: 'nothing', body: {}, message: /^name is required\.$/, hint: /^name: A name of 1 to 256/ },
    {
      name: 'a value that is no string',
      body: { ...valid, value: { [CANARY]: CANARY } },
      message: /^value must be a string\.$/,
    },
    { name: 'a null value', body: { ...valid, value: null }, message: /^value must be a string\.$/ },
    { name: 'an empty value', body: { ...valid, value: '' }, message: /^value must have at least 1 character\.$/ },
    {
      name: 'a field that is not known',
      body: { ...valid, [CANARY]: 1 },
      message: /^The body has a field that is not known/,
      hint: /Known fields are name, value/,
    },
    {
      name: 'a host that is no string',
      body: { ...valid, hosts: ['a.example', 7] },
      message: /^hosts\[1\] must be a string\.$/,
      hint: /hostname/,
    },
    {
      name: 'an empty list of hosts',
      body: { ...valid, hosts: [] },
      message: /^hosts must have at least 1 entry\.$/,
      hint: /null for any host/,
    },
    { name: 'hosts as text', body: { ...valid, hosts: CANARY }, message: /^hosts must be an array\.$/ },
    {
      name: 'a label that is no string',
      body: { ...valid, labels: { [CANARY]: 1 } },
      message: /^labels\.\* must be a string\.$/,
    },
    {
      name: 'an unknown type',
      body: { ...valid, type: CANARY },
      message: /^type must be one of/,
      hint: /generic, password/,
    },
    {
      name: 'a time that is none',
      body: { ...valid, expiresAt: CANARY },
      message: /^expiresAt must be a date and time\.$/,
      hint: /2030-01-31/,
    },
    { name: 'two mistakes', body: { name: 1, value: 2 }, message: /^name must be a string; value must be a string\.$/ },
  ]
  for (const { name, body, message, hint = /./ } of cases) {
    it(`refuses ${name}, naming the field and the fix`, async () => {
      const answer = await refused('POST', '/v1/secrets', body)
      expect(answer).toMatchObject({ status: 400, code: 'invalid_input' })
      expect(answer.message).toMatch(message)
      expect(answer.hint).toMatch(hint)
    })
  }

  it('refuses a mount whose name is no environment variable name', async () => {
    for (const name of ['A-B', 'a b', '1A', 'A\nB', CANARY]) {
      const answer = await refused('POST', '/v1/sandboxes', { name: 's', mounts: { [name]: 'x' } })
      expect(answer).toMatchObject({ status: 400, code: 'invalid_input' })
    }
  })

  it('refuses limits that are not 1 to 200, cursors that are empty, and unknown filters', async () => {
    for (const query of [
      'limit=0',
      'limit=201',
      'limit=1.5',
      `limit=${CANARY}`,
      'limit=1&limit=2',
      'cursor=',
      `x=${CANARY}`,
      '__proto__=1',
    ]) {
      expect(await refused('GET', `/v1/secrets?${query}`), query).toMatchObject({ status: 400, code: 'invalid_input' })
    }
  })

  it('answers a store refusal with its code, message and hint', async () => {
    const answer = await refused('POST', '/v1/secrets', { name: 'a', value: CANARY, hosts: ['*.com'] })
    expect(answer).toEqual({
      status: 400,
      code: 'invalid_input',
      message: expect.stringContaining('a wildcard over com') as string,
      hint: expect.stringMatching(/./) as string,
    })
  })
})

describe('bodies', () => {
  it('refuses what is not JSON with 415', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
    ]) {
      const answer = await refused('POST', '/v1/secrets', `{"name":"a","value":"${CANARY}"}`, { 'content-type': type })
      expect(answer, type).toMatchObject({ status: 415, code: 'unsupported_media_type' })
    }
  })

  it('refuses a body without a content type', async () => {
    const answer = await refused('POST', '/v1/secrets', Buffer.from('{}'), { 'content-type': '' })
    expect(answer.status).toBe(415)
  })

  it('refuses a body over 1 MiB with 413', async () => {
    const answer = await refused('POST', '/v1/secrets', { name: 'a', value: CANARY.repeat(60_000) })
    expect(answer).toMatchObject({ status: 413, code: 'body_too_large' })
  })

  it('refuses JSON that could be read in two ways', async () => {
    for (const body of [
      `{"name":"${CANARY}","name":"b"}`,
      `{"__proto__":"${CANARY}"}`,
      `{"a":"${CANARY}\\ud800"}`,
      CANARY,
      '['.repeat(100_000),
    ]) {
      expect(await refused('POST', '/v1/secrets', body)).toMatchObject({ status: 400, code: 'bad_request' })
    }
    expect(({} as Record<string, unknown>)['hosts']).toBeUndefined()
  })
})

describe('paths', () => {
  it('answers 404 in JSON for what does not exist', async () => {
    for (const [method, path] of [
      ['GET', '/'],
      ['GET', '/v2/secrets'],
      ['PUT', '/v1/secrets'],
      ['GET', `/${CANARY}`],
      ['DELETE', '/v1/audit/events'],
    ] as const) {
      expect(await refused(method, path), `${method} ${path}`).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  it('answers 400 for a path that is not validly percent-encoded', async () => {
    expect(await refused('GET', `/v1/secrets/%zz${CANARY}`)).toMatchObject({ status: 400, code: 'bad_request' })
  })

  it('answers 4xx for names that are too long or climb', async () => {
    for (const name of ['a'.repeat(257), 'a'.repeat(5000), '..%2f..%2fetc', '%00', '%ff']) {
      const { status } = await refused('GET', `/v1/secrets/${name}`)
      expect([400, 404]).toContain(status)
    }
  })
})

describe('bytes that are not HTTP', () => {
  async function raw(bytes: string): Promise<string> {
    return await new Promise((resolve) => {
      const socket = connect(api.port, '127.0.0.1', () => socket.write(bytes))
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
    })
  }

  it('are answered with 400 and our error, and none of them', async () => {
    const text = await raw(`${CANARY}\r\n\r\n`)
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
    expect(text).toContain('"code":"bad_request"')
    expect(text).not.toContain(CANARY)
  })

  it('are answered with 431 when the headers are too large', async () => {
    const text = await raw(`GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`)
    expect(text).toMatch(/^HTTP\/1\.1 431 /)
    expect(text).toContain('"code":"headers_too_large"')
  })
})

describe('our own failures', () => {
  it('are 500 without detail outward and with all of it in the log', async () => {
    const broken = await ApiUnderTest.start({
      ready: () => {
        throw new Error('disk on fire')
      },
    })
    const answer = await broken.call('GET', '/readyz')
    expect([answer.status, answer.json.error.code]).toEqual([500, 'internal'])
    expect(answer.text).not.toContain('disk on fire')
    await broken.stop()
  })
})
