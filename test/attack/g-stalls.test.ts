/**
 * Sandboxes and upstreams that do everything slowly or stop in the middle: each is given a bounded time and a bounded
 * buffer, and the others notice nothing.
 */
import { once } from 'node:events'
import net from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { openTls, openTunnel, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start({
    env: {
      COATCHECK_LIMITS_HEADERSTIMEOUT: '400ms',
      COATCHECK_LIMITS_HANDSHAKETIMEOUT: '300ms',
      COATCHECK_LIMITS_IDLETIMEOUT: '600ms',
      COATCHECK_UPSTREAM_IDLETIMEOUT: '600ms',
      COATCHECK_UPSTREAM_HEADERSTIMEOUT: '1500ms',
    },
  })
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`

async function dial(): Promise<Wire> {
  const { hostname, port } = new URL(rig.app.proxyUrl)
  const socket = net.connect(Number(port), hostname)
  await once(socket, 'connect')
  return new Wire(socket, (chunk) => rig.seen.push(chunk))
}

/** What came before it was closed. */
async function untilClosed(wire: Wire): Promise<string> {
  const rest = await wire.rest()
  await wire.closed
  return rest.toString('latin1')
}

describe('G04 a sandbox that is slow', () => {
  it('G04 to say anything at all is closed', async () => {
    await untilClosed(await dial())
  })

  it.each(['GET http://api.test/ HTTP/1.1\r\nHost: api', 'CONNECT api.test:443 HTTP/1.1\r\nHost: api'])(
    'G04 to finish a head is closed: %j',
    async (bytes) => {
      const wire = await dial()
      wire.write(bytes)
      expect(await untilClosed(wire)).not.toContain('200')
    },
  )

  it('G04 to begin TLS is closed', async () => {
    const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
    tunnel.resume()
    await once(tunnel, 'close')
  })

  it('G04 to finish TLS is closed', async () => {
    const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
    tunnel.resume()
    tunnel.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]))
    await once(tunnel, 'close')
  })

  it('G04 to finish a head inside a tunnel is closed', async () => {
    const wire = await openWire(rig)
    wire.write(`GET / HTTP/1.1\r\n${host()}\r\nX-A: `)
    const drip = setInterval(() => wire.write('a'), 50)
    await untilClosed(wire)
    clearInterval(drip)
    expect(rig.upstream.connections).toBe(0)
  })

  it('G04 to send its body is closed, and so is the request upstream', async () => {
    const wire = await openWire(rig)
    wire.write(`POST /g04body HTTP/1.1\r\n${host()}\r\nContent-Length: 100\r\n\r\nten bytes.`)
    await until(() => rig.upstream.received.includes('ten bytes.'))
    await untilClosed(wire)
    expect(await outcome(rig, { path: '/g04body' })).toMatchObject({ decision: 'failed' })
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('G03 G04 to take its answer holds the upstream back, and is closed', async () => {
    let written = 0
    rig.upstream.answerWith((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) written += 64 * 1024
      }
      response.writeHead(200)
      response.on('drain', more)
      more()
    })
    const socket = await openTls(rig, 'api.test')
    socket.on('error', () => undefined)
    socket.pause()
    socket.write(`GET /g04read HTTP/1.1\r\n${host()}\r\n\r\n`)
    expect(await outcome(rig, { path: '/g04read' })).toMatchObject({ decision: 'failed', status: 200 })
    // What the kernel buffers on two connections, and no more.
    expect(written).toBeLessThan(128 * 1024 * 1024)
    await until(() => rig.upstream.sockets.size === 0)
    socket.destroy()
  })

  it('G04 to take its answer after a silence of the upstream is closed too', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200)
      response.write('first')
      const dots = setInterval(() => response.write('.'), 200)
      setTimeout(() => {
        clearInterval(dots)
        response.on('drain', () => response.write(Buffer.alloc(1024 * 1024)))
        for (let i = 0; i < 32; i += 1) response.write(Buffer.alloc(1024 * 1024))
      }, 1_000)
    })
    const wire = await openWire(rig)
    wire.write(`GET /g04late HTTP/1.1\r\n${host()}\r\n\r\n`)
    await wire.upTo('first')
    wire.socket.pause()
    expect(await outcome(rig, { path: '/g04late' })).toMatchObject({ decision: 'failed', status: 200 })
    wire.socket.destroy()
  })

  it('G04 in nothing is served beside all of these', async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => dial()))
    for (const wire of slow) wire.write('GET http://api')
    expect((await send(rig)).status).toBe(200)
    await Promise.all(slow.map(untilClosed))
  })
})

describe('G03 an upstream that is slow', () => {
  it('G03 to begin its answer is a 504', async () => {
    rig.upstream.answerWith(() => undefined)
    const answer = await send(rig)
    expect([answer.status, answer.error?.code]).toEqual([504, 'upstream_timeout'])
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('G03 within its answer is cut, and the answer cannot pass for a whole one', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('ten bytes.')
    })
    const wire = await openWire(rig)
    wire.write(`GET /g03 HTTP/1.1\r\n${host()}\r\n\r\n`)
    await expect(wire.message()).rejects.toThrow('ended')
    expect(await outcome(rig, { path: '/g03' })).toMatchObject({ decision: 'failed', reason: 'upstream_timeout' })
  })

  it('G03 to take a body holds the sandbox back instead of buffering for it', async () => {
    rig.upstream.takeRaw((wire) => void wire.socket.pause())
    const socket = await openTls(rig, 'api.test')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => undefined)
    const total = 256 * 1024 * 1024
    socket.write(`POST /g03up HTTP/1.1\r\n${host()}\r\nContent-Length: ${total}\r\n\r\n`)
    const chunk = Buffer.alloc(256 * 1024)
    let sent = 0
    const more = () => {
      while (!socket.destroyed && sent < total && socket.write(chunk)) sent += chunk.length
    }
    socket.on('drain', more)
    more()
    await closed
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    expect(await outcome(rig, { path: '/g03up' })).toMatchObject({ decision: 'failed' })
  })
})

describe('G04 what is only long', () => {
  it('G04 is not cut: an answer that keeps coming, and one that takes its time to begin', async () => {
    rig.upstream.answerWith((_request, response) => {
      let left = 6
      setTimeout(() => {
        const tick = setInterval(() => {
          left -= 1
          if (left === 0) {
            clearInterval(tick)
            response.end('end')
          } else response.write('.')
        }, 150)
      }, 800)
    })
    const answer = await send(rig)
    expect([answer.status, answer.body.toString()]).toEqual([200, '.....end'])
  })

  it('G04 a plain request outside a tunnel keeps the same times', async () => {
    const raw = new RawSandbox(rig)
    const wire = await dial()
    wire.write(
      `POST http://api.test:${rig.plain.port}/x HTTP/1.1\r\nHost: api.test:${rig.plain.port}\r\n${raw.credentials}\r\nContent-Length: 9\r\n\r\nab`,
    )
    await untilClosed(wire)
    await until(() => rig.plain.sockets.size === 0)
  })
})
