/** Values and streams: a WebSocket's handshake may release, its frames never do; bodies pass without being held back. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent, outcome, releasesOf } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { openTls, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
let placeholder: string
beforeAll(async () => {
  rig = await Rig.start()
  placeholder = rig.secret.placeholder
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const handshake = (path: string, ...fields: string[]) =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: api.test:${rig.upstream.port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
    ...fields,
    '',
    '',
  ].join('\r\n')

const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

/** Agrees to every handshake and keeps what comes after it. */
function agree(): { readonly frames: () => Buffer; readonly wire: () => Wire } {
  let frames = Buffer.alloc(0)
  let taken: Wire | undefined
  rig.upstream.takeRaw(async (wire) => {
    taken = wire
    await wire.head()
    wire.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
    )
    frames = Buffer.concat([frames, await wire.rest()])
  })
  return {
    frames: () => Buffer.concat([frames, taken?.unread ?? Buffer.alloc(0)]),
    wire: () => taken as Wire,
  }
}

/** A masked text frame (RFC 6455 5.2) with a key of zeros, so that its payload is readable on the way. */
function textFrame(text: string, final = true, opcode = 1): Buffer {
  const payload = Buffer.from(text)
  const length =
    payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 255]
  return Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode, ...length, 0, 0, 0, 0]), payload])
}

describe('E18 a WebSocket', () => {
  it('E18 may have its value in a credential header of the handshake, which is recorded like any other', async () => {
    const upstream = agree()
    const wire = await openWire(rig)
    wire.write(handshake('/e18', `Authorization: Bearer ${placeholder}`))
    const answer = await wire.message()
    expect([answer.status, valuesOf(answer.fields, 'sec-websocket-accept')]).toEqual([101, [ACCEPT]])
    expect(rig.upstream.received.toString('latin1')).toContain(`Authorization: Bearer ${rig.value}\r\n`)
    upstream.wire().socket.destroy()
    await wire.closed
    expect((await closingEvent(rig, { path: '/e18' })).decision).toBe('released')
    expect(await releasesOf(rig, { path: '/e18' })).toHaveLength(1)
  })

  it.each(['Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', 'Cookie', 'Origin', 'Sec-WebSocket-Key'])(
    'E18 may not have it in %s',
    async (name) => {
      const wire = await openWire(rig)
      const bytes =
        name === 'Sec-WebSocket-Key'
          ? handshake('/').replace(KEY, placeholder)
          : handshake('/', `${name}: ${placeholder}`)
      wire.write(bytes)
      const answer = await wire.message()
      expect([answer.status, valuesOf(answer.fields, 'coatcheck-error')]).toEqual([403, ['placement_not_allowed']])
      expect(rig.upstream.connections).toBe(0)
      wire.socket.destroy()
    },
  )

  it.each([
    ['in one', () => [textFrame(placeholder)]],
    ['split over two', () => [textFrame(placeholder.slice(0, 10), false), textFrame(placeholder.slice(10), true, 0)]],
    ['in JSON', () => [textFrame(JSON.stringify({ op: 2, d: { token: placeholder } }))]],
    ['in binary', () => [textFrame(placeholder, true, 2)]],
    ['before the upstream agreed', () => [textFrame(placeholder)]],
  ])('E18 never has it in a frame, %s', async (name, frames) => {
    const upstream = agree()
    const wire = await openWire(rig)
    const bytes = Buffer.concat(frames())
    const early = name.startsWith('before')
    wire.write(Buffer.concat([Buffer.from(handshake('/e18f')), early ? bytes : Buffer.alloc(0)]))
    expect((await wire.message()).status).toBe(101)
    if (!early) wire.write(bytes)
    await until(() => upstream.frames().length >= bytes.length)
    expect(upstream.frames().equals(bytes)).toBe(true)
    expect(rig.upstream.received.includes(rig.value)).toBe(false)
    wire.socket.destroy()
  })
})

describe('E19 a long body', () => {
  it('E19 passes without being held back, whatever placeholders are in it, and is reported', async () => {
    const chunk = Buffer.from(`${'.'.repeat(65_536 - placeholder.length)}${placeholder}`)
    const count = 4096
    rig.upstream.recording = false
    const hash = createHash('sha256')
    rig.upstream.answerWith((request, response) => {
      request.on('data', (data: Buffer) => hash.update(data))
      request.on('end', () => response.end('ok'))
    })
    const expected = createHash('sha256')
    const socket = await openTls(rig, 'api.test')
    socket.write(
      `POST /e19 HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nContent-Length: ${chunk.length * count}\r\n\r\n`,
    )
    let peak = 0
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < count; i += 1) {
      expected.update(chunk)
      if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve))
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
    }
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    expect(hash.digest('hex')).toBe(expected.digest('hex'))
    // Only tells that the body is not held back whole: all ends and their garbage are in this one process.
    expect(peak).toBeLessThan((chunk.length * count * 3) / 4)
    expect(await closingEvent(rig, { path: '/e19' })).toMatchObject({ decision: 'withheld', reported: count })
  })

  it('E19 server-sent events come as they are sent, not when they are complete', async () => {
    let end = () => undefined as unknown
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: one\n\n')
      end = () => response.end('data: two\n\n')
    })
    const wire = await openWire(rig)
    wire.write(
      `GET /e19s HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`,
    )
    expect((await wire.head()).status).toBe(200)
    expect((await wire.chunk()).toString()).toBe('data: one\n\n')
    end()
    expect((await wire.chunk()).toString()).toBe('data: two\n\n')
    wire.socket.destroy()
    expect(await outcome(rig, { path: '/e19s' })).toMatchObject({ decision: 'released' })
  })

  it('E19 a message like one of gRPC passes with its trailers', async () => {
    rig.upstream.answerWith((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200, { 'content-type': 'application/grpc', trailer: 'grpc-status, grpc-message' })
        response.write(Buffer.from([0, 0, 0, 0, 1, 7]))
        response.addTrailers({ 'grpc-status': '0', 'grpc-message': 'ok' })
        response.end()
      })
    })
    const answer = await send(rig, {
      method: 'POST',
      headers: ['TE', 'trailers'],
      body: Buffer.from([0, 0, 0, 0, 1, 7]),
    })
    expect(answer.trailers).toEqual({ 'grpc-status': '0', 'grpc-message': 'ok' })
    expect(answer.body).toEqual(Buffer.from([0, 0, 0, 0, 1, 7]))
  })
})
