/**
 * What belongs to one hop ends at that hop: proxy credentials never travel, `Connection` takes nothing away that a
 * request needs, and a request never comes round to a proxy that it has already been through.
 */
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { leaksIn } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { answerTo, openTls, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
let plainPort: number
beforeAll(async () => {
  rig = await Rig.start()
  plainPort = rig.plain.port
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
})

const host = () => `Host: api.test:${rig.upstream.port}`
const PROXY_FIELDS = /proxy-|basic /i

/** The token and its encodings are in nothing that left, and in no log line. */
function expectCredentialsStayed(): void {
  const left = Buffer.concat([rig.upstream.received, rig.plain.received])
  expect(left.length).toBeGreaterThan(0)
  expect(left.toString('latin1')).not.toMatch(PROXY_FIELDS)
  const credentials = Buffer.from(`${rig.sandbox.name}:${rig.sandbox.token}`).toString('base64')
  for (const text of [rig.sandbox.token, credentials]) {
    expect(left.includes(text)).toBe(false)
    expect(rig.logLines.join('')).not.toContain(text)
  }
}

describe('E13 proxy credentials', () => {
  it('E13 end here in a request in absolute form', async () => {
    const raw = new RawSandbox(rig)
    const answer = await raw.ask(
      `GET http://api.test:${plainPort}/ HTTP/1.1`,
      `Host: api.test:${plainPort}`,
      'Proxy-Connection: keep-alive',
      'Proxy-Authenticate: Basic realm="x"',
      'Proxy-Authentication-Info: x',
      'Connection: close',
    )
    expect(answer.status).toBe(200)
    expectCredentialsStayed()
  })

  it('E13 end here in a CONNECT, and when they are sent once more inside the tunnel', async () => {
    const raw = new RawSandbox(rig)
    const wire = await openWire(rig)
    wire.write(`GET / HTTP/1.1\r\n${host()}\r\n${raw.credentials}\r\nproxy-connection: keep-alive\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expectCredentialsStayed()
  })

  it('E13 end here in a WebSocket handshake', async () => {
    rig.upstream.takeRaw(async (wire) => {
      await wire.head()
      wire.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    })
    const raw = new RawSandbox(rig)
    const wire = await openWire(rig)
    const handshake =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='
    wire.write(`GET / HTTP/1.1\r\n${host()}\r\n${raw.credentials}\r\n${handshake}\r\n\r\n`)
    expect((await wire.message()).status).toBe(403)
    wire.socket.destroy()
    expectCredentialsStayed()
  })

  it('E13 end here for a placeholder as well, and a second pair is refused', async () => {
    const twice = await new RawSandbox(rig).ask(
      `GET http://api.test:${plainPort}/ HTTP/1.1`,
      `Host: api.test:${plainPort}`,
      'Proxy-Authorization: Basic eDp5',
    )
    expect([twice.status, twice.code]).toEqual([400, 'bad_request'])
    expect((await send(rig, { headers: ['Proxy-Authorization', `Bearer ${rig.secret.placeholder}`] })).status).toBe(200)
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/proxy-|xcoat_/i)
    expect(rig.upstream.received.includes(rig.value)).toBe(false)
  })

  it('E13 of the answer end here too: an upstream cannot ask the sandbox for them', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(407, {
        'Proxy-Authenticate': 'Basic realm="evil"',
        'Proxy-Connection': 'close',
        'X-Kept': 'yes',
      })
      response.end()
    })
    const answer = await send(rig)
    expect(answer.headers).toMatchObject({ 'x-kept': 'yes' })
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('proxy-'))).toEqual([])
  })
})

