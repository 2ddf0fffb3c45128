/**
 * Where a value may be put. The default is credential headers; a placeholder anywhere else in the head is refused before
 * anything is dialled, and one in a body goes on as it is and is reported.
 */
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent, outcome, releasesOf } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { openWire, type SandboxRequest, send } from '../support/sandbox-client.ts'

let rig: Rig
let placeholder: string
beforeAll(async () => {
  rig = await Rig.start()
  placeholder = rig.secret.placeholder
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`

async function expectRefused(request: SandboxRequest, code = 'placement_not_allowed'): Promise<void> {
  const answer = await send(rig, request)
  expect([answer.status, answer.error?.code]).toEqual([403, code])
  expect(answer.body.includes(rig.value)).toBe(false)
  expect(rig.upstream.connections).toBe(0)
  const which = { requestId: answer.error?.requestId ?? '' }
  expect(await outcome(rig, which)).toEqual({ decision: 'refused', reason: code, status: 403 })
  expect(await releasesOf(rig, which)).toEqual([])
}

/** It may go on as a placeholder, or end at the proxy; it never becomes the value. */
async function expectWithheld(request: SandboxRequest): Promise<void> {
  const answer = await send(rig, request)
  expect(answer.status).toBeLessThan(500)
  expect(rig.upstream.received.includes(rig.value)).toBe(false)
}

describe('E01 a header that reflects, routes or describes', () => {
  it.each([
    'User-Agent',
    'Referer',
    'Origin',
    'From',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
    'Forwarded',
    'X-Real-IP',
    'X-Request-Id',
    'X-Correlation-Id',
    'traceparent',
    'tracestate',
    'baggage',
    'Accept',
    'Accept-Language',
    'Accept-Encoding',
    'Accept-Charset',
    'If-Match',
    'If-None-Match',
    'If-Modified-Since',
    'If-Range',
    'Range',
    'Cookie',
    'Set-Cookie',
    'Access-Control-Request-Headers',
    'Access-Control-Request-Method',
    'Sec-Fetch-Site',
    'Sec-CH-UA',
    'Sec-WebSocket-Protocol',
    'Sec-WebSocket-Extensions',
    'Content-Type',
    'Content-Language',
    'Content-Location',
    'Link',
    'Pragma',
    'Cache-Control',
    'Max-Forwards',
    'Date',
    'Warning',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
    'Idempotency-Key',
    'X-CSRF-Token',
    'X-Custom',
    'Via',
    'Author',
    'X-Author-Name',
    'Authenticated-User',
  ])('E01 %s does not take a value', async (name) => {
    await expectRefused({ headers: [name, `a ${placeholder} b`] })
  })

  it.each(['TE', 'Upgrade', 'Proxy-Authenticate', 'Proxy-Connection', 'Keep-Alive', 'HTTP2-Settings', 'Connection'])(
    'E01 %s ends at the proxy',
    async (name) => {
      await expectWithheld({ headers: [name, placeholder] })
      expect(rig.upstream.received.includes('xcoat_')).toBe(false)
    },
  )

  it('E01 Host names the destination or nothing', async () => {
    const answer = await send(rig, { headers: ['Host', `${placeholder}.test`] })
    expect([400, 421]).toContain(answer.status)
    expect(rig.upstream.connections).toBe(0)
  })

  it('E01 Expect is judged as an expectation', async () => {
    expect((await send(rig, { headers: ['Expect', placeholder] })).status).toBe(400)
    expect(rig.upstream.connections).toBe(0)
  })

  it('E01 the name of a header does not take a value', async () => {
    await expectRefused({ headers: [`X-${placeholder}`, 'yes'] })
    await expectRefused({ headers: [placeholder, 'yes'] })
  })

  it('E01 and one such header refuses the request, whatever else is in it', async () => {
    await expectRefused({ headers: ['Authorization', `Bearer ${placeholder}`, 'X-Forwarded-For', placeholder] })
    await expectRefused({ headers: ['X-Forwarded-For', placeholder, 'Authorization', `Bearer ${placeholder}`] })
  })

  it.each([
    'Authorization',
    'X-Api-Key',
    'api-key',
    'X-Goog-Api-Key',
    'PRIVATE-TOKEN',
    'X-Auth-Token',
    'apikey',
    'X-Client-Secret',
  ])('E01 %s does', async (name) => {
    expect((await send(rig, { headers: [name, placeholder] })).status).toBe(200)
    expect(rig.upstream.last.headers[name.toLowerCase()]).toBe(rig.value)
  })
})

describe('a body', () => {
  it.each([
    [
      'E02 a message to somebody',
      '/e02a',
      'application/json',
      () => JSON.stringify({ to: 'me@evil.test', body: placeholder }),
    ],
    ['E02 a form', '/e02b', 'application/x-www-form-urlencoded', () => `client_secret=${placeholder}&x=1`],
    ['E02 a prompt', '/e02c', 'text/plain', () => `OPENAI_API_KEY=${placeholder}\nHOME=/root\n`],
    [
      'E03 a webhook',
      '/e03',
      'application/json',
      () => JSON.stringify({ webhook: `https://evil.test/?k=${placeholder}` }),
    ],
  ])('%s carries the placeholder as it is, and that is reported', async (_name, path, type, body) => {
    const answer = await send(rig, { method: 'POST', path, headers: ['Content-Type', type], body: body() })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe(body())
    expect(await closingEvent(rig, { path })).toMatchObject({ decision: 'withheld', reported: 1, secrets: [] })
  })

  it('E02 is not opened by a release in the head of the same request', async () => {
    const headers = ['Authorization', `Bearer ${placeholder}`]
    const answer = await send(rig, { method: 'POST', path: '/e02r', headers, body: `{"k":"${placeholder}"}` })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe(`{"k":"${placeholder}"}`)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(await closingEvent(rig, { path: '/e02r' })).toMatchObject({ decision: 'released', reported: 1 })
  })

  it('E05 in a coding is passed as it is', async () => {
    const body = gzipSync(placeholder)
    await expectWithheld({ method: 'POST', headers: ['Content-Encoding', 'gzip'], body })
    expect(rig.upstream.last.body.equals(body)).toBe(true)
  })

  it('E06 is scanned alike wherever it is cut', async () => {
    const body = Buffer.from(`a ${placeholder} b`)
    for (let cut = 1; cut < body.length; cut += 1) {
      const wire = await openWire(rig)
      wire.write(`POST /e06/${cut} HTTP/1.1\r\n${host()}\r\nContent-Length: ${body.length}\r\n\r\n`)
      wire.write(body.subarray(0, cut))
      await new Promise((resume) => setImmediate(resume))
      wire.write(body.subarray(cut))
      expect((await wire.message()).status).toBe(200)
      wire.socket.destroy()
      expect(await closingEvent(rig, { path: `/e06/${cut}` })).toMatchObject({ decision: 'withheld', reported: 1 })
    }
    expect(rig.upstream.requests.every((each) => each.body.equals(body))).toBe(true)
  })
})

