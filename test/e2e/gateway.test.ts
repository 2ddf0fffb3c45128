/**
 * The gateway: a base URL in place of a proxy. A route's request is the same exchange as through the proxy, with the same
 * identity, decisions, masking and audit; the path and query behind the route arrive byte for byte, redirects and cookies
 * stay with the route, and what named the sandbox is gone.
 */
import { spawn } from 'node:child_process'
import http, { type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent, releasesOf } from '../support/audited.ts'
import { echo, finish, lacks } from '../support/client-sandbox.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { answerTo, proxyAuthorization, rawExchange } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
let dials: DialCounter
beforeAll(async () => {
  rig = await Rig.start({
    env: { COATCHECK_GATEWAY_LISTEN: '127.0.0.1:0', COATCHECK_EGRESS_RULES: JSON.stringify([{ deny: 'denied.test' }]) },
    envFor: ({ tls, plain }) => ({
      COATCHECK_GATEWAY_ROUTES: JSON.stringify({
        api: `https://${ALLOWED}:${tls}`,
        v1: `https://${ALLOWED}:${tls}/v1`,
        evil: `https://${OTHER}:${tls}`,
        plain: `http://${ALLOWED}:${plain}`,
        denied: 'https://denied.test',
      }),
    }),
  })
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
afterEach(async () => {
  rig.upstream.server.removeAllListeners('upgrade')
  rig.upstream.clear()
  rig.plain.clear()
  await until(() => rig.upstream.sockets.size === 0)
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const port = () => rig.app.addressOf('gateway.listen')?.port ?? 0
const inPath = () => `~${rig.sandbox.name}:${rig.sandbox.token}`
const bearer = () => ({ authorization: `Bearer ${rig.secret.placeholder}` })

async function ask(path: string, options: http.RequestOptions = {}, body?: string) {
  const answer = await answerTo(http.request({ host: '127.0.0.1', port: port(), path, agent: false, ...options }), body)
  rig.seen.push(answer.body, Buffer.from(answer.rawHeaders.join('\n')))
  return answer
}

describe('a route', () => {
  it('releases the value to its origin, audited as there, and masks it on the way back', async () => {
    rig.upstream.answerWith(echo)
    const answer = await ask(`/gateway/api/${inPath()}/through?q=1`, { headers: bearer() })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers).toMatchObject({
      authorization: `Bearer ${rig.value}`,
      host: `${ALLOWED}:${rig.upstream.port}`,
    })
    expect(answer.body.toString()).toContain(rig.secret.placeholder)
    const event = await closingEvent(rig, { path: '/through' })
    expect(event).toMatchObject({ sandbox: 'box', host: ALLOWED, port: rig.upstream.port, decision: 'released' })
    expect(await releasesOf(rig, { path: '/through' })).toHaveLength(1)
  })

  it.each([
    ['', '/'],
    ['/', '/'],
    ['?a=1', '/?a=1'],
    ['/x//y/%2F%2e?a=b+c&d=%20#', '/x//y/%2F%2e?a=b+c&d=%20#'],
    ['/../x;y', '/../x;y'],
    ['/gateway/api/~x:y', '/gateway/api/~x:y'],
    [`/${'a'.repeat(8000)}`, `/${'a'.repeat(8000)}`],
  ])('sends on what is behind it byte for byte: %s', async (rest, target) => {
    const wire = rest.replace('#', '')
    expect((await ask(`/gateway/api/${inPath()}${wire}`)).status).toBe(200)
    expect(rig.upstream.last.target).toBe(target.replace('#', ''))
  })

  it.each([
    ['', '/v1'],
    ['/', '/v1/'],
    ['?a', '/v1?a'],
    ['/chat/a..b', '/v1/chat/a..b'],
  ])('puts its prefix in front: %s', async (rest, target) => {
    expect((await ask(`/gateway/v1/${inPath()}${rest}`)).status).toBe(200)
    expect(rig.upstream.last.target).toBe(target)
  })

  it.each(['/..', '/../v2', '/a/../../v2', '/%2e%2E/v2', '/a%2f..%2fb', '/a\\..\\b', '/%252e%252e/x', '/.;x/'])(
    'is not left by a dot segment: %s',
    async (rest) => {
      const answer = await ask(`/gateway/v1/${inPath()}${rest}`)
      expect([answer.status, answer.error?.code]).toEqual([400, 'bad_request'])
      expect(dials.count).toBe(0)
    },
  )

  it('takes a body, of a length or in chunks', async () => {
    await ask(`/gateway/api/${inPath()}/p`, { method: 'POST', headers: { 'content-length': '5' } }, 'hello')
    expect(rig.upstream.last).toMatchObject({ method: 'POST', body: Buffer.from('hello') })
    await ask(`/gateway/api/${inPath()}/p`, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } }, 'hello')
    expect(rig.upstream.last.headers['transfer-encoding']).toBe('chunked')
  })

  it('releases into trailers where the placement says so, and drops those of everybody else', async () => {
    const { secret } = await rig.app.data.secrets.create(rig.principal, {
      name: 'signature',
      value: SecretValue.fromText(`${rig.value}-t`),
      hosts: [ALLOWED],
      placements: ['trailer'],
    })
    const signer = await rig.sandboxWith('signer', { SIGNATURE: 'signature' })
    const arrived: string[][] = []
    rig.upstream.answerWith((request, response) => {
      request.resume().once('end', () => {
        arrived.push(request.rawTrailers)
        response.end(request.rawTrailers.join())
      })
    })
    for (const { name, token } of [signer, rig.sandbox]) {
      const path = `/gateway/api/~${name}:${token}/trailed`
      const pending = http.request({ host: '127.0.0.1', port: port(), path, method: 'POST', agent: false })
      pending.setHeader('transfer-encoding', 'chunked').setHeader('trailer', 'X-Signature')
      pending.addTrailers({ 'X-Signature': secret.placeholder })
      const answer = await answerTo(pending, 'body')
      rig.seen.push(answer.body)
      expect(answer.status).toBe(200)
    }
    expect(arrived).toEqual([['X-Signature', `${rig.value}-t`], []])
  })

  it.each([
    ['another host', 'evil', 403, 'host_not_allowed'],
    ['plain HTTP', 'plain', 403, 'plaintext'],
    ['a host that a rule denies', 'denied', 403, 'egress_denied'],
  ])('does not release the value to %s', async (_name, route, status, code) => {
    const answer = await ask(`/gateway/${route}/${inPath()}/`, { headers: bearer() })
    expect([answer.status, answer.error?.code]).toEqual([status, code])
    expect(dials.count).toBe(0)
  })

  it('keeps hop-by-hop fields and its own name out of the request', async () => {
    const headers = {
      connection: 'x-hop',
      'x-hop': '1',
      te: 'trailers',
      'proxy-connection': 'keep-alive',
      host: 'coatcheck',
    }
    expect((await ask(`/gateway/api/${inPath()}/`, { headers })).status).toBe(200)
    const names = rig.upstream.last.rawHeaders.filter((_text, i) => i % 2 === 0).map((name) => name.toLowerCase())
    expect(names).not.toEqual(expect.arrayContaining(['x-hop']))
    expect(rig.upstream.received.includes('/gateway/')).toBe(false)
    expect(rig.upstream.last.headers.host).toBe(`${ALLOWED}:${rig.upstream.port}`)
  })
})

describe('who asks', () => {
  it('may say so in Proxy-Authorization', async () => {
    const [, credentials] = proxyAuthorization(rig.sandbox)
    const answer = await ask('/gateway/api/x', { headers: { ...bearer(), 'proxy-authorization': credentials } })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers['proxy-authorization']).toBeUndefined()
  })

  it.each([
    ['nobody', '/gateway/api/x'],
    ['a wrong token', '/gateway/api/~box:cst_wrong/x'],
    ['no token', '/gateway/api/~box/x'],
    ['escapes that are none', '/gateway/api/~box%3:%zz/x'],
    ['nobody, for a route that there is not', '/gateway/nowhere/x'],
    ['nobody, outside every route', '/'],
  ])('is asked for credentials as by an origin, not as by a proxy: %s', async (_name, path) => {
    const answer = await ask(path)
    expect([answer.status, answer.error?.code]).toEqual([401, 'identity_required'])
    expect(answer.headers['www-authenticate']).toContain('Coatcheck')
    expect(dials.count).toBe(0)
  })

  it('is not taken from two places', async () => {
    const [, credentials] = proxyAuthorization(rig.sandbox)
    const answer = await ask(`/gateway/api/${inPath()}/x`, { headers: { 'proxy-authorization': credentials } })
    expect([answer.status, answer.error?.code]).toEqual([400, 'bad_request'])
  })

  it('gets 404 for a route that there is not, and it is recorded', async () => {
    for (const path of [
      `/gateway/__proto__/${inPath()}/`,
      `/gateway/constructor/${inPath()}/`,
      `/gateway/no/${inPath()}`,
    ]) {
      const answer = await ask(path)
      expect([answer.status, answer.error?.code]).toEqual([404, 'not_found'])
      expect(await closingEvent(rig, { requestId: answer.error?.requestId ?? '' })).toMatchObject({
        sandbox: 'box',
        path: null,
      })
    }
  })

  it('may not use it as a proxy', async () => {
    const [name, credentials] = proxyAuthorization(rig.sandbox)
    const fields = `Host: ${ALLOWED}\r\n${name}: ${credentials}\r\n\r\n`
    expect(await rawExchange(port(), `GET http://${ALLOWED}/ HTTP/1.1\r\n${fields}`)).toMatch(/^HTTP\/1.1 400 /)
    expect(await rawExchange(port(), `CONNECT ${ALLOWED}:443 HTTP/1.1\r\n${fields}`)).toMatch(/^HTTP\/1.1 405 /)
    expect(dials.count).toBe(0)
  })
})

