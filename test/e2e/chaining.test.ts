/**
 * `upstream.proxy`: every connection goes through the next proxy, HTTP CONNECT or SOCKS5, with credentials where they are
 * set. It is told a name and a port and carries TLS that it cannot read; what it refuses is a 502 of ours.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { leaksIn } from '../support/leak-check.ts'
import { NextProxy } from '../support/next-proxy.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { headText, openProxy, openTls, proxyAuthorization, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

const REFUSAL = 'HTTP/1.1 403 Forbidden\r\nX-Next: secret text\r\nContent-Length: 4\r\n\r\nno!\n'

describe.each([
  { protocol: 'connect', scheme: 'http', login: '', credentials: null },
  { protocol: 'connect', scheme: 'http', login: 'us%20er:p%40ss:word@', credentials: 'us er:p@ss:word' },
  { protocol: 'socks5', scheme: 'socks5', login: '', credentials: null },
  { protocol: 'socks5', scheme: 'socks5', login: 'us%20er:p%40ss@', credentials: 'us er:p@ss' },
])('behind $scheme://$login…', ({ protocol, scheme, login, credentials }) => {
  let rig: Rig
  let next: NextProxy
  beforeAll(async () => {
    next = await NextProxy.start()
    rig = await Rig.start({
      // Nothing here resolves: names are the next proxy's business.
      env: { COATCHECK_UPSTREAM_PROXY: `${scheme}://${login}127.0.0.1:${next.port}`, COATCHECK_UPSTREAM_RESOLVE: '{}' },
    })
  })
  afterEach(async () => {
    rig.upstream.clear()
    next.clear()
    await until(() => rig.upstream.sockets.size + next.open === 0)
  })
  afterAll(async () => {
    await rig.stop()
    await next.stop()
  })

  const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

  it('a value arrives, and the next proxy sees a name and TLS', async () => {
    const answer = await send(rig, { headers: credential() })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(next.carried).toEqual([{ protocol, authority: `${ALLOWED}:${rig.upstream.port}`, credentials }])
    const carried = Buffer.concat(next.sent)
    // A TLS handshake record, with the name in the clear and nothing else.
    expect([...carried.subarray(0, 2)]).toEqual([0x16, 3])
    expect(carried.includes(ALLOWED)).toBe(true)
    expect(leaksIn(carried, rig.value)).toEqual([])
  })

  it('a connection is kept and used again, and never by two hosts', async () => {
    await send(rig)
    await send(rig)
    await send(rig, { host: OTHER })
    expect(next.carried.map((each) => each.authority)).toEqual(
      [ALLOWED, OTHER].map((host) => `${host}:${rig.upstream.port}`),
    )
  })

  it('the upstream is verified through it', async () => {
    const answer = await send(rig, { host: 'localhost.test', headers: [] })
    expect(answer.status).toBe(200)
    rig.upstream.clear()
    next.clear()
    const wrong = await openTls(rig, ALLOWED, { port: rig.plain.port })
    const wire = new Wire(wrong)
    wire.write(`GET / HTTP/1.1\r\nHost: ${ALLOWED}:${rig.plain.port}\r\n\r\n`)
    expect((await wire.message()).fields).toContain('upstream_tls')
    wrong.destroy()
  })

  it('plain http goes through it too', async () => {
    const wire = await openProxy(rig)
    const host = `${ALLOWED}:${rig.plain.port}`
    const [name, value] = proxyAuthorization(rig.sandbox)
    wire.write(`GET http://${host}/x HTTP/1.1\r\nHost: ${host}\r\n${name}: ${value}\r\n\r\n`)
    expect((await wire.message()).body.toString()).toBe('ok')
    expect(next.carried).toEqual([{ protocol, authority: host, credentials }])
    expect(Buffer.concat(next.sent).toString('latin1')).not.toMatch(/proxy-auth/i)
    wire.socket.destroy()
  })

  it('a WebSocket handshake goes through it too', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    })
    const wire = new Wire(await openTls(rig, ALLOWED))
    const handshake =
      'Connection|Upgrade|Upgrade|websocket|Sec-WebSocket-Version|13|Sec-WebSocket-Key|dGhlIHNhbXBsZSBub25jZQ=='
    wire.write(headText(rig, 'GET /', handshake.split('|')))
    expect((await wire.head()).status).toBe(101)
    expect(next.carried).toHaveLength(1)
    wire.socket.destroy()
  })

  it('what it refuses is answered 502, without a word of its own', async () => {
    next.refusal = REFUSAL
    const answer = await send(rig, { headers: credential() })
    expect([answer.status, answer.error?.code]).toEqual([502, 'upstream_unreachable'])
    expect(`${answer.rawHeaders.join()}${answer.body.toString()}`).not.toMatch(/secret text|no!|us%20er|us er/)
    expect(rig.upstream.connections).toBe(0)
  })

  it('a literal private address is refused here', async () => {
    const answer = await send(rig, { host: '10.0.0.1' })
    expect([answer.status, answer.error?.code]).toEqual([403, 'address_denied'])
    expect(next.carried).toEqual([])
  })
})

describe.each(['http', 'socks5'])('behind a %s proxy', (scheme) => {
  it('that is not there, a request is answered 502', async () => {
    const rig = await Rig.start({ env: { COATCHECK_UPSTREAM_PROXY: `${scheme}://127.0.0.1:1` } })
    expect((await send(rig)).error?.code).toBe('upstream_unreachable')
    await rig.stop()
  })

  it('that never answers, a request is answered 504, and the connection is given up', async () => {
    const next = await NextProxy.start()
    next.silent = true
    const env = {
      COATCHECK_UPSTREAM_PROXY: `${scheme}://127.0.0.1:${next.port}`,
      COATCHECK_UPSTREAM_CONNECTTIMEOUT: '300ms',
    }
    const rig = await Rig.start({ env })
    const answer = await send(rig)
    expect([answer.status, answer.error?.code]).toEqual([504, 'upstream_timeout'])
    await until(() => next.open === 0)
    await rig.stop()
    await next.stop()
  })
})