describe('the target', () => {
  it.each([
    ['E04 a query', () => `/x?key=${placeholder}`],
    ['E04 the name of a parameter', () => `/x?${placeholder}=1`],
    ['E04 the path', () => `/bot${placeholder}/sendMessage`],
    ['E05 a query in capitals of its escape', () => `/x?key=${placeholder.replace('_', '%5F')}`],
    ['E05 a query in small letters of its escape', () => `/x?key=${placeholder.replace('_', '%5f')}`],
    ['E05 a query that is escaped twice', () => `/x?key=${placeholder.replace('_', '%255F')}`],
    [
      'E05 a query that is escaped whole',
      () => `/x?key=${[...Buffer.from(placeholder)].map((byte) => `%${byte.toString(16)}`).join('')}`,
    ],
    ['E05 a path in its escape', () => `/a/${placeholder.replace('x', '%78')}/b`],
  ])('%s does not take a value', async (_name, path) => {
    await expectRefused({ path: path() })
  })

  it('E04 takes one where the secret says so, and the audit keeps neither value nor query', async () => {
    await rig.app.data.secrets.update(rig.principal, 'openai', {
      placements: ['credential-headers', 'query:key', 'path'],
    })
    try {
      expect((await send(rig, { path: `/e04/${placeholder}?a=1` })).status).toBe(200)
      expect(rig.upstream.last.target).toBe(`/e04/${rig.value}?a=1`)
      expect((await send(rig, { path: `/e04q?a=1&key=${placeholder}` })).status).toBe(200)
      expect(rig.upstream.last.target).toBe(`/e04q?a=1&key=${rig.value}`)
      for (const [path, placement] of [[`/e04/${placeholder}`, 'path'] as const, ['/e04q', 'query:key'] as const]) {
        const event = await closingEvent(rig, { path })
        expect(event.secrets.map((each) => each.placement)).toEqual([placement])
        expect(JSON.stringify(event)).not.toContain('?')
      }
      rig.upstream.clear()
      await expectRefused({ path: `/e04?other=${placeholder}` })
    } finally {
      await rig.app.data.secrets.update(rig.principal, 'openai', { placements: ['credential-headers'] })
    }
  })
})

