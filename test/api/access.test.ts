/** Contract: only a bearer token of this server, at a name of this server, from no foreign page, gets past the door. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiUnderTest } from './support/api-under-test.ts'

let api: ApiUnderTest

beforeEach(async () => {
  api = await ApiUnderTest.start()
})
afterEach(() => api.stop())

describe('tokens', () => {
  it('are not taken from anything but a bearer header', async () => {
    const basic = `Basic ${Buffer.from(`admin:${api.adminToken}`).toString('base64')}`
    for (const authorization of [
      basic,
      api.adminToken,
      `Bearer${api.adminToken}`,
      `Bearer ${api.adminToken} x`,
      'Bearer ',
      `Token ${api.adminToken}`,
    ]) {
      expect((await api.call('GET', '/v1/tokens', undefined, { authorization })).status, authorization).toBe(401)
    }
    const query = await api.call('GET', `/v1/tokens?access_token=${api.adminToken}`, undefined, { authorization: '' })
    expect(query.status).toBe(401)
  })

  it('take the scheme in any case', async () => {
    expect((await api.call('GET', '/v1/tokens', undefined, { authorization: `bEARER ${api.adminToken}` })).status).toBe(
      200,
    )
  })

  it('are not repeated in the refusal', async () => {
    const answer = await api.call('GET', '/v1/tokens', undefined, { authorization: 'Bearer wrong-token-canary' })
    expect(answer.text + api.log.lines.join('')).not.toContain('wrong-token-canary')
  })

  it('are shown once, work at once, and stop when revoked', async () => {
    const made = await api.call('POST', '/v1/tokens', { name: 'ci', expiresAt: '2030-01-31T12:00:00Z' })
    expect(made.status).toBe(201)
    const authorization = `Bearer ${made.json.token}`
    expect((await api.call('GET', '/v1/tokens', undefined, { authorization })).text).not.toContain(made.json.token)
    expect((await api.call('DELETE', '/v1/tokens/ci')).status).toBe(204)
    expect((await api.call('GET', '/v1/tokens', undefined, { authorization })).status).toBe(401)
  })

  it('that are wrong too often are answered 429, while a right one still works', async () => {
    const statuses: number[] = []
    for (let n = 0; n < 25; n += 1) {
      statuses.push((await api.call('GET', '/v1/tokens', undefined, { authorization: `Bearer wrong-${n}` })).status)
    }
    expect(statuses.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 401))
    expect(statuses.slice(20)).toEqual(Array.from({ length: 5 }, () => 429))
    const limited = await api.call('GET', '/v1/tokens', undefined, { authorization: 'Bearer wrong' })
    expect(limited.json.error.code).toBe('rate_limited')
    expect(Number(limited.headers['retry-after'])).toBeGreaterThan(0)
    expect((await api.call('GET', '/v1/tokens')).status).toBe(200)
  })
})

describe('calls', () => {
  it('are counted for each principal, told in headers, and too many are 429 for that one alone', async () => {
    const slow = await ApiUnderTest.start({ requestsPerMinute: 3 })
    const { json } = await slow.call('POST', '/v1/tokens', { name: 'other', role: 'viewer' })
    const second = await slow.call('GET', '/v1/secrets')
    expect(second.headers).toMatchObject({ 'x-ratelimit-limit': '3', 'x-ratelimit-remaining': '1' })
    expect(Number(second.headers['x-ratelimit-reset'])).toBeGreaterThan(0)
    expect((await slow.call('GET', '/v1/secrets')).status).toBe(200)
    const fourth = await slow.call('GET', '/v1/secrets')
    expect([fourth.status, fourth.json.error.code]).toEqual([429, 'rate_limited'])
    expect(Number(fourth.headers['retry-after'])).toBeGreaterThan(0)
    const other = await slow.call('GET', '/v1/secrets', undefined, { authorization: `Bearer ${json.token}` })
    expect(other.status).toBe(200)
    await slow.stop()
  })
})

describe('names', () => {
  it('other than its own are refused, so that a rebound page reads nothing', async () => {
    for (const host of ['evil.example', 'evil.example:80', '127.0.0.1.evil.example', 'localhost.evil.example', 'x']) {
      const answer = await api.call('GET', '/v1/secrets', undefined, { host })
      expect([answer.status, answer.json.error.code], host).toEqual([403, 'forbidden'])
    }
  })

  it('are compared without case, with any port', async () => {
    for (const host of ['localhost', 'LOCALHOST:1234', '127.0.0.1']) {
      expect((await api.call('GET', '/v1/secrets', undefined, { host })).status, host).toBe(200)
    }
  })

  it('with a port in the list answer to that port alone', async () => {
    const strict = await ApiUnderTest.start({ allowedHosts: () => ['api.test:9000'] })
    expect((await strict.call('GET', '/v1/secrets', undefined, { host: 'api.test:9000' })).status).toBe(200)
    expect((await strict.call('GET', '/v1/secrets', undefined, { host: 'api.test:9001' })).status).toBe(403)
    expect((await strict.call('GET', '/v1/secrets', undefined, { host: 'api.test' })).status).toBe(403)
    await strict.stop()
  })

  it('of other origins are refused, null among them', async () => {
    for (const origin of ['https://evil.example', 'null', 'file://', `http://evil.example:${api.port}`]) {
      const answer = await api.call('POST', '/v1/secrets', { name: 'a', value: 'b' }, { origin })
      expect([answer.status, answer.json.error.code], origin).toEqual([403, 'forbidden'])
    }
    expect((await api.call('GET', '/v1/secrets', undefined, { origin: api.url })).status).toBe(200)
  })
})

describe('health', () => {
  it('answers anyone at any name', async () => {
    const headers = { authorization: '', host: '10.0.0.7:8081' }
    expect((await api.call('GET', '/healthz', undefined, headers)).json).toEqual({ status: 'ok' })
    const ready = await api.call('GET', '/readyz', undefined, headers)
    expect([ready.status, ready.json]).toEqual([200, { status: 'ready', checks: { database: true } }])
  })

  it('answers 503 with the check that failed', async () => {
    const checks = { database: true, audit: false }
    const unready = await ApiUnderTest.start({ ready: () => ({ ok: false, checks }) })
    const answer = await unready.call('GET', '/readyz', undefined, { authorization: '' })
    expect([answer.status, answer.json]).toEqual([503, { status: 'not_ready', checks }])
    await unready.stop()
  })
})

it('every answer has a request id of its own and forbids caching, framing and sniffing', async () => {
  const ids = new Set<string>()
  for (const path of ['/healthz', '/v1/secrets', '/nowhere', '/%zz', '/v1/secrets/nope']) {
    const { headers } = await api.call('GET', path, undefined, { 'x-request-id': 'chosen-by-the-client' })
    expect(headers['x-request-id'], path).toMatch(/^[0-9a-f-]{36}$/)
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    ids.add(headers['x-request-id'] ?? '')
  }
  expect(ids.size).toBe(5)
})
