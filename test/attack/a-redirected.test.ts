/**
 * Rows A35, E13 and E16 for the ways in that are not a proxy: where a redirected connection was meant to go is never
 * believed, the token of a sandbox goes no further than the port that it was shown to, and none of our own ports can be
 * reached through another.
 */
import http from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { freePort } from '../support/free-port.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { redirected, redirectedTls } from '../support/redirected.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { answerTo, openTls, send } from '../support/sandbox-client.ts'
import { identifiedSocks, openSocksTls, replyCode, requestMessage } from '../support/socks-client.ts'
import { until } from '../support/until.ts'

/** Names whose address is nobody's business but ours: metadata, and a private one that is not opened. */
const STEERED = { 'metadata.test': '169.254.169.254', 'inside.test': '10.0.0.1' }
let rig: Rig
/** Where the attacker would have the value sent: what the client connected to before it was redirected. */
let attacker: RecordingUpstream
let dials: DialCounter

beforeAll(async () => {
  attacker = await RecordingUpstream.start()
  const distinct = new Set<number>()
  while (distinct.size < 6) distinct.add(await freePort())
  const own = [...distinct]
  rig = await Rig.start({
    // Open, so that it is not the port that they are refused for.
    ports: [attacker.port, ...own],
    envFor: ({ tls, plain }) => ({
      COATCHECK_TRANSPARENT_TLSPORT: String(tls),
      COATCHECK_GATEWAY_ROUTES: JSON.stringify({
        api: `https://${ALLOWED}:${tls}`,
        plain: `http://${ALLOWED}:${plain}`,
      }),
    }),
    env: {
      COATCHECK_GATEWAY_LISTEN: `127.0.0.1:${own[0]}`,
      COATCHECK_SOCKS_LISTEN: `127.0.0.1:${own[1]}`,
      COATCHECK_TRANSPARENT_LISTENTLS: `127.0.0.1:${own[2]}`,
      COATCHECK_TRANSPARENT_LISTENHTTP: `127.0.0.1:${own[3]}`,
      COATCHECK_PROXY_LISTEN: `127.0.0.1:${own[4]}`,
      COATCHECK_API_LISTEN: `127.0.0.1:${own[5]}`,
      COATCHECK_TRANSPARENT_SOURCES: '{"127.0.0.0/8": "box"}',
      COATCHECK_UPSTREAM_RESOLVE: JSON.stringify({ [ALLOWED]: '127.0.0.1', [OTHER]: '127.0.0.1', ...STEERED }),
    },
  })
  dials = new DialCounter(rig.upstream.server, rig.plain.server, attacker.server)
})
afterEach(async () => {
  rig.upstream.clear()
  rig.plain.clear()
  await until(() => rig.upstream.sockets.size === 0)
  dials.reset()
})
afterAll(async () => {
  expect(attacker.connections).toBe(0)
  await attacker.stop()
  await rig.stop({ elsewhere: { attacker: attacker.received } })
})

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