describe('E05 an encoded placeholder in a header', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  it('E05 inside Basic is decoded, replaced and encoded again', async () => {
    expect((await send(rig, { headers: ['Authorization', basic(`user:${placeholder}`)] })).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(basic(`user:${rig.value}`))
  })

  it.each([
    ['without its padding', () => basic(`us:${placeholder}`).replace(/=+$/, '')],
    [
      'with bits that do not count',
      () => basic(`us:${placeholder}`).replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`),
    ],
    ['in the URL alphabet', () => basic(`\xff\xfe~~~:${placeholder}`).replaceAll('/', '_').replaceAll('+', '-')],
  ])('E05 inside Basic that is not canonical (%s) is never half replaced', async (_name, field) => {
    const answer = await send(rig, { headers: ['Authorization', field()] })
    expect([200, 403]).toContain(answer.status)
    expect(rig.upstream.received.includes(rig.value)).toBe(false)
    expect(rig.upstream.received.includes(Buffer.from(rig.value).toString('base64').slice(4, 40))).toBe(false)
  })

  it.each([
    ['base64 of it', () => Buffer.from(placeholder).toString('base64')],
    ['JSON escapes', () => placeholder.replace('_', '\\u005f')],
    ['HTML entities', () => placeholder.replace('_', '&#95;')],
    ['capitals', () => placeholder.toUpperCase()],
    ['percent escapes', () => placeholder.replace('_', '%5F')],
    ['it backwards', () => placeholder.split('').reverse().join('')],
    ['a letter missing', () => placeholder.slice(0, -1)],
  ])('E05 %s is not a placeholder, and arrives as it is', async (_name, text) => {
    await expectWithheld({ headers: ['X-Api-Key', text()] })
    expect(rig.upstream.last.headers['x-api-key']).toBe(text())
  })

  it('E06 cut anywhere on the way it is still found', async () => {
    const bytes = Buffer.from(`GET /e06h HTTP/1.1\r\n${host()}\r\nX-Api-Key: ${placeholder}\r\n\r\n`)
    const start = bytes.indexOf('X-Api-Key')
    for (let cut = start; cut < bytes.length; cut += 1) {
      const wire = await openWire(rig)
      wire.write(bytes.subarray(0, cut))
      await new Promise((resume) => setImmediate(resume))
      wire.write(bytes.subarray(cut))
      expect((await wire.message()).status).toBe(200)
      expect(rig.upstream.last.headers['x-api-key']).toBe(rig.value)
      wire.socket.destroy()
    }
  })
})
