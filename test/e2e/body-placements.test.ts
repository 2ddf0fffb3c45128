/**
 * A secret with a body placement is swapped where that placement says, in the right writing, while the body streams;
 * framing is kept, and a placeholder anywhere else in the body stays as it is and is reported.
 */
import { once } from 'node:events'
import http from 'node:http'
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { canary } from '../support/leak-check.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { type Answer, answerTo, openTls, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
/** Goes to `body:/client_secret`; `anywhere` to the whole body, twice; the value has a quote, so that escaping shows. */
let oauth: { placeholder: string; value: string }
let anywhere: { placeholder: string; value: string }

async function create(name: string, placements: readonly string[], value: string) {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: SecretValue.fromText(value),
    hosts: [ALLOWED],
    placements,
  })
  return { placeholder: secret.placeholder, value }
}

async function startRig(env: Readonly<Record<string, string>> = {}): Promise<void> {
  rig = await Rig.start({ env })
  oauth = await create('oauth', ['body:/client_secret', 'body:client_secret'], `${canary('body')}"&<%`)
  anywhere = await create('anywhere', ['body', 'credential-headers'], canary('any'))
  await rig.app.data.sandboxes.setMounts(rig.principal, 'box', {
    OPENAI_API_KEY: 'openai',
    OAUTH: 'oauth',
    ANYWHERE: 'anywhere',
  })
}

function post(body: string | Buffer, contentType: string, headers: readonly string[] = []): Promise<Answer> {
  return send(rig, { method: 'POST', path: '/token', headers: ['Content-Type', contentType, ...headers], body })
}