describe('A35 a redirected connection', () => {
  it('A35 with an allowed server name goes to our own resolution of it, wherever the client meant to go', async () => {
    const socket = await redirectedTls(rig, ALLOWED)
    const headers = ['Host', `${ALLOWED}:${rig.upstream.port}`, ...bearer()]
    const answer = await answerTo(http.request({ createConnection: () => socket, headers, setDefaultHeaders: false }))
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it.each([
    ['an allowed server name and the Host of another', ALLOWED, OTHER],
    ['the server name of another and an allowed Host', OTHER, ALLOWED],
  ])('A35 with %s gets 421, and nothing is dialled', async (_name, servername, host) => {
    const socket = await redirectedTls(rig, servername)
    const headers = ['Host', `${host}:${rig.upstream.port}`, ...bearer()]
    const answer = await answerTo(http.request({ createConnection: () => socket, headers, setDefaultHeaders: false }))
    expect([answer.status, answer.error?.code]).toEqual([421, 'misdirected'])
    expect(dials.count).toBe(0)
  })

  it('A35 of plain HTTP to a raw address with an allowed Host never carries the value', async () => {
    const wire = await redirected(rig, 'transparent.listenHttp')
    wire.write(`GET / HTTP/1.1\r\nHost: ${ALLOWED}:${attacker.port}\r\n${bearer().join(': ')}\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, answer.body.toString().includes('"plaintext"')]).toEqual([403, true])
    expect(dials.count).toBe(0)
    wire.socket.destroy()
  })

  it.each(Object.keys(STEERED))('A35 under a name that leads inside is refused by its address: %s', async (name) => {
    const socket = await redirectedTls(rig, name)
    const headers = ['Host', `${name}:${rig.upstream.port}`]
    const answer = await answerTo(http.request({ createConnection: () => socket, headers, setDefaultHeaders: false }))
    expect(answer.error?.code).toBe('address_denied')
  })
})

describe('E13 the token of a sandbox', () => {
  it('E13 reaches no upstream, log or event by SOCKS, by the path of a gateway, or by its field', async () => {
    const { name, token } = rig.sandbox
    const gateway = `http://127.0.0.1:${rig.app.addressOf('gateway.listen')?.port}/gateway`
    const basic = `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`
    const socks = await openSocksTls(rig, ALLOWED)
    const host = ['Host', `${ALLOWED}:${rig.upstream.port}`]
    const settings = { createConnection: () => socks, headers: [...host, 'Proxy-Authorization', basic] }
    const answers = [
      await answerTo(http.request({ ...settings, setDefaultHeaders: false })),
      await answerTo(
        http.request(`${gateway}/api/~${name}:${token}/x`, {
          headers: { referer: `${gateway}/api/~${name}:${token}/` },
        }),
      ),
      await answerTo(http.request(`${gateway}/plain/%7E${name}%3A${token}/x`)),
      await answerTo(http.request(`${gateway}/api/x`, { headers: { 'proxy-authorization': basic } })),
      await answerTo(http.request(`${gateway}/nowhere/~${name}:${token}/x`)),
      await answerTo(http.request(`${gateway}/api/~${name}${token}/x`)),
    ]
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 404, 401])
    await until(async () =>
      (await rig.events()).some((event) => event.kind === 'exchange' && event.reason === 'not_found'),
    )
    const everything = [
      rig.upstream.received.toString('latin1'),
      rig.plain.received.toString('latin1'),
      rig.logLines.join(''),
      JSON.stringify(await rig.events()),
      ...answers.map((answer) => answer.body.toString() + answer.rawHeaders.join()),
    ].join('\n')
    for (const secret of [token, Buffer.from(`${name}:${token}`).toString('base64')]) {
      expect(everything.includes(secret)).toBe(false)
    }
  })
})

describe('E16 our own listeners', () => {
  const PORTS = ['gateway.listen', 'socks.listen', 'transparent.listenTls', 'transparent.listenHttp'] as const

  it.each(PORTS)('E16 cannot be reached through the proxy, by name or address: %s', async (setting) => {
    const port = rig.app.addressOf(setting)?.port ?? 0
    for (const host of [ALLOWED, '127.0.0.1']) {
      const socket = await openTls(rig, host, { port })
      const answer = await answerTo(
        http.request({
          createConnection: () => socket,
          headers: ['Host', `${host}:${port}`],
          setDefaultHeaders: false,
        }),
      )
      expect(answer.error?.code).toBe('address_denied')
    }
  })

  it('E16 cannot be reached through SOCKS: the proxy and its API', async () => {
    for (const url of [rig.app.proxyUrl, rig.app.apiUrl]) {
      const wire = await identifiedSocks(rig)
      wire.write(requestMessage('127.0.0.1', Number(new URL(url).port)))
      expect(await replyCode(wire)).toBe(0)
      wire.write(`GET / HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
      expect((await wire.message()).body.toString()).toContain('address_denied')
      wire.socket.destroy()
    }
  })

  it('E16 still serve who may use them', async () => {
    expect((await send(rig)).status).toBe(200)
  })
})