describe('a client that has no notion of a proxy', () => {
  it('is fetch, with a base URL alone', async () => {
    const base = `http://127.0.0.1:${port()}/gateway/v1/${inPath()}`
    const init = { method: 'POST', headers: bearer(), body: '{}' }
    expect(await (await fetch(`${base}/chat`, init)).text()).toBe('ok')
    expect(rig.upstream.last).toMatchObject({ target: '/v1/chat', headers: { authorization: `Bearer ${rig.value}` } })
    const refused = await fetch(`http://127.0.0.1:${port()}/gateway/v1/chat`, init)
    expect(await refused.json()).toMatchObject({ error: { code: 'identity_required' } })
  })

  it.skipIf(lacks('curl') !== null)('is curl, with a base URL alone', async () => {
    const url = `http://127.0.0.1:${port()}/gateway/v1/${inPath()}/chat`
    const args = [
      '--silent',
      '--show-error',
      '--fail',
      '--noproxy',
      '*',
      '-H',
      `X-Api-Key: ${rig.secret.placeholder}`,
      url,
    ]
    const child = spawn('curl', args, { env: { PATH: process.env['PATH'] ?? '' } })
    expect(await finish(child)).toMatchObject({ code: 0, stdout: 'ok' })
    expect(rig.upstream.last.headers['x-api-key']).toBe(rig.value)
  })
})

