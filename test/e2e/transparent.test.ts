/**
 * Transparent mode: redirected TLS goes where its server name says, as whichever sandbox the source address belongs to;
 * otherwise nothing differs from a tunnel through the proxy.
 */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { answerToHello, clientHello } from '../support/client-hello.ts'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { redirected, redirectedTls } from '../support/redirected.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { answerTo } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

const PINNED = 'pinned.test'
const UNRECOGNIZED_NAME = 112
const ACCESS_DENIED = 49

let rig: Rig
let dials: DialCounter
beforeAll(async () => {
  rig = await Rig.start({
    names: [PINNED],
    envFor: ({ tls }) => ({ COATCHECK_TRANSPARENT_TLSPORT: String(tls) }),
    env: {
      COATCHECK_TRANSPARENT_LISTENTLS: '127.0.0.1:0',
      COATCHECK_TRANSPARENT_SOURCES: JSON.stringify({
        '127.0.0.0/24': 'box',
        '127.0.0.7/32': 'second',
        '127.0.1.0/24': 'gone',
      }),
      COATCHECK_PROXY_PASSTHROUGH: JSON.stringify([PINNED, 'denied.test']),
      COATCHECK_EGRESS_RULES: JSON.stringify([{ deny: 'denied.test' }]),
      COATCHECK_LIMITS_HANDSHAKETIMEOUT: '500ms',
    },
  })
  await rig.sandboxWith('second', {})
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
afterEach(async () => {
  rig.upstream.clear()
  rig.plain.clear()
  await until(() => rig.upstream.sockets.size === 0)
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

function request(socket: Socket, host: string, fields: readonly string[], path = '/') {
  const headers = ['Host', `${host}:${rig.upstream.port}`, ...fields]
  return answerTo(http.request({ createConnection: () => socket, path, headers, setDefaultHeaders: false }))
}

function lastClosed() {
  return until(async () => (await rig.events()).findLast((event) => event.kind === 'exchange'))
}

/** Runs `attempt` and waits for the event of one more exchange. */
async function eventOf(attempt: () => Promise<unknown>) {
  const count = async () => (await rig.events()).filter((event) => event.kind === 'exchange').length
  const before = await count()
  await attempt()
  await until(async () => (await count()) > before)
  return await lastClosed()
}

describe('redirected TLS', () => {
  it('releases the value to the host of its server name', async () => {
    const answer = await request(await redirectedTls(rig, ALLOWED), ALLOWED, bearer())
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(await lastClosed()).toMatchObject({ sandbox: 'box', host: ALLOWED, decision: 'released' })
  })

  it('is refused inside, with the reason, where the secret may not go', async () => {
    const answer = await request(await redirectedTls(rig, OTHER), OTHER, bearer())
    expect([answer.status, answer.error?.code]).toEqual([403, 'host_not_allowed'])
    expect(dials.count).toBe(0)
  })

  it('belongs to the sandbox of the narrowest range that its address is in', async () => {
    const answer = await request(await redirectedTls(rig, ALLOWED, { from: '127.0.0.7' }), ALLOWED, bearer())
    expect(answer.error?.code).toBe('unknown_placeholder')
    expect(await lastClosed()).toMatchObject({ sandbox: 'second', decision: 'refused' })
  })

  it.each([
    ['from an address of nobody', '127.0.9.9'],
    ['from an address of a sandbox that there is not', '127.0.1.1'],
  ])('is denied before anything is read: %s', async (_name, from) => {
    const wire = await redirected(rig, 'transparent.listenTls', from)
    expect([...(await wire.rest())]).toEqual([21, 3, 3, 0, 2, 2, ACCESS_DENIED])
    await wire.closed
  })

  it('without a server name is told so and recorded, with nothing minted or dialled', async () => {
    const event = await eventOf(async () => {
      const wire = await redirected(rig, 'transparent.listenTls')
      const { alert } = await answerToHello((wire.socket as Socket).end(clientHello({ names: [] })))
      expect(alert).toBe(UNRECOGNIZED_NAME)
    })
    expect(event).toMatchObject({ sandbox: 'box', decision: 'refused', reason: 'bad_request', host: null })
    expect(dials.count).toBe(0)
  })

  it.each([
    ['an address', '127.0.0.1', 'bad_request'],
    ['an address in another spelling', '0x7f.1', 'invalid_host'],
    ['a zero byte', 'api.test\0.evil.test', 'invalid_host'],
    ['a percent sign', 'api%2etest', 'invalid_host'],
  ])('with a server name that is no host is refused and recorded: %s', async (_name, name, reason) => {
    const event = await eventOf(async () => {
      const wire = await redirected(rig, 'transparent.listenTls')
      wire.write(clientHello({ names: [name] }))
      expect((await wire.rest()).at(-1)).toBe(UNRECOGNIZED_NAME)
    })
    expect(event).toMatchObject({ decision: 'refused', reason, host: null })
    expect(dials.count).toBe(0)
  })

  it('that is not TLS at all is refused and recorded', async () => {
    const event = await eventOf(async () => {
      const wire = await redirected(rig, 'transparent.listenTls')
      wire.write(`GET / HTTP/1.1\r\nHost: ${ALLOWED}\r\n\r\n`)
      await wire.closed
    })
    expect(event).toMatchObject({ decision: 'refused', reason: 'bad_request' })
  })

  it.each([
    ['at once', 0],
    ['after half a hello', 40],
  ])('that falls silent is cut: %s', async (_name, length) => {
    const wire = await redirected(rig, 'transparent.listenTls')
    if (length > 0) wire.write(clientHello({ names: [ALLOWED] }).subarray(0, length))
    await wire.closed
  })

  it('may come in single bytes, and in records of a few bytes', async () => {
    const hello = clientHello({ names: [ALLOWED] })
    const message = hello.subarray(5)
    const records = Array.from({ length: Math.ceil(message.length / 7) }, (_, i) => {
      const part = message.subarray(7 * i, 7 * i + 7)
      return Buffer.concat([Buffer.from([22, 3, 1, 0, part.length]), part])
    })
    for (const bytes of [hello, Buffer.concat(records)]) {
      const wire = await redirected(rig, 'transparent.listenTls')
      const socket = wire.socket as Socket
      socket.setNoDelay(true)
      for (const byte of bytes) {
        socket.write(Buffer.from([byte]))
        await sleep(0)
      }
      await until(() => wire.unread.length > 5)
      expect(wire.unread[0]).toBe(22)
      socket.destroy()
    }
  })

  it('speaks HTTP/2 where both agree on it', async () => {
    const socket = await redirectedTls(rig, ALLOWED, { tls: { ALPNProtocols: ['h2'] } })
    expect(socket.alpnProtocol).toBe('h2')
    const session = http2.connect(`https://${ALLOWED}:${rig.upstream.port}`, { createConnection: () => socket })
    const stream = session.request({ ':path': '/h2', authorization: `Bearer ${rig.secret.placeholder}` })
    const [fields] = (await once(stream, 'response')) as [http2.IncomingHttpStatusHeader]
    expect(fields[':status']).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    session.destroy()
  })

  it('to a pinned host is blind: the hello goes on as it came', async () => {
    const wire = await redirected(rig, 'transparent.listenTls')
    wire.socket.removeAllListeners('data')
    const socket = await new Promise<tls.TLSSocket>((resolve, reject) => {
      const options = { socket: wire.socket as Socket, ca: rig.authority.certificatePem, servername: PINNED }
      const secure = tls.connect(options, () => resolve(secure)).once('error', reject)
    })
    expect((await request(socket, PINNED, bearer(), '/pinned')).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.secret.placeholder}`)
  })

  it('to a pinned host that a rule denies is denied', async () => {
    const wire = await redirected(rig, 'transparent.listenTls')
    wire.write(clientHello({ names: ['denied.test'] }))
    expect((await wire.rest()).at(-1)).toBe(ACCESS_DENIED)
    expect(await lastClosed()).toMatchObject({ host: 'denied.test', reason: 'egress_denied' })
  })
})

describeClient('curl', lacks('curl'), () => {
  let sandbox: ClientSandbox
  beforeAll(async () => {
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
  })

  it('that knows of no proxy gets its value through, having been sent elsewhere', async () => {
    rig.upstream.answerWith(echo)
    const at = `${ALLOWED}:${rig.upstream.port}:127.0.0.1:${rig.app.addressOf('transparent.listenTls')?.port}`
    const header = `Authorization: Bearer ${rig.secret.placeholder}`
    const finished = await sandbox.run('curl', [
      '--silent',
      '--show-error',
      '--noproxy',
      '*',
      '--connect-to',
      at,
      '--header',
      header,
      rig.url(),
    ])
    expect(finished, finished.stderr).toMatchObject({ code: 0 })
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(finished.stdout).toContain(rig.secret.placeholder)
  })
})

describe('a listener that is bound to one sandbox', () => {
  it('takes every connection for it, and none once it is gone', async () => {
    const bound = await Rig.start({
      envFor: ({ tls: port }) => ({ COATCHECK_TRANSPARENT_TLSPORT: String(port) }),
      env: { COATCHECK_TRANSPARENT_LISTENTLS: '127.0.0.1:0', COATCHECK_TRANSPARENT_IDENTITY: 'sandbox:box' },
    })
    const socket = await redirectedTls(bound, ALLOWED)
    const wire = new Wire(socket)
    wire.write(`GET / HTTP/1.1\r\nHost: ${ALLOWED}:${bound.upstream.port}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    await bound.app.data.sandboxes.delete(bound.principal, 'box')
    await wire.closed
    const refused = await redirected(bound, 'transparent.listenTls')
    expect((await refused.rest()).at(-1)).toBe(ACCESS_DENIED)
    await bound.stop()
  })
})