/** Sends chunks as they are given, without a Content-Length. */
async function postChunks(chunks: readonly (string | Buffer)[], contentType: string): Promise<Answer> {
  const socket = await openTls(rig, ALLOWED)
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const headers = { Host: `${ALLOWED}:${rig.upstream.port}`, 'Content-Type': contentType }
  const pending = http.request({ method: 'POST', path: '/', headers, createConnection: () => socket })
  for (const chunk of chunks.slice(0, -1)) {
    pending.write(chunk)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return await answerTo(pending, chunks.at(-1))
}

async function lastExchange() {
  const events = await rig.events()
  return events.findLast((event) => event.kind === 'exchange')
}

describe('a body placement', () => {
  beforeAll(() => startRig())
  afterAll(() => rig.stop())
  beforeEach(() => rig.upstream.clear())

  it('swaps at a JSON pointer, escaped, and corrects the Content-Length', async () => {
    const body = JSON.stringify({ grant: 'x', client_secret: oauth.placeholder })
    expect((await post(body, 'application/json')).status).toBe(200)
    const { headers, body: received } = rig.upstream.last
    expect(JSON.parse(received.toString('utf8'))).toEqual({ grant: 'x', client_secret: oauth.value })
    expect(headers['content-length']).toBe(String(received.length))
    expect(headers['transfer-encoding']).toBeUndefined()
    expect(await lastExchange()).toMatchObject({
      decision: 'released',
      secrets: [{ name: 'oauth', placement: 'body:/client_secret' }],
      reported: 0,
    })
  })

  it('leaves it anywhere else in the JSON, reports it, and keeps every byte', async () => {
    const body = JSON.stringify({ note: oauth.placeholder, nested: { client_secret: oauth.placeholder } })
    await post(body, 'application/json')
    expect(rig.upstream.last.body.toString('utf8')).toBe(body)
    expect(await lastExchange()).toMatchObject({ decision: 'withheld', reported: 2, secrets: [] })
  })

  it('swaps a form field, percent-encoded', async () => {
    await post(`grant_type=x&client_secret=${oauth.placeholder}`, 'application/x-www-form-urlencoded')
    const form = new URLSearchParams(rig.upstream.last.body.toString('latin1'))
    expect(form.get('client_secret')).toBe(oauth.value)
  })

  it('swaps a multipart part, raw', async () => {
    const body = `--b\r\nContent-Disposition: form-data; name="client_secret"\r\n\r\n${oauth.placeholder}\r\n--b--\r\n`
    await post(body, 'multipart/form-data; boundary=b')
    expect(rig.upstream.last.body.toString('utf8')).toBe(body.replace(oauth.placeholder, () => oauth.value))
  })

  it('keeps a chunked body chunked, however it is cut', async () => {
    const body = `text before ${anywhere.placeholder} text after`
    for (const cut of [1, 15, 20, 44]) {
      await postChunks([body.slice(0, cut), body.slice(cut)], 'text/plain')
      const { headers, body: received } = rig.upstream.last
      expect(received.toString('utf8')).toBe(`text before ${anywhere.value} text after`)
      expect(headers['transfer-encoding']).toBe('chunked')
      expect(headers['content-length']).toBeUndefined()
    }
  })

  it('sends a body that is too large to be completed chunked', async () => {
    const filler = 'x'.repeat(400 * 1024)
    await post(`${filler}${anywhere.placeholder}`, 'text/plain')
    const { headers, body } = rig.upstream.last
    expect(body.toString('utf8')).toBe(`${filler}${anywhere.value}`)
    expect(headers['transfer-encoding']).toBe('chunked')
  })

  it('puts a secret outside of headers once; the second time it is withheld', async () => {
    const { placeholder, value } = anywhere
    await post(`${placeholder} ${placeholder}`, 'text/plain')
    expect(rig.upstream.last.body.toString('utf8')).toBe(`${value} ${placeholder}`)
    expect(await lastExchange()).toMatchObject({ decision: 'released', reported: 1 })
  })

  it('rewrites inside gzip and zstd, and packs again', async () => {
    const body = JSON.stringify({ client_secret: oauth.placeholder })
    await post(gzipSync(body), 'application/json', ['Content-Encoding', 'gzip'])
    expect(JSON.parse(gunzipSync(rig.upstream.last.body).toString())).toEqual({ client_secret: oauth.value })
    await post(zstdCompressSync(body), 'application/json', ['Content-Encoding', 'zstd'])
    expect(JSON.parse(zstdDecompressSync(rig.upstream.last.body).toString())).toEqual({ client_secret: oauth.value })
  })

  it('refuses a compressed body that is not what its label says, before anything is sent', async () => {
    const answer = await post('not gzip', 'application/json', ['Content-Encoding', 'gzip'])
    expect(answer.error?.code).toBe('bad_request')
    expect(rig.upstream.requests).toHaveLength(0)
  })

  it('refuses a decompression bomb with 413, before anything is sent', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    const answer = await post(bomb, 'application/json', ['Content-Encoding', 'gzip'])
    expect(answer.status).toBe(413)
    expect(rig.upstream.requests).toHaveLength(0)
  })

  it('masks what was put into the body when it comes back', async () => {
    rig.upstream.answerWith((request, response) => void request.pipe(response))
    for (const type of ['text/plain', 'application/json']) {
      const echo = await postChunks([JSON.stringify({ a: anywhere.placeholder })], type)
      expect(JSON.parse(echo.body.toString())).toEqual({ a: anywhere.placeholder })
    }
    const small = await post(JSON.stringify({ client_secret: oauth.placeholder }), 'application/json')
    expect(JSON.parse(small.body.toString())).toEqual({ client_secret: oauth.placeholder })
  })

  it.each([
    { name: 'that counts its uses', countUses: true },
    { name: 'that does not', countUses: false },
  ])('masks a value $name from when it is put into a body whose answer has begun', async ({ countUses }) => {
    const value = canary('late')
    const counted = {
      value: SecretValue.fromText(value),
      hosts: [ALLOWED],
      placements: ['body'],
      maxAccessCount: 1,
      countUses,
    }
    const name = countUses ? 'counted' : 'uncounted'
    const { secret } = await rig.app.data.secrets.create(rig.principal, { name, ...counted })
    const sandbox = await rig.sandboxWith(`late-${name}`, { LATE: name })
    // Echoes what comes as it comes, after an answer of its own that nothing was released for.
    rig.upstream.answerWith((request, response) => {
      response.writeHead(200)
      response.write('begun: va')
      request.on('data', (chunk: Buffer) => response.write(chunk))
      request.on('end', () => response.end())
    })
    const socket = await openTls(rig, ALLOWED, { sandbox })
    socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
    const headers = { Host: `${ALLOWED}:${rig.upstream.port}`, 'Content-Type': 'text/plain' }
    const pending = http.request({ method: 'POST', path: '/', headers, createConnection: () => socket })
    pending.write('first ')
    const [response] = (await once(pending, 'response')) as [http.IncomingMessage]
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    await until(() => Buffer.concat(chunks).includes('first'))
    pending.end(`then ${secret.placeholder} and ${secret.placeholder}`)
    await once(response, 'end')
    const echo = `begun: vafirst then ${secret.placeholder} and ${secret.placeholder}`
    expect(Buffer.concat(chunks).toString()).toBe(echo)
    expect(rig.upstream.last.body.toString()).toBe(`first then ${value} and ${secret.placeholder}`)
    const [version] = await rig.app.data.secrets.versions(rig.principal, name)
    expect(version?.accessCount).toBe(countUses ? 1 : 0)
  })

  it('does not use up a secret that might have been put into a body and was not', async () => {
    const { accessCount } = await rig.app.data.secrets.get(rig.principal, 'counted')
    const sandbox = await rig.sandboxWith('unused', { LATE: 'counted' })
    const socket = await openTls(rig, ALLOWED, { sandbox })
    const headers = { Host: `${ALLOWED}:${rig.upstream.port}`, 'Content-Type': 'text/plain' }
    const pending = http.request({ method: 'POST', path: '/', headers, createConnection: () => socket })
    pending.write('nothing ')
    expect((await answerTo(pending, 'here')).status).toBe(200)
    expect(await rig.app.data.secrets.get(rig.principal, 'counted')).toMatchObject({ accessCount })
  })

  it('is not released to another host: the body passes as it is', async () => {
    const body = JSON.stringify({ client_secret: oauth.placeholder })
    await send(rig, { host: OTHER, method: 'POST', headers: ['Content-Type', 'application/json'], body })
    expect(rig.upstream.last.body.toString()).toBe(body)
    expect(await lastExchange()).toMatchObject({ decision: 'withheld', reported: 1, host: OTHER })
  })

  it('releases in header and body of one request, and records each', async () => {
    const headers = ['Authorization', `Bearer ${rig.secret.placeholder}`]
    await post(JSON.stringify({ client_secret: oauth.placeholder }), 'application/json', headers)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    const exchange = await lastExchange()
    expect(exchange).toMatchObject({ secrets: [{ name: 'openai' }, { name: 'oauth' }] })
  })

  it('answers 100-continue before it reads the body, and sends the rewritten one', async () => {
    const socket = await openTls(rig, ALLOWED)
    const body = JSON.stringify({ client_secret: oauth.placeholder })
    const pending = http.request({
      method: 'POST',
      path: '/',
      headers: {
        Host: `${ALLOWED}:${rig.upstream.port}`,
        Expect: '100-continue',
        'Content-Length': body.length,
        'Content-Type': 'application/json',
      },
      createConnection: () => socket,
    })
    pending.flushHeaders()
    await new Promise((resolve) => pending.once('continue', resolve))
    await answerTo(pending, body)
    expect(rig.upstream.last.body.toString()).toContain('client_secret')
    expect(rig.upstream.last.body.toString()).not.toContain(oauth.placeholder)
  })
})

