/**
 * What was granted ends when it is withdrawn. A sandbox that is deleted, or gets another token, loses whatever it has open
 * within about a second, whichever way it came in. A secret that may no longer be put into messages ends the WebSockets that
 * were waiting for it; every other exchange under way finishes with what it opened.
 */
import type { ServerResponse } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent } from '../support/audited.ts'
import { ALLOWED, Rig, type RigSandbox } from '../support/rig.ts'
import { openTls, openTunnel, proxyAuthorization } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { closeOf, HANDSHAKE, say, WebSocketRig } from '../support/websocket-rig.ts'
import { Wire } from '../support/wire.ts'

describe('a sandbox that is deleted or gets another token', () => {
  let rig: Rig
  beforeAll(async () => {
    rig = await Rig.start({
      env: {
        COATCHECK_GATEWAY_LISTEN: '127.0.0.1:0',
        COATCHECK_TRANSPARENT_LISTENHTTP: '127.0.0.1:0',
        COATCHECK_TRANSPARENT_SOURCES: '{"127.0.0.1": "doomed"}',
      },
      envFor: ({ plain }) => ({
        COATCHECK_GATEWAY_ROUTES: JSON.stringify({ api: `http://${ALLOWED}:${plain}` }),
      }),
    })
    for (const { server } of [rig.plain, rig.upstream]) {
      server.on('upgrade', (_request, socket: Duplex) => {
        socket.on('error', () => undefined).on('end', () => socket.end())
        socket.resume()
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      })
    }
  })
  afterEach(async () => {
    rig.plain.clear()
    rig.upstream.clear()
    await until(() => rig.plain.sockets.size + rig.upstream.sockets.size === 0)
  })
  afterAll(async () => {
    await rig.stop()
  })

  interface WayIn {
    readonly open: (sandbox: RigSandbox) => Promise<Wire>
    /** What stands before the path, and the fields that every request has. */
    readonly origin: (sandbox: RigSandbox) => { readonly before: string; readonly fields: readonly string[] }
  }

  async function dial(port: number): Promise<Wire> {
    const socket = net.connect(port, '127.0.0.1')
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new Wire(socket, (chunk) => rig.seen.push(chunk))
  }
  const host = () => `${ALLOWED}:${rig.plain.port}`
  const WAYS: Readonly<Record<string, WayIn>> = {
    'in absolute form': {
      open: () => dial(Number(new URL(rig.app.proxyUrl).port)),
      origin: (sandbox) => ({ before: `http://${host()}`, fields: ['Host', host(), ...proxyAuthorization(sandbox)] }),
    },
    'through the gateway': {
      open: () => dial(rig.app.addressOf('gateway.listen')?.port ?? 0),
      origin: ({ name, token }) => ({ before: `/gateway/api/~${name}:${token}`, fields: ['Host', 'gateway.test'] }),
    },
    'redirected, over plain HTTP': {
      open: () => dial(rig.app.addressOf('transparent.listenHttp')?.port ?? 0),
      origin: () => ({ before: '', fields: ['Host', host()] }),
    },
    'in a plain tunnel': {
      open: async (sandbox) => new Wire(await openTunnel(sandbox, host()), (chunk) => rig.seen.push(chunk)),
      origin: () => ({ before: '', fields: ['Host', host()] }),
    },
    'in a tunnel with TLS': {
      open: async (sandbox) => new Wire(await openTls(rig, ALLOWED, { sandbox }), (chunk) => rig.seen.push(chunk)),
      origin: () => ({ before: '', fields: ['Host', `${ALLOWED}:${rig.upstream.port}`] }),
    },
  }

  /** Each resolves when the exchange is under way. */
  const EXCHANGES: Readonly<
    Record<string, (wire: Wire, head: (start: string, more: readonly string[]) => string) => Promise<unknown>>
  > = {
    WebSocket: async (wire, head) => {
      wire.write(head('GET', HANDSHAKE))
      expect((await wire.head()).status).toBe(101)
    },
    'stream of events': async (wire, head) => {
      for (const upstream of [rig.plain, rig.upstream]) {
        upstream.answerWith((_request, response: ServerResponse) => {
          response.writeHead(200, { 'Content-Type': 'text/event-stream' })
          response.write('data: 1\n\n')
        })
      }
      wire.write(head('GET', ['Accept', 'text/event-stream']))
      await wire.upTo('data: 1\n\n')
    },
    upload: async (wire, head) => {
      wire.write(`${head('POST', ['Content-Length', '1000000'])}the beginning`)
      await until(() => Buffer.concat([rig.plain.received, rig.upstream.received]).includes('the beginning'))
    },
  }

  let count = 0
  for (const [how, way] of Object.entries(WAYS)) {
    for (const [what, begin] of Object.entries(EXCHANGES)) {
      it(`loses its ${what} ${how}, and the upstream is let go`, async () => {
        const sandbox = await rig.sandboxWith('doomed', {})
        const wire = await way.open(sandbox)
        const { before, fields } = way.origin(sandbox)
        const path = `/revoked-${(count += 1)}`
        await begin(wire, (method, more) => {
          const pairs = [...fields, ...more]
          const lines = pairs.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${pairs[i + 1]}\r\n`] : []))
          return `${method} ${before}${path} HTTP/1.1\r\n${lines.join('')}\r\n`
        })
        // An address proves itself by no token.
        const rotated = count % 2 === 0 && how !== 'redirected, over plain HTTP'
        if (rotated) await rig.app.data.sandboxes.rotateToken(rig.principal, 'doomed')
        else await rig.app.data.sandboxes.delete(rig.principal, 'doomed')
        await wire.closed
        await until(() => rig.plain.sockets.size + rig.upstream.sockets.size === 0)
        expect(await closingEvent(rig, { path })).toMatchObject({ sandbox: 'doomed' })
        if (rotated) await rig.app.data.sandboxes.delete(rig.principal, 'doomed')
      })
    }
  }

  it('takes nothing from another sandbox, nor from its own connection between exchanges', async () => {
    await rig.sandboxWith('doomed', {})
    const { open, origin } = WAYS['in absolute form'] as WayIn
    const other = await open(rig.sandbox)
    const lines = (fields: readonly string[]) => `Host: ${host()}\r\n${fields[2]}: ${fields[3]}\r\n\r\n`
    const ask = async (wire: Wire, sandbox: RigSandbox) => {
      const { before, fields } = origin(sandbox)
      wire.write(`GET ${before}/ HTTP/1.1\r\n${lines(fields)}`)
      return (await wire.message()).status
    }
    expect(await ask(other, rig.sandbox)).toBe(200)
    const stream = await (WAYS['redirected, over plain HTTP'] as WayIn).open(rig.sandbox)
    await EXCHANGES['upload']?.(
      stream,
      (method) => `${method} / HTTP/1.1\r\nHost: ${host()}\r\nContent-Length: 99\r\n\r\n`,
    )
    await rig.app.data.sandboxes.delete(rig.principal, 'doomed')
    await stream.closed
    expect(await ask(other, rig.sandbox)).toBe(200)
    other.socket.destroy()
  })
})

describe('a secret that may be put into messages', () => {
  let ws: WebSocketRig
  beforeAll(async () => {
    ws = await WebSocketRig.start()
  })
  beforeEach(() => ws.begin())
  afterEach(() => ws.clear())
  afterAll(() => ws.rig.stop())

  async function sandboxWith(name: string, placements: readonly string[], value: string) {
    const { secret } = await ws.rig.app.data.secrets.create(ws.rig.principal, {
      name,
      value: SecretValue.fromText(value),
      hosts: [ALLOWED],
      placements,
    })
    return { sandbox: await ws.rig.sandboxWith(`with-${name}`, { S: name }), placeholder: secret.placeholder }
  }

  const WITHDRAWALS: readonly [string, string, (name: string) => Promise<unknown>][] = [
    ['is deleted', 'unknown_placeholder', (name) => ws.rig.app.data.secrets.delete(ws.rig.principal, name)],
    ['is disabled', 'disabled', (name) => ws.rig.app.data.secrets.disableVersion(ws.rig.principal, name, 1)],
    [
      'is unmounted',
      'unknown_placeholder',
      (name) => ws.rig.app.data.sandboxes.setMounts(ws.rig.principal, `with-${name}`, {}),
    ],
    [
      'may not go to the host any more',
      'host_not_allowed',
      (name) => ws.rig.app.data.secrets.update(ws.rig.principal, name, { hosts: ['elsewhere.test'] }),
    ],
    [
      'may not go into messages any more',
      'placement_not_allowed',
      (name) => ws.rig.app.data.secrets.update(ws.rig.principal, name, { placements: ['header'] }),
    ],
    [
      'expires',
      'expired',
      (name) =>
        ws.rig.app.data.secrets.update(ws.rig.principal, name, { expiresAt: new Date(Date.now() + 50).toISOString() }),
    ],
  ]
  it.each(WITHDRAWALS)('that %s ends the WebSockets that it may be put into: %s', async (_how, reason, withdraw) => {
    const name = `s${crypto.randomUUID().slice(0, 8)}`
    const { sandbox, placeholder } = await sandboxWith(name, ['websocket'], 'a value of sixteen')
    const used = await ws.dial({}, sandbox)
    expect((await say(used, `T ${placeholder}`)).sent).toBe('T a value of sixteen')
    const closed = closeOf(used)
    await withdraw(name)
    expect(await closed).toEqual([1008, reason])
    expect(await closingEvent(ws.rig, { path: ws.path })).toMatchObject({ status: 101, reason })
  })

  it('is looked up again for each message', async () => {
    const { sandbox, placeholder } = await sandboxWith('rotated', ['websocket'], 'the first value of it')
    await ws.rig.app.data.secrets.update(ws.rig.principal, 'rotated', { maxOccurrences: 9 })
    const dialled = await ws.dial({}, sandbox)
    expect((await say(dialled, `T ${placeholder}`)).sent).toBe('T the first value of it')
    await ws.rig.app.data.secrets.update(ws.rig.principal, 'rotated', {
      value: SecretValue.fromText('the second value of it'),
    })
    expect(await say(dialled, `T ${placeholder}`)).toEqual({
      sent: 'T the second value of it',
      got: `T ${placeholder}`,
    })
    await ws.ended(dialled)
  })

  it('leaves open what it could not be put into, what its last use went into, and what opened it before', async () => {
    const doomed = await sandboxWith('doomed', ['websocket'], 'a value that is deleted')
    const once = await sandboxWith('once', ['websocket'], 'a value for one use')
    await ws.rig.app.data.secrets.update(ws.rig.principal, 'once', { maxAccessCount: 1 })
    const early = await sandboxWith('early', ['credential-headers'], 'a value for handshakes')
    const [ended, usedUp, opened] = [
      await ws.dial({}, doomed.sandbox),
      await ws.dial({}, once.sandbox),
      await ws.dial({ Authorization: `Bearer ${early.placeholder}` }, early.sandbox),
    ]
    ws.server.removeAllListeners('connection')
    usedUp.client.send(`T ${once.placeholder}`)
    await until(() => usedUp.got.length > 0)
    const closed = closeOf(ended)
    await ws.rig.app.data.secrets.delete(ws.rig.principal, 'early')
    await ws.rig.app.data.secrets.delete(ws.rig.principal, 'doomed')
    expect((await closed)[0]).toBe(1008)
    for (const { client, got } of [usedUp, opened]) {
      const before = got.length
      client.send('still here')
      await until(() => got.length > before)
      client.close()
    }
  })
})
