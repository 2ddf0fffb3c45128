/**
 * Requests sent back to back on one connection: each is parsed and judged alone, its answer is its own, and how the
 * bytes were cut into segments changes nothing.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome, releasesOf } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire, type WireMessage } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`
const credential = () => `Authorization: Bearer ${rig.secret.placeholder}`

function told(answer: WireMessage): string {
  const code = valuesOf(answer.fields, 'coatcheck-error')[0]
  return code === undefined ? `${answer.status} ${answer.body.toString()}` : `${answer.status} ${code}`
}

async function answers(wire: Wire, count: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < count) all.push(told(await wire.message()))
  return all
}

const HANDSHAKE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='

describe('D16 three requests in one segment', () => {
  /** The second one names another host; the third proves that its refusal took nothing of it along. */
  const segment = () =>
    Buffer.from(
      [
        `GET /1 HTTP/1.1\r\n${host()}\r\n${credential()}\r\n\r\n`,
        `POST /2 HTTP/1.1\r\nHost: evil.test\r\n${credential()}\r\nContent-Length: 3\r\n\r\nGET`,
        `GET /3 HTTP/1.1\r\n${host()}\r\n\r\n`,
      ].join(''),
    )
  const expected = ['200 /1 released', '421 misdirected', '200 /3 none']

  beforeEach(() => {
    rig.upstream.answerWith((request, response) => {
      response.end(`${request.url} ${request.headers.authorization === `Bearer ${rig.value}` ? 'released' : 'none'}`)
    })
  })

  it('D16 each is judged alone', async () => {
    const wire = await openWire(rig)
    wire.write(segment())
    expect(await answers(wire, 3)).toEqual(expected)
    wire.socket.destroy()
    expect(rig.upstream.requests.map((each) => each.target)).toEqual(['/1', '/3'])
    expect(await outcome(rig, { path: '/1' })).toEqual({ decision: 'released', reason: null, status: 200 })
    expect(await outcome(rig, { path: '/3' })).toEqual({ decision: 'passed', reason: null, status: 200 })
    expect(await releasesOf(rig, { path: '/1' })).toHaveLength(1)
  })

  it('D16 and cut in two at any byte they end alike', async () => {
    const bytes = segment()
    const different: Record<number, string[]> = {}
    const at = async (cut: number) => {
      const wire = await openWire(rig)
      wire.write(bytes.subarray(0, cut))
      // Another turn of the event loop, so that the parser sees the two parts apart.
      await new Promise((resume) => setImmediate(resume))
      wire.write(bytes.subarray(cut))
      const got = await answers(wire, 3)
      if (got.join() !== expected.join()) different[cut] = got
      wire.socket.destroy()
    }
    for (let from = 1; from < bytes.length; from += 16) {
      await Promise.all(Array.from({ length: Math.min(16, bytes.length - from) }, (_none, i) => at(from + i)))
    }
    expect(different).toEqual({})
    expect(new Set(rig.upstream.requests.map((each) => each.target))).toEqual(new Set(['/1', '/3']))
  })

  it('D16 byte by byte they end alike', async () => {
    const wire = await openWire(rig)
    for (const byte of segment()) {
      wire.write(Buffer.from([byte]))
      await new Promise((resume) => setImmediate(resume))
    }
    expect(await answers(wire, 3)).toEqual(expected)
    wire.socket.destroy()
  })
})

describe('D16 what follows a request that is still being answered', () => {
  /** Holds the answer to the first request until the test lets it go. */
  function hold(): { readonly go: () => void } {
    let go = () => undefined as void
    rig.upstream.answerWith((request, response) => {
      if (request.url !== '/held') return void response.end('next')
      response.writeHead(200, { 'content-length': 10 })
      response.write('first')
      go = () => void response.end('-last')
    })
    return { go: () => go() }
  }

  it('D16 garbage cuts the connection instead of standing in the middle of an answer', async () => {
    const held = hold()
    const wire = await openWire(rig)
    wire.write(`GET /held HTTP/1.1\r\n${host()}\r\n\r\n`)
    const head = await wire.head()
    expect(head.status).toBe(200)
    wire.write('\0\0\0 garbage\r\n\r\n')
    const rest = (await wire.rest()).toString('latin1')
    held.go()
    expect('first-last').toContain(rest)
    await wire.closed
  })

  it('D17 a WebSocket handshake behind it waits for its turn', async () => {
    const held = hold()
    const wire = await openWire(rig)
    wire.write(`GET /held HTTP/1.1\r\n${host()}\r\n\r\nGET /ws HTTP/1.1\r\n${host()}\r\n${HANDSHAKE}\r\n\r\n`)
    await until(() => rig.upstream.requests.some((each) => each.target === '/held'))
    expect(rig.upstream.requests).toHaveLength(1)
    held.go()
    expect((await wire.message()).body.toString()).toBe('first-last')
    expect(told(await wire.message())).toBe('200 next')
    await wire.closed
  })

  it('D17 a CONNECT behind it is refused in its turn and starts no tunnel', async () => {
    const held = hold()
    const wire = await openWire(rig)
    wire.write(`GET /held HTTP/1.1\r\n${host()}\r\n\r\nCONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n`)
    await until(() => rig.upstream.requests.length === 1)
    held.go()
    expect((await wire.message()).body.toString()).toBe('first-last')
    expect(told(await wire.message())).toBe('405 method_not_allowed')
    await wire.closed
  })

  it('D16 too many requests that wait on one connection cut it', async () => {
    hold()
    const wire = await openWire(rig)
    wire.write(`GET /held HTTP/1.1\r\n${host()}\r\n\r\n`.repeat(200))
    await wire.closed
    expect(rig.upstream.requests.length).toBeLessThanOrEqual(8)
  })

  it('D16 an unsafe method is not run beside the one before it', async () => {
    const held = hold()
    const wire = await openWire(rig)
    wire.write(`GET /held HTTP/1.1\r\n${host()}\r\n\r\nDELETE /next HTTP/1.1\r\n${host()}\r\n\r\n`)
    await wire.head()
    expect(rig.upstream.requests.map((each) => each.method)).toEqual(['GET'])
    held.go()
    await until(() => rig.upstream.requests.length === 2)
    wire.socket.destroy()
  })
})

describe('D17 upgrades', () => {
  it.each([
    ['h2c', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__'],
    ['WebSocket without its key', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13'],
    [
      'WebSocket of another version',
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ],
    ['TLS', 'Connection: Upgrade\r\nUpgrade: TLS/1.2'],
    ['two Upgrade fields', 'Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c'],
  ])('D17 %s is an ordinary request, and what follows it is judged', async (_name, fields) => {
    const wire = await openWire(rig)
    wire.write(`GET /d17 HTTP/1.1\r\n${host()}\r\n${fields}\r\n\r\n`)
    wire.write(`GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n${credential()}\r\n\r\n`)
    expect(await answers(wire, 2)).toEqual(['200 ok', '421 misdirected'])
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/upgrade|http2-settings|smuggled/i)
    wire.socket.destroy()
  })

  it.each([
    ['with the fields of an upgrade', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'],
    ['without them', ''],
  ])('D17 a 101 that nobody asked for, %s, never reaches the sandbox', async (_name, fields) => {
    rig.upstream.takeRaw(async (server) => {
      await server.message()
      server.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nraw!`)
    })
    const wire = await openWire(rig)
    wire.write(`GET /d17-101 HTTP/1.1\r\n${host()}\r\n\r\n`)
    expect(told(await wire.message())).toBe('502 upstream_failed')
    wire.socket.destroy()
  })
})