describe('encoded placeholders in a body', () => {
  beforeAll(() => startRig())
  afterAll(() => rig.stop())

  it('are passed as they are and reported', async () => {
    const { placeholder } = rig.secret
    const escaped = placeholder.replace('_', '\\u005f')
    const body = `{"a":"${escaped}","b":"${Buffer.from(placeholder).toString('base64')}"}`
    await send(rig, { host: OTHER, method: 'POST', headers: ['Content-Type', 'application/json'], body })
    expect(rig.upstream.last.body.toString()).toBe(body)
    expect(await lastExchange()).toMatchObject({ reported: 2, decision: 'withheld' })
  })
})

describe('with largeBody: refuse and inBody: refuse', () => {
  beforeAll(() => startRig({ COATCHECK_SECRETS_LARGEBODY: 'refuse', COATCHECK_SECRETS_INBODY: 'refuse' }))
  afterAll(() => rig.stop())
  beforeEach(() => rig.upstream.clear())

  it('refuses a large body at the first swap with 413, and no value leaves', async () => {
    const answer = await post(`${'x'.repeat(400 * 1024)}${anywhere.placeholder}`, 'text/plain')
    expect(answer.error?.code).toBe('body_too_large')
    expect(rig.upstream.received.includes(anywhere.value)).toBe(false)
  })

  it('passes a large body without a placeholder with its Content-Length', async () => {
    const body = 'x'.repeat(400 * 1024)
    expect((await post(body, 'text/plain')).status).toBe(200)
    expect(rig.upstream.last.headers['content-length']).toBe(String(body.length))
  })

  it('refuses a placeholder where nothing may be put', async () => {
    const answer = await post(JSON.stringify({ note: oauth.placeholder }), 'application/json')
    expect(answer.status).toBe(403)
    expect(answer.error?.code).toBe('placement_not_allowed')
  })
})
