/**
 * HTTP/2 and HTTP/1.1 in every mix. Both sides agree by ALPN, each apart; a placeholder is released, refused and masked
 * alike whichever was agreed on, and what one protocol cannot say is said in the other's terms.
 */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { closingEvent, outcome, releasesOf } from '../support/audited.ts'
import { askOver, echoH1, echoH2, lastOf, MIXES, type Protocol } from '../support/either-protocol.ts'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { Rig } from '../support/rig.ts'
import { openTls, rawExchange } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
let h2: H2Upstream
let both: H2Upstream
beforeAll(async () => {
  h2 = await H2Upstream.start()
  both = await H2Upstream.start(['h2', 'http/1.1'])
  rig = await Rig.start({ ports: [h2.port, both.port] })
  h2.certifiedBy(rig.authority)
  both.certifiedBy(rig.authority)
})
afterEach(async () => {
  rig.upstream.clear()
  h2.clear()
  both.clear()
  await until(() => rig.upstream.sockets.size + h2.sockets.size + both.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
  await h2.stop()
  await both.stop()
})

const portOf = (upstream: Protocol) => (upstream === 'h1' ? rig.upstream.port : h2.port)
const credential = () => ['authorization', `Bearer ${rig.secret.placeholder}`]

describe.each(MIXES)('a sandbox on %s and an upstream on %s', (sandbox, upstream) => {
  const path = (what: string) => `/${what}-${sandbox}-${upstream}`
  const ask = (options: Parameters<typeof askOver>[3] = {}) => askOver(sandbox, rig, portOf(upstream), options)

  it('release the value, and record it', async () => {
    const answer = await ask({ path: path('release'), headers: credential() })
    expect(answer).toMatchObject({ status: 200, body: Buffer.from('ok') })
    expect(lastOf(upstream, rig, h2).headers['authorization']).toBe(`Bearer ${rig.value}`)
    expect(await closingEvent(rig, { path: path('release') })).toMatchObject({ decision: 'released', status: 200 })
    expect(await releasesOf(rig, { path: path('release') })).toHaveLength(1)
  })

  it('release it in Basic credentials', async () => {
    const basic = (password: string) => `Basic ${Buffer.from(`user:${password}`).toString('base64')}`
    await ask({ headers: ['authorization', basic(rig.secret.placeholder)] })
    expect(lastOf(upstream, rig, h2).headers['authorization']).toBe(basic(rig.value))
  })

  it('refuse a placeholder where none may be, with the reason', async () => {
    const answer = await ask({ headers: ['cookie', `a=${rig.secret.placeholder}`] })
    expect(answer).toMatchObject({ status: 403, error: { code: 'placement_not_allowed' } })
    expect(rig.upstream.requests.length + h2.requests.length).toBe(0)
  })

  it.each(['/length', '/stream'])('mask it in fields, body and trailers: %s', async (echo) => {
    rig.upstream.answerWith(echoH1)
    h2.answerWith(echoH2)
    const answer = await ask({ path: echo, headers: credential() })
    const masked = `Bearer ${rig.secret.placeholder}`
    expect([answer.headers['x-echo'], answer.body.toString()]).toEqual([masked, masked])
    // HTTP/1.1 has trailers only behind a chunked body.
    if (echo === '/stream') expect(answer.trailers['x-end']).toBe(masked)
  })

  it('name the protocol that the request came by in Via', async () => {
    await ask()
    const version = sandbox === 'h2' ? '2.0' : '1.1'
    expect(lastOf(upstream, rig, h2).headers['via']).toMatch(new RegExp(`^${version} coatcheck-[0-9a-f]{8}$`))
  })

  it('send a body and its length', async () => {
    await ask({ method: 'POST', body: 'the body', headers: sandbox === 'h2' ? ['content-length', '8'] : [] })
    const { headers, body } = lastOf(upstream, rig, h2)
    expect([body.toString(), headers['content-length']]).toEqual(['the body', '8'])
  })

  it.each(['HEAD', 'DELETE', 'OPTIONS'])('send %s without a body', async (method) => {
    const answer = await ask({ method })
    expect([answer.status, answer.body.toString()]).toEqual([200, method === 'HEAD' ? '' : 'ok'])
  })

  it.each([204, 205, 304, 418, 599])('pass the status %i', async (status) => {
    rig.upstream.answerWith((_request, response) => response.writeHead(status).end())
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': status })
      stream.end()
    })
    expect((await ask()).status).toBe(status)
  })
})