describe('E14 a Connection field', () => {
  it.each([
    'close, Authorization',
    'X-Api-Key',
    'keep-alive, x-api-key',
    'Host',
    'Content-Length',
    'content-type',
    'Cookie',
    'Via',
    'Expect',
    'Content-Encoding',
    'x-goog-api-key',
    'AUTHORIZATION',
  ])('E14 that nominates what belongs to the request (%s) is refused', async (connection) => {
    const headers = ['Authorization', `Bearer ${rig.secret.placeholder}`, 'X-Api-Key', 'k', 'Connection', connection]
    const answer = await send(rig, { method: 'POST', headers, body: 'x' })
    expect([answer.status, answer.error?.code]).toEqual([400, 'bad_request'])
    expect(rig.upstream.connections).toBe(0)
    const { requestId = '' } = answer.error ?? {}
    expect(await outcome(rig, { requestId })).toEqual({ decision: 'refused', reason: 'bad_request', status: 400 })
  })

  it('E14 in two fields is read as one list', async () => {
    const answer = await send(rig, {
      headers: ['Connection', 'close', 'Connection', 'Authorization', 'Authorization', 'x'],
    })
    expect(answer.status).toBe(400)
    expect(rig.upstream.connections).toBe(0)
  })

  it('E14 takes away what it nominates before anything is put in, and itself', async () => {
    const headers = [
      'X-Hop',
      rig.secret.placeholder,
      'Connection',
      'X-Hop, keep-alive',
      'Keep-Alive',
      'timeout=5',
      'X-Stays',
      '1',
    ]
    expect((await send(rig, { headers })).status).toBe(200)
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/x-hop|timeout=5|xcoat_/i)
    expect(rig.upstream.last.headers).toMatchObject({ 'x-stays': '1' })
  })

  it('E14 that names no field at all changes nothing', async () => {
    const headers = ['Connection', ', ,close,,', 'Authorization', `Bearer ${rig.secret.placeholder}`]
    expect((await send(rig, { headers })).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it('E14 of an answer takes its fields away as well', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, ['Connection', 'X-Hop', 'X-Hop', 'gone', 'X-Stays', '1'])
      response.end()
    })
    const answer = await send(rig)
    expect(answer.headers['x-hop']).toBeUndefined()
    expect(answer.headers['x-stays']).toBe('1')
  })
})

/** A port that exists before the proxy behind it does. */
async function openRelay(): Promise<{ readonly port: number; lead(to: () => number): void; close(): void }> {
  let target = () => 0
  const server = net.createServer((socket) => {
    const onward = net.connect(target(), '127.0.0.1')
    socket.on('error', () => onward.destroy()).pipe(onward)
    onward.on('error', () => socket.destroy()).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    lead: (to) => {
      target = to
    },
    close: () => server.close(),
  }
}

describe('E15 a request that comes round', () => {
  const ring = (proxy: string) => ({ COATCHECK_PROXY_IDENTITY: 'sandbox:box', COATCHECK_UPSTREAM_PROXY: proxy })

  it('E15 through two proxies in a ring is stopped by the first of them', async () => {
    const relay = await openRelay()
    const second = await Rig.start({ env: ring(`http://127.0.0.1:${relay.port}`), names: ['ring.test'] })
    const first = await Rig.start({ env: ring(second.app.proxyUrl), names: ['ring.test'] })
    relay.lead(() => Number(new URL(first.app.proxyUrl).port))
    try {
      const { hostname, port } = new URL(first.app.proxyUrl)
      const request = http.request({ hostname, port, path: 'http://ring.test/e15', headers: { host: 'ring.test' } })
      const answer = await answerTo(request)
      // To the first proxy the second is an upstream, whose mark does not count as its own; what it says is passed on.
      expect([answer.status, answer.error]).toEqual([508, null])
      expect(answer.body.toString()).toContain('"loop_detected"')
      expect(await outcome(first, { path: '/e15' })).toMatchObject({ status: 508 })
      expect(await outcome(second, { path: '/e15' })).toEqual({ decision: 'passed', reason: null, status: 508 })
    } finally {
      await first.stop()
      await second.stop()
      relay.close()
    }
  })

  it('E15 is told by the name in Via, which each proxy adds and nobody else has', async () => {
    await send(rig, { headers: ['Via', '1.1 someone, 1.0 else (comment)'] })
    const via = rig.upstream.last.headers.via ?? ''
    expect(via).toMatch(/^1\.1 someone, 1\.0 else \(comment\), 1\.1 coatcheck-[0-9a-f]{8}$/)
    rig.upstream.clear()
    const answer = await send(rig, { headers: ['Via', via] })
    expect([answer.status, answer.error?.code]).toEqual([508, 'loop_detected'])
    expect(rig.upstream.connections).toBe(0)
  })
})

describe('E13 in what was kept', () => {
  it('E13 the audit has no credentials either', async () => {
    const socket = await openTls(rig, 'api.test')
    socket.destroy()
    const events = await until(async () => {
      const all = await rig.events()
      return all.length > 0 ? all : null
    })
    expect(leaksIn(Buffer.from(JSON.stringify(events)), `-${rig.sandbox.token}`)).toEqual([])
  })
})
