/**
 * Contract: a call is made again when that can help and cannot harm, waits as long as the server asks, and ends in time; an error holds
 * nothing that was sent.
 */
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { documentedFailures } from '../../src/api/respond.ts'
import { Coatcheck, CoatcheckError, type CoatcheckOptions, type ServerCode } from '../../src/client/coatcheck.ts'
import { decideRetry, retryAfter } from '../../src/client/retry.ts'
import { CANARY } from '../api/support/api-under-test.ts'
import { ScriptedServer } from './support/scripted-server.ts'

const TOKEN = 'cct_token-canary'
const DONE = { status: 200, body: { id: 's', items: [], nextCursor: null } } as const
const refusal = (status: number, code: string, headers: Record<string, string> = {}) => ({
  status,
  headers: { 'x-request-id': 'r-1', ...headers },
  body: { error: { code, message: 'Refused.', hint: 'Do otherwise.', requestId: 'r-1' } },
})
const clientOf = (server: ScriptedServer, options: Partial<CoatcheckOptions> = {}) =>
  new Coatcheck({ url: server.url, token: TOKEN, ...options })

async function failureOf(call: Promise<unknown>): Promise<CoatcheckError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(thrown).toBeInstanceOf(CoatcheckError)
  expect(inspect(thrown, { depth: null, showHidden: true })).not.toContain(CANARY)
  expect(inspect(thrown, { depth: null, showHidden: true })).not.toContain('token-canary')
  return thrown as CoatcheckError
}

