/**
 * Blind tunnels: hosts on `proxy.passthrough`, and with `proxy.intercept: needed` all that no mounted secret allows. The
 * sandbox sees the upstream's own certificate, bytes pass as they are, nothing is released; one event says how many went.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { headText, openProxy, openTls, openTunnel, proxyAuthorization, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, Wire } from '../support/wire.ts'

const PINNED = 'pinned.test'
let rig: Rig

/** TLS through a tunnel, with the upstream's own authority trusted and not ours. */
async function openPinned(host: string): Promise<TLSSocket> {
  return await openTls(rig, host, { ca: rig.authority.certificatePem })
}

async function ask(socket: Socket, host: string, fields: readonly string[] = []) {
  const wire = new Wire(socket, (chunk) => rig.seen.push(chunk))
  wire.write(headText(rig, 'GET /', fields, host))
  return await wire.message()
}

const tunnelEvent = (host: string) =>
  until(async () => (await rig.events()).findLast((event) => event.kind === 'exchange' && event.host === host))

afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})

describe('a host on the passthrough list', () => {
  beforeAll(async () => {
    rig = await Rig.start({
      names: [PINNED, `sub.${PINNED}`, 'closed.test'],
      ports: [1],
      env: {
        COATCHECK_PROXY_PASSTHROUGH: `["*.${PINNED}", "closed.test", "denied.test"]`,
        COATCHECK_EGRESS_RULES: JSON.stringify([{ deny: 'denied.test' }]),
      },
    })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it.each([PINNED, `sub.${PINNED}`])('has its own certificate seen by the sandbox: %s', async (host) => {
    const socket = await openPinned(host)
    const direct = tls.connect({
      host: '127.0.0.1',
      port: rig.upstream.port,
      servername: host,
      rejectUnauthorized: false,
    })
    await once(direct, 'secureConnect')
    expect(socket.getPeerCertificate().issuer).toEqual(direct.getPeerCertificate().issuer)
    expect((await ask(socket, host)).body.toString()).toBe('ok')
    direct.destroy()
    socket.destroy()
  })

  it('keeps its placeholders, and nothing is released', async () => {
    const socket = await openPinned(PINNED)
    await ask(socket, PINNED, ['Authorization', `Bearer ${rig.secret.placeholder}`])
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.secret.placeholder}`)
    expect(rig.upstream.last.headers.via).toBeUndefined()
    socket.destroy()
    await tunnelEvent(PINNED)
    expect((await rig.events()).filter((event) => event.kind === 'release')).toEqual([])
  })

  it('is recorded when it closes, with the bytes both ways', async () => {
    const socket = await openTunnel(rig.sandbox, `sub.${PINNED}:${rig.plain.port}`)
    const request = `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
    socket.write(request)
    const answer = await new Wire(socket).rest()
    socket.destroy()
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200/)
    const event = await until(async () =>
      (await rig.events()).find((each) => each.kind === 'exchange' && each.port === rig.plain.port),
    )
    const where = { host: `sub.${PINNED}`, path: null, sandbox: 'box', upstreamAddress: '127.0.0.1' }
    const bytes = { bytesIn: request.length, bytesOut: answer.length }
    expect(event).toMatchObject({ decision: 'tunnelled', reason: null, status: 200, secrets: [], ...where, ...bytes })
    rig.plain.clear()
  })

  it('gets what was sent right behind the CONNECT', async () => {
    const wire = await openProxy(rig)
    const authority = `${PINNED}:${rig.plain.port}`
    const [name, value] = proxyAuthorization(rig.sandbox)
    wire.write(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${name}: ${value}\r\n\r\nGET /early HTTP/1.1\r\nHost: x\r\n\r\n`,
    )
    expect((await wire.head()).status).toBe(200)
    expect((await wire.message()).body.toString()).toBe('ok')
    expect(rig.plain.last.target).toBe('/early')
    wire.socket.destroy()
    rig.plain.clear()
  })

  it.each([
    { authority: () => 'denied.test:443', status: 403, code: 'egress_denied' },
    { authority: () => `${PINNED}:22`, status: 403, code: 'port_denied' },
    { authority: () => 'closed.test:1', status: 502, code: 'upstream_unreachable' },
    { authority: () => `unknown.${PINNED}:443`, status: 502, code: 'upstream_unresolved' },
  ])('is refused or fails at the CONNECT: $code', async ({ authority, status, code }) => {
    const wire = await openProxy(rig)
    const [name, value] = proxyAuthorization(rig.sandbox)
    wire.write(`CONNECT ${authority()} HTTP/1.1\r\nHost: ${authority()}\r\n${name}: ${value}\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([status, code])
    await wire.closed
    const decision = status === 403 ? 'refused' : 'failed'
    await until(async () =>
      (await rig.events()).some((e) => e.kind === 'exchange' && e.reason === code && e.decision === decision),
    )
  })

  it('closed by the upstream is closed at the sandbox', async () => {
    const socket = await openPinned(PINNED)
    await until(() => rig.upstream.sockets.size === 1)
    const closed = once(socket.resume(), 'close')
    for (const each of rig.upstream.sockets) each.destroy()
    await closed
  })

  it('does not outlive its sandbox', async () => {
    const sandbox = await rig.sandboxWith('doomed', {})
    const socket = await openTls(rig, PINNED, { sandbox, ca: rig.authority.certificatePem })
    const closed = once(socket, 'close')
    socket.on('error', () => undefined)
    await rig.app.data.sandboxes.delete(rig.principal, 'doomed')
    await closed
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('any other host is intercepted as always', async () => {
    await expect(openPinned(OTHER)).rejects.toThrow()
    expect((await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })
})

describe('intercept: needed', () => {
  beforeAll(async () => {
    rig = await Rig.start({ env: { COATCHECK_PROXY_INTERCEPT: 'needed' } })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it('intercepts a host that a mounted secret allows', async () => {
    expect((await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it('tunnels a host that none allows', async () => {
    const socket = await openPinned(OTHER)
    expect((await ask(socket, OTHER)).body.toString()).toBe('ok')
    socket.destroy()
    expect(await tunnelEvent(OTHER)).toMatchObject({ decision: 'tunnelled' })
  })

  it('goes by what this sandbox has mounted, as it is now', async () => {
    const bare = await rig.sandboxWith('bare', {})
    const first = await openTls(rig, ALLOWED, { sandbox: bare, ca: rig.authority.certificatePem })
    first.destroy()
    await rig.app.data.sandboxes.setMounts(rig.principal, 'bare', { KEY: 'openai' })
    const second = await openTls(rig, ALLOWED, { sandbox: bare })
    second.destroy()
  })
})
