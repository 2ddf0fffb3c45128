/**
 * Waiting. Nobody is waited for without end: not an upstream that does not connect, answer or go on (504, or a cut
 * response once it has begun), not a sandbox that does not finish its handshake or its request head, and not a connection
 * or tunnel on which nothing happens. Whoever goes on, however slowly, is left alone.
 */
import net, { type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ALLOWED, Rig } from '../support/rig.ts'
import {
  headText,
  openProxy,
  openTls,
  openTunnel,
  openWire,
  proxyAuthorization,
  send,
} from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, Wire } from '../support/wire.ts'

const HANDSHAKE =
  'Connection|Upgrade|Upgrade|websocket|Sec-WebSocket-Version|13|Sec-WebSocket-Key|dGhlIHNhbXBsZSBub25jZQ=='.split('|')
const LIMIT_MS = 400
const LIMIT = `${LIMIT_MS}ms`

let rig: Rig
/** Accepts connections and says nothing. */
const mute = net.createServer((socket) => socket.on('error', () => undefined).resume())
const mutePort = () => (mute.address() as AddressInfo).port

beforeAll(async () => {
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  await new Promise((resolve) => mute.close(resolve))
})
afterEach(async () => {
  for (const upstream of [rig.upstream, rig.plain]) upstream.clear()
  await until(() => rig.upstream.sockets.size + rig.plain.sockets.size === 0)
})

const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

const eventBecause = (reason: string, path: string | null) =>
  until(async () =>
    (await rig.events()).find((event) => event.kind === 'exchange' && event.reason === reason && event.path === path),
  )

describe('an upstream', () => {
  beforeAll(async () => {
    rig = await Rig.start({
      ports: [mutePort()],
      env: {
        COATCHECK_UPSTREAM_CONNECTTIMEOUT: LIMIT,
        COATCHECK_UPSTREAM_HEADERSTIMEOUT: LIMIT,
        COATCHECK_UPSTREAM_IDLETIMEOUT: LIMIT,
      },
    })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it('that accepts and does not end its TLS handshake is a 504', async () => {
    const wire = new Wire(await openTls(rig, ALLOWED, { port: mutePort() }))
    wire.write(`GET /mute HTTP/1.1\r\nHost: ${ALLOWED}:${mutePort()}\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([504, 'upstream_timeout'])
    expect(await eventBecause('upstream_timeout', '/mute')).toMatchObject({ decision: 'failed', status: 504 })
    await until(() => new Promise((resolve) => mute.getConnections((_error, count) => resolve(count === 0))))
    wire.socket.destroy()
  })

  it.each(['GET', 'POST'])('that does not answer a %s is a 504, and its connection is closed', async (method) => {
    rig.upstream.answerWith((request) => request.resume())
    const answer = await send(rig, { method, headers: credential(), ...(method === 'POST' ? { body: 'body' } : {}) })
    expect([answer.status, answer.error?.code]).toEqual([504, 'upstream_timeout'])
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('that does not answer a WebSocket handshake is a 504', async () => {
    rig.upstream.takeRaw((upstream) => upstream.head())
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', HANDSHAKE))
    const answer = await wire.message()
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([504, 'upstream_timeout'])
    await until(() => rig.upstream.sockets.size === 0)
  })

  it.each([
    { name: 'without a release', fields: () => [] as string[] },
    { name: 'with one', fields: credential },
  ])('that falls silent in its answer has it cut, $name', async ({ name, fields }) => {
    const path = `/silent/${name.length}`
    rig.upstream.answerWith((_request, response) => void response.writeHead(200).write('begun'))
    const wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path}`, fields()))
    await expect(wire.message()).rejects.toThrow('the connection ended')
    expect(await eventBecause('upstream_timeout', path)).toMatchObject({ decision: 'failed', status: 200 })
  })

  it('that goes on slowly is waited for', async () => {
    rig.upstream.answerWith((_request, response) => {
      void (async () => {
        for (let i = 0; i < 8; i += 1) {
          response.write(`${i}`)
          await sleep(LIMIT_MS / 4)
        }
        response.end()
      })()
    })
    expect((await send(rig, { headers: credential() })).body.toString()).toBe('01234567')
  })

  it('that waits for a slow sandbox is not blamed for it', async () => {
    const wire = await openWire(rig)
    wire.write(headText(rig, 'POST /', ['Content-Length', '8', ...credential()]))
    for (let i = 0; i < 8; i += 1) {
      await sleep(LIMIT_MS / 4)
      wire.write(`${i}`)
    }
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe('01234567')
    wire.socket.destroy()
  })
})

describe('a sandbox', () => {
  beforeAll(async () => {
    rig = await Rig.start({
      names: ['pinned.test'],
      env: {
        COATCHECK_PROXY_PASSTHROUGH: '["pinned.test"]',
        COATCHECK_LIMITS_HEADERSTIMEOUT: LIMIT,
        COATCHECK_LIMITS_HANDSHAKETIMEOUT: LIMIT,
        COATCHECK_LIMITS_IDLETIMEOUT: LIMIT,
      },
    })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it('that does not finish a request head is told so and closed, outside a tunnel', async () => {
    const wire = await openProxy(rig)
    wire.write('GET http://api.test/ HTTP/1.1\r\nHost: api.te')
    expect((await wire.message()).status).toBe(400)
    await wire.closed
  })

  it('that does not finish a request head is told so and closed, inside a tunnel', async () => {
    const wire = await openWire(rig)
    wire.write('GET / HTTP/1.1\r\nHost: api.te')
    expect((await wire.message()).status).toBe(400)
    await wire.closed
    expect(rig.upstream.connections).toBe(0)
    expect(await eventBecause('bad_request', null)).toMatchObject({ method: '-', host: ALLOWED })
  })

  it('that drips a request head byte by byte is closed all the same', async () => {
    const wire = await openWire(rig)
    const text = headText(rig, 'GET /', ['X-Slow', 'x'.repeat(1000)])
    for (const byte of text) {
      if (wire.ended) break
      wire.write(byte)
      await sleep(LIMIT_MS / 20)
    }
    await wire.closed
    expect(rig.upstream.connections).toBe(0)
  })

  it('that opens a tunnel and says nothing is closed', async () => {
    const socket = await openTunnel(rig.sandbox, `${ALLOWED}:${rig.upstream.port}`)
    await new Wire(socket).closed
    const unused = await until(async () =>
      (await rig.events()).find((event) => event.kind === 'exchange' && event.method === 'CONNECT'),
    )
    expect(unused).toMatchObject({ reason: 'bad_request', host: ALLOWED })
  })

  it('that keeps a connection and does not use it is closed', async () => {
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /'))
    expect((await wire.message()).status).toBe(200)
    await wire.closed
  })

  it('and an upstream that are both silent in a blind tunnel are closed', async () => {
    const authority = `pinned.test:${rig.plain.port}`
    const wire = await openProxy(rig)
    const [name, value] = proxyAuthorization(rig.sandbox)
    wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${name}: ${value}\r\n\r\n`)
    expect((await wire.head()).status).toBe(200)
    await wire.closed
    await until(() => rig.plain.sockets.size === 0)
  })

  it('and an upstream that are both silent in a WebSocket are closed', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    })
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', HANDSHAKE))
    expect((await wire.head()).status).toBe(101)
    await wire.closed
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('that is answered for longer than that is left alone', async () => {
    rig.upstream.answerWith((_request, response) => void setTimeout(() => response.end('late'), LIMIT_MS * 2))
    expect((await send(rig)).body.toString()).toBe('late')
  })
})