describe('a call', () => {
  it('is made again after 429 and 503, whatever it does', async () => {
    for (const status of [429, 503]) {
      await using server = await ScriptedServer.start(refusal(status, 'rate_limited', { 'retry-after': '0' }), DONE)
      await clientOf(server).secrets.update('a', { value: CANARY })
      expect(server.asked.map(({ method }) => method)).toEqual(['PATCH', 'PATCH'])
    }
  })

  it('that can be repeated is made again when there was no answer', async () => {
    await using server = await ScriptedServer.start('cut', 'cut', DONE)
    expect(await clientOf(server).secrets.get('a')).toMatchObject({ id: 's' })
    expect(server.asked.length).toBe(3)
  })

  it('that creates is made again under the same key, so that it makes one thing', async () => {
    await using server = await ScriptedServer.start('cut', DONE)
    await clientOf(server).secrets.create({ name: 'a', value: CANARY })
    const keys = server.asked.map(({ headers }) => headers['idempotency-key'])
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/)
    expect(keys[1]).toBe(keys[0])
    await clientOf(server).secrets.create({ name: 'a', value: CANARY }, { idempotencyKey: 'mine' })
    expect(server.asked.at(-1)?.headers['idempotency-key']).toBe('mine')
  })

  it('that changes or reveals is not made again when there was no answer', async () => {
    for (const call of [
      async (client: Coatcheck) => client.secrets.update('a', { value: CANARY }),
      async (client: Coatcheck) => client.secrets.reveal('a'),
      async (client: Coatcheck) => client.sandboxes.rotateToken('a'),
      async (client: Coatcheck) => client.secrets.import({ format: 'dotenv', text: `A=${CANARY}` }),
    ]) {
      await using server = await ScriptedServer.start('cut')
      expect(await failureOf(call(clientOf(server)))).toMatchObject({ code: 'unreachable', status: null })
      expect(server.asked.length).toBe(1)
    }
  })

  it('that deletes is done when its repetition finds nothing', async () => {
    await using server = await ScriptedServer.start('cut', refusal(404, 'not_found'))
    await clientOf(server).secrets.delete('a')
    expect(server.asked.length).toBe(2)
    await using other = await ScriptedServer.start(refusal(404, 'not_found'))
    expect(await failureOf(clientOf(other).secrets.delete('a'))).toMatchObject({ code: 'not_found' })
  })

  it('that is refused for good is not made again', async () => {
    for (const [status, code] of [
      [400, 'invalid_input'],
      [401, 'unauthenticated'],
      [409, 'conflict'],
      [410, 'exhausted'],
      [500, 'internal'],
    ] as const) {
      await using server = await ScriptedServer.start(refusal(status, code))
      const failure = await failureOf(clientOf(server).secrets.create({ name: 'a', value: CANARY }))
      expect(failure).toMatchObject({ code, status, requestId: 'r-1', message: 'Refused.', hint: 'Do otherwise.' })
      expect(server.asked.length).toBe(1)
    }
  })

  it('ends after its retries, and says how long the server asked to wait', async () => {
    await using server = await ScriptedServer.start(refusal(429, 'rate_limited', { 'retry-after': '0' }))
    expect(await failureOf(clientOf(server, { retries: 2 }).secrets.get('a'))).toMatchObject({ code: 'rate_limited' })
    expect(server.asked.length).toBe(3)
    await failureOf(clientOf(server).secrets.get('a', { retries: 0 }))
    expect(server.asked.length).toBe(4)
  })

  it('does not wait for longer than it has: it ends at once with what the server said', async () => {
    await using server = await ScriptedServer.start(refusal(429, 'rate_limited', { 'retry-after': '3600' }))
    const failure = await failureOf(clientOf(server).secrets.get('a'))
    expect(failure).toMatchObject({ code: 'rate_limited', retryAfterMs: 3_600_000 })
    expect(server.asked.length).toBe(1)
  })

  it('ends when its time is over', async () => {
    await using server = await ScriptedServer.start('hang')
    expect(await failureOf(clientOf(server, { timeoutMs: 50 }).secrets.get('a'))).toMatchObject({ code: 'timeout' })
    expect(await failureOf(clientOf(server).secrets.get('a', { timeoutMs: 50 }))).toMatchObject({ code: 'timeout' })
    expect(server.asked.length).toBe(2)
  })

  it("ends when its signal is aborted, with the signal's reason, also while it waits", async () => {
    const reason = new Error('enough')
    for (const turn of ['hang', refusal(503, 'store_unavailable', { 'retry-after': '20' })] as const) {
      await using server = await ScriptedServer.start(turn)
      const ending = new AbortController()
      const call = clientOf(server).secrets.get('a', { signal: ending.signal })
      setTimeout(() => ending.abort(reason), 100)
      await expect(call).rejects.toBe(reason)
      expect(server.asked.length).toBe(1)
    }
    await using server = await ScriptedServer.start(DONE)
    await expect(clientOf(server).secrets.get('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(server.asked).toEqual([])
  })
})

describe('an answer', () => {
  it('that is none of coatcheck is told from one, and is not repeated in the error', async () => {
    for (const body of [`<html>${CANARY}`, `{"error":"${CANARY}"}`, `"${CANARY}"`, 'null', '']) {
      await using server = await ScriptedServer.start({ status: 502, body })
      expect(await failureOf(clientOf(server).secrets.get('a'))).toMatchObject({
        code: 'unexpected_answer',
        status: 502,
      })
    }
    await using server = await ScriptedServer.start({ status: 200, body: `<html>${CANARY}` })
    expect(await failureOf(clientOf(server).secrets.get('a'))).toMatchObject({ code: 'unexpected_answer' })
  })

  it('that redirects is not followed: the token goes to one server', async () => {
    await using other = await ScriptedServer.start(DONE)
    await using server = await ScriptedServer.start({ status: 307, headers: { location: other.url } })
    expect(await failureOf(clientOf(server).secrets.get('a'))).toMatchObject({ code: 'unexpected_answer', status: 307 })
    expect(other.asked).toEqual([])
  })
})

describe('a call written wrongly', () => {
  it('is refused before anything is sent, without repeating what was given', async () => {
    await using server = await ScriptedServer.start(DONE)
    for (const url of ['', '127.0.0.1:8081', 'ftp://token-canary@x', `http://user:token-canary@127.0.0.1`]) {
      await failureOf(Promise.resolve().then(() => new Coatcheck({ url, token: TOKEN })))
    }
    for (const token of ['', 'token-canary\r\nx: y', 'token-canary ', 'tøken-canary']) {
      await failureOf(Promise.resolve().then(() => new Coatcheck({ url: server.url, token })))
      await failureOf(new Coatcheck({ url: server.url, token: () => token }).secrets.get('a'))
    }
    const client = clientOf(server)
    for (const name of ['', '.', '..']) await failureOf(client.secrets.get(name))
    await failureOf(client.secrets.create({ name: 'a', value: CANARY }, { idempotencyKey: 'a b' }))
    await failureOf(client.secrets.get('a', { timeoutMs: -1 }))
    await failureOf(Promise.resolve().then(() => client.within({})))
    expect(server.asked).toEqual([])
  })

  it('by a token of the caller is thrown as it is', async () => {
    await using server = await ScriptedServer.start(DONE)
    const own = new Error('no token today')
    const client = new Coatcheck({ url: server.url, token: () => Promise.reject(own) })
    await expect(client.secrets.get('a')).rejects.toBe(own)
  })
})

it('names are sent as one segment, scopes percent-encoded', async () => {
  await using server = await ScriptedServer.start(DONE)
  await clientOf(server).secrets.get('a/../b?c#d ü')
  expect(server.asked[0]?.url).toBe('/v1/secrets/a%2F..%2Fb%3Fc%23d%20%C3%BC')
  await clientOf(server).within({ workspace: 'a; b', vault: 'ü' }).secrets.list()
  expect(server.asked[1]?.headers['coatcheck-scope']).toBe('workspace=a%3B%20b; vault=%C3%BC')
})

it('a list asks for a page when it is read, and for the next when the first was', async () => {
  const page = (name: string, nextCursor: string | null) => ({ status: 200, body: { items: [{ name }], nextCursor } })
  await using server = await ScriptedServer.start(page('a', 'c1'), page('b', 'c2'), page('c', null))
  const list = clientOf(server).secrets.list({ limit: 1 })
  expect(server.asked.length).toBe(0)
  const seen: string[] = []
  for await (const { name } of list) {
    seen.push(name)
    if (seen.length === 2) break
  }
  expect([seen, server.asked.length]).toEqual([['a', 'b'], 2])
  expect(server.asked.map(({ url }) => url)).toEqual(['/v1/secrets?limit=1', '/v1/secrets?limit=1&cursor=c1'])
})

describe('the decision', () => {
  it('is never to wait past the time left, and never less than the server asked for', () => {
    const attempt = fc.record({
      number: fc.nat(10),
      status: fc.constantFrom(null, 400, 404, 429, 500, 503),
      retryAfterMs: fc.option(fc.nat(120_000)),
      repeatable: fc.boolean(),
    })
    const limits = fc.record({ retries: fc.nat(5), leftMs: fc.integer({ min: -10, max: 60_000 }) })
    fc.assert(
      fc.property(attempt, limits, fc.double({ min: 0, max: 1, noNaN: true }), (given, bounds, random) => {
        const decision = decideRetry(given, bounds, () => random)
        if (!decision.again) return
        expect(decision.waitMs).toBeLessThan(bounds.leftMs)
        expect(decision.waitMs).toBeGreaterThanOrEqual(given.retryAfterMs ?? 0)
        expect(given.number).toBeLessThan(bounds.retries)
        expect(given.status === null ? given.repeatable : [429, 503].includes(given.status)).toBe(true)
      }),
    )
  })

  it('waits longer each time, up to five seconds', () => {
    const waits = [0, 1, 2, 3, 4, 5, 6].map((number) => {
      const attempt = { number, status: 503, retryAfterMs: null, repeatable: true }
      const decision = decideRetry(attempt, { retries: 9, leftMs: 60_000 }, () => 1)
      return decision.again ? decision.waitMs : 0
    })
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 5000, 5000])
  })

  it('reads Retry-After as seconds and as a date', () => {
    const now = Date.parse('2030-01-01T00:00:00Z')
    expect(retryAfter('7', now)).toBe(7000)
    expect(retryAfter('Tue, 01 Jan 2030 00:00:09 GMT', now)).toBe(9000)
    expect(retryAfter('Mon, 31 Dec 2029 00:00:00 GMT', now)).toBe(0)
    for (const none of [null, '', '-1', 'soon']) expect(retryAfter(none, now)).toBeNull()
  })
})

it('the codes are those that the API documents', () => {
  const documented = [...documentedFailures().matchAll(/[a-z]+(?:_[a-z]+)*/g)].map(([code]) => code)
  const known = {
    bad_request: 1,
    invalid_input: 1,
    invalid_host: 1,
    value_not_placeable: 1,
    unauthenticated: 1,
    forbidden: 1,
    not_found: 1,
    method_not_allowed: 1,
    conflict: 1,
    gone: 1,
    expired: 1,
    exhausted: 1,
    disabled: 1,
    precondition_failed: 1,
    body_too_large: 1,
    unsupported_media_type: 1,
    rate_limited: 1,
    headers_too_large: 1,
    audit_unavailable: 1,
    store_unavailable: 1,
    internal: 1,
  } satisfies Record<ServerCode, 1>
  expect(Object.keys(known).toSorted()).toEqual([...documented, 'internal'].toSorted())
})