describe('what HTTP/2 says otherwise', () => {
  it('the Host is the :authority, and names are in lower case', async () => {
    await askOver('h1', rig, h2.port, { headers: ['X-Case', '1', 'Connection', 'close, X-Gone', 'X-Gone', '1'] })
    const pseudo = h2.last.fields.slice(0, 8).join(' ')
    expect(pseudo).toBe(`:method GET :scheme https :authority api.test:${h2.port} :path /`)
    expect(h2.last.headers).toMatchObject({ 'x-case': '1' })
    for (const gone of ['host', 'connection', 'x-gone']) expect(h2.last.headers).not.toHaveProperty(gone)
  })

  it('an HTTP/1.1 upstream gets Host first, from the :authority', async () => {
    await askOver('h2', rig, rig.upstream.port, { headers: ['x-a', '1', 'x-a', '2', 'accept', '*/*'] })
    const { rawHeaders } = rig.upstream.last
    expect(rawHeaders.slice(0, 2)).toEqual(['host', `api.test:${rig.upstream.port}`])
    expect(rawHeaders.join('|')).toContain('x-a|1|x-a|2|accept|*/*')
  })

  it('a refused HEAD has the refusal in its head', async () => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const headers = ['x-key', 'xcoat_00000000000000000000000000']
    const answer = await client.ask({ method: 'HEAD', headers })
    expect(answer).toMatchObject({ status: 403, headers: { 'coatcheck-error': 'unknown_placeholder' } })
    client.close()
  })

  it.each(['h1', 'h2'] as const)('crumbs of a cookie are one to an upstream on %s', async (upstream) => {
    await askOver('h2', rig, portOf(upstream), { headers: ['cookie', 'a=1', 'x-b', '2', 'cookie', 'c=3; d=4'] })
    expect(lastOf(upstream, rig, h2).headers['cookie']).toBe('a=1; c=3; d=4')
  })

  it('a body of unknown length is chunked in HTTP/1.1', async () => {
    await askOver('h2', rig, rig.upstream.port, { method: 'POST', body: 'of unknown length' })
    expect(rig.upstream.last).toMatchObject({ headers: { 'transfer-encoding': 'chunked' } })
    expect(rig.upstream.last.body.toString()).toBe('of unknown length')
  })

  it('a chunked body goes on over HTTP/2 without that field', async () => {
    rig.upstream.clear()
    const socket = await openTls(rig, 'api.test', { port: h2.port })
    const head = `POST / HTTP/1.1\r\nHost: api.test:${h2.port}\r\nTransfer-Encoding: chunked\r\n`
    socket.write(`${head}\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\n`)
    await until(() => h2.requests[0]?.stream.readableEnded)
    expect(h2.last.body.toString()).toBe('abcde')
    expect(h2.last.headers).not.toHaveProperty('transfer-encoding')
    expect(h2.last.trailers).toEqual([])
    socket.destroy()
  })

  it('TE: trailers reaches an HTTP/2 upstream, and no other', async () => {
    await askOver('h2', rig, h2.port, { headers: ['te', 'trailers'] })
    await askOver('h2', rig, rig.upstream.port, { headers: ['te', 'trailers'] })
    expect(h2.last.headers['te']).toBe('trailers')
    expect(rig.upstream.last.headers).not.toHaveProperty('te')
  })

  it('informational answers and a wait for 100 pass', async () => {
    h2.answerWith(({ stream }) => {
      stream.additionalHeaders({ ':status': 103, link: ['</a>; rel=preload', '</b>; rel=preload'] })
      stream.respond({ ':status': 200 })
      stream.end('ok')
    })
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const answer = await client.ask({ method: 'POST', headers: ['expect', '100-continue'], body: 'x' })
    expect(answer.informational.map((fields) => fields[1])).toEqual(['100', '103'])
    expect(h2.last.headers).not.toHaveProperty('expect')
    client.close()
  })

  it('an answer without a body ends with its head', async () => {
    h2.answerWith(({ stream }) => stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true }))
    const client = await H2Sandbox.open(rig, { port: h2.port })
    expect(await client.ask()).toMatchObject({ endedWithHead: true, headers: { 'grpc-status': '5' } })
    client.close()
  })
})