describe('a WebSocket through the gateway', () => {
  it('has its handshake swapped, and passes frames both ways', async () => {
    const server = new WebSocketServer({ noServer: true })
    rig.upstream.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      server.handleUpgrade(request, socket, head, (each) => {
        each.send(request.headers.authorization === `Bearer ${rig.value}` ? `swapped ${request.url}` : 'not swapped')
        each.on('message', (data: Buffer) => each.send(data.toString().toUpperCase()))
      })
    })
    const client = new WebSocket(`ws://127.0.0.1:${port()}/gateway/v1/${inPath()}/ws?x=1`, { headers: bearer() })
    const said: string[] = []
    client.on('message', (data: Buffer) => said.push(data.toString()))
    await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject))
    client.send('hello')
    await until(() => said.length === 2)
    expect(said).toEqual(['swapped /v1/ws?x=1', 'HELLO'])
    client.close()
    await new Promise((resolve) => client.once('close', resolve))
  })

  it('is refused like any request', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${port()}/gateway/evil/${inPath()}/ws`, { headers: bearer() })
    const [, response] = (await new Promise((resolve) =>
      client.once('unexpected-response', (...both) => resolve(both)),
    )) as [unknown, IncomingMessage]
    expect(response.statusCode).toBe(403)
    expect(dials.count).toBe(0)
    client.on('error', () => undefined).terminate()
  })
})

describe('a gateway that is bound to one sandbox', () => {
  it('asks for nothing, and drops credentials that come all the same', async () => {
    const bound = await Rig.start({
      env: { COATCHECK_GATEWAY_LISTEN: '127.0.0.1:0', COATCHECK_GATEWAY_IDENTITY: 'sandbox:box' },
      envFor: ({ tls }) => ({ COATCHECK_GATEWAY_ROUTES: JSON.stringify({ api: `https://${ALLOWED}:${tls}` }) }),
    })
    const url = `http://127.0.0.1:${bound.app.addressOf('gateway.listen')?.port}/gateway/api`
    const headers = { authorization: `Bearer ${bound.secret.placeholder}` }
    for (const path of ['/a', '/~x:y/b']) {
      expect((await answerTo(http.request(url + path, { headers, agent: false }))).status).toBe(200)
    }
    expect(bound.upstream.requests.map((each) => each.target)).toEqual(['/a', '/b'])
    expect(bound.upstream.last.headers.authorization).toBe(`Bearer ${bound.value}`)
    const server = new WebSocketServer({ server: bound.upstream.server })
    const client = new WebSocket(`${url.replace('http', 'ws')}/ws`)
    const cut = new Promise((resolve) => client.once('close', resolve))
    await new Promise((resolve) => client.once('open', resolve))
    // Whatever still runs when the program is told to stop is cut when its time is over.
    await Promise.all([bound.stop(), cut])
    server.close()
  })
})