describe('negotiation', () => {
  it('goes on by the protocol it came by where the upstream speaks both', async () => {
    for (const protocol of ['h1', 'h2', 'h1', 'h2'] as const) {
      const answer = await askOver(protocol, rig, both.port)
      expect(answer.body.toString()).toBe(protocol === 'h2' ? 'ok' : 'ok over HTTP/1.1')
    }
    expect(both.protocols).toEqual(['http/1.1', 'h2'])
  })

  it('names keep their case from HTTP/1.1 to HTTP/1.1', async () => {
    await askOver('h1', rig, rig.upstream.port, { headers: ['X-CaSe', '1'] })
    expect(rig.upstream.last.rawHeaders).toContain('X-CaSe')
  })

  it('with a body, to an upstream that takes nothing but h2, arrives whole the first time', async () => {
    const answer = await askOver('h1', rig, h2.port, { method: 'POST', body: 'whole' })
    expect([answer.status, h2.last.body.toString()]).toEqual([200, 'whole'])
    expect(h2.protocols).toEqual(['h2'])
  })

  it.each([
    { offered: ['h2', 'http/1.1'], agreed: 'h2' },
    { offered: ['http/1.1', 'h2'], agreed: 'h2' },
    { offered: ['http/1.1'], agreed: 'http/1.1' },
    { offered: undefined, agreed: false },
  ])('a sandbox that offers $offered gets $agreed', async ({ offered, agreed }) => {
    const socket = await openTls(rig, 'api.test', offered === undefined ? {} : { ALPNProtocols: offered })
    expect(socket.alpnProtocol).toBe(agreed)
    socket.destroy()
  })

  it('a sandbox that offers nothing known is told so in the handshake', async () => {
    await expect(openTls(rig, 'api.test', { ALPNProtocols: ['spdy/3'] })).rejects.toMatchObject({
      code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    })
  })

  it('the preface of HTTP/2 where HTTP/1.1 was agreed on is refused as a bad request', async () => {
    const answer = await rawExchange(Number(new URL(rig.app.proxyUrl).port), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('curl --http2 is answered over HTTP/2 and sends HTTP/2', async () => {
    const trust = join(rig.dataDir, 'trust.pem')
    await writeFile(trust, rig.app.data.authority.certificatePem)
    const args = ['-sS', '--http2', '--proxy', rig.sandbox.proxyUrl, '--cacert', trust]
    const format = ['-w', ' %{http_version} %{http_code}', '-H', `Authorization: Bearer ${rig.secret.placeholder}`]
    const url = `https://api.test:${h2.port}/curl`
    const { stdout } = await promisify(execFile)('curl', [...args, ...format, '-d', 'from curl', url])
    expect(stdout).toBe('ok 2 200')
    expect(h2.last.headers['authorization']).toBe(`Bearer ${rig.value}`)
    expect(await outcome(rig, { path: '/curl' })).toMatchObject({ decision: 'released' })
  })
})

describe('with proxy.http2 off', () => {
  it('HTTP/1.1 alone is offered to sandboxes and upstreams', async () => {
    const off = await Rig.start({ env: { COATCHECK_PROXY_HTTP2: 'false' }, ports: [h2.port] })
    const socket = await openTls(off, 'api.test', { ALPNProtocols: ['h2', 'http/1.1'] })
    expect(socket.alpnProtocol).toBe('http/1.1')
    socket.destroy()
    h2.certifiedBy(off.authority)
    expect(await askOver('h1', off, h2.port)).toMatchObject({ status: 502, error: { code: 'upstream_tls' } })
    h2.certifiedBy(rig.authority)
    await off.stop()
  })
})
