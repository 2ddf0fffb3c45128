/**
 * Bodies. Bytes pass as they are, both ways, framed as they were: a Content-Length stays one, chunked stays chunked,
 * trailers of responses come through. `100 Continue` is answered after the decision, never before; other 1xx pass.
 */
import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { headText, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
let wire: Wire
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  wire?.socket.destroy()
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

/** Writes a request and reads the answer to it. */
async function ask(start: string, fields: readonly string[], body: string | Buffer = '') {
  wire = await openWire(rig)
  wire.write(headText(rig, start, fields))
  wire.write(body)
  return await wire.message({ toHead: start.startsWith('HEAD') })
}

describe('a request body', () => {
  it('of fixed length arrives with that length', async () => {
    await ask('POST /', ['Content-Length', '5', ...credential()], 'hello')
    await until(() => rig.upstream.last.body.length === 5)
    expect(rig.upstream.last.headers['content-length']).toBe('5')
    expect(rig.upstream.last.headers['transfer-encoding']).toBeUndefined()
    expect(rig.upstream.last.body.toString()).toBe('hello')
  })

  it.each([
    { name: 'on a fresh connection', before: 0 },
    { name: 'on a kept connection', before: 1 },
  ])('that is chunked arrives chunked, $name', async ({ before }) => {
    for (let i = 0; i < before; i += 1) await send(rig)
    await ask('POST /', ['Transfer-Encoding', 'chunked'], '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n')
    expect(rig.upstream.last.headers['content-length']).toBeUndefined()
    expect(rig.upstream.last.headers['transfer-encoding']).toBe('chunked')
    await until(() => rig.upstream.last.body.toString() === 'hello world')
  })

  it('that is chunked and empty arrives as an empty one', async () => {
    await ask('POST /', ['Transfer-Encoding', 'chunked'], '0\r\n\r\n')
    expect(rig.upstream.last.headers['transfer-encoding']).toBe('chunked')
    expect(rig.upstream.last.body).toHaveLength(0)
  })

  it('of length 0 arrives as length 0', async () => {
    await ask('POST /', ['Content-Length', '0'])
    expect(rig.upstream.last.headers['content-length']).toBe('0')
  })

  it('loses its chunk extensions and trailers', async () => {
    const body = `5;ext=${rig.secret.placeholder}\r\nhello\r\n0\r\nX-Trailer: ${rig.secret.placeholder}\r\n\r\n`
    await ask('POST /', ['Transfer-Encoding', 'chunked', 'Trailer', 'X-Trailer'], body)
    await until(() => rig.upstream.last.body.toString() === 'hello')
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/ext=|trailer|xcoat_/i)
  })

  it('goes with any method', async () => {
    for (const method of ['GET', 'DELETE', 'OPTIONS', 'PROPFIND', 'PATCH']) {
      await ask(`${method} /`, ['Content-Length', '5'], 'hello')
      await until(() => rig.upstream.last.method === method && rig.upstream.last.body.toString() === 'hello')
    }
  })

  it('of every byte arrives byte for byte, gzip untouched', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_none, byte) => byte))
    for (const body of [every, gzipSync(every), randomBytes(300_000)]) {
      await ask('PUT /', ['Content-Encoding', 'x-any', 'Content-Length', String(body.length), ...credential()], body)
      await until(() => rig.upstream.last.body.equals(body))
      expect(rig.upstream.last.headers['content-encoding']).toBe('x-any')
    }
  })

  it('that holds a placeholder passes unchanged and is reported', async () => {
    const body = JSON.stringify({ prompt: rig.secret.placeholder })
    await ask('POST /', ['Content-Length', String(body.length), ...credential()], body)
    await until(() => rig.upstream.last.body.toString() === body)
    const event = await until(async () => (await rig.events()).find((e) => e.kind === 'exchange' && e.reported === 1))
    expect(event).toMatchObject({ decision: 'released', bytesIn: body.length })
  })
})

describe('a response body', () => {
  it.each([
    { name: 'without a release', fields: () => [] as string[] },
    { name: 'with one', fields: credential },
  ])('keeps its framing, $name', async ({ fields }) => {
    rig.upstream.answerWith((request, response) => {
      if (request.url === '/length') response.setHeader('Content-Length', 5).end('hello')
      else {
        response.write('hel')
        response.end('lo')
      }
    })
    const fixed = await ask('GET /length', fields())
    expect([fixed.framing, fixed.body.toString()]).toEqual(['length', 'hello'])
    wire.socket.destroy()
    const chunked = await ask('GET /chunked', fields())
    expect([chunked.framing, chunked.body.toString()]).toEqual(['chunked', 'hello'])
  })

  it('that ends with the upstream connection is whole, and so is the sandbox’s', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.message()
      upstream.write('HTTP/1.1 200 OK\r\n\r\nall of it')
      upstream.socket.end()
    })
    expect((await ask('GET /', credential())).body.toString()).toBe('all of it')
  })

  it.each([
    { start: 'HEAD /', answer: 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: "x"\r\n\r\n', length: '1234' },
    { start: 'GET /', answer: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: "x"\r\n\r\n', length: '99' },
    { start: 'GET /', answer: 'HTTP/1.1 204 No Content\r\nETag: "x"\r\n\r\n', length: undefined },
  ])('is absent from the answer to $start, $answer, and the tunnel goes on', async ({ start, answer, length }) => {
    for (const fields of [[], credential()]) {
      rig.upstream.clear()
      rig.upstream.takeRaw(async (upstream) => {
        await upstream.message()
        upstream.write(answer)
      })
      const head = await ask(start, fields)
      expect(head.start).toBe(answer.slice(0, answer.indexOf('\r\n')))
      expect(valuesOf(head.fields, 'content-length')[0]).toBe(length)
      expect(valuesOf(head.fields, 'etag')).toEqual(['"x"'])
      rig.upstream.clear()
      wire.write(headText(rig, 'GET /next'))
      expect((await wire.message()).body.toString()).toBe('ok')
      wire.socket.destroy()
    }
  })

  it('passes byte for byte, with its trailers', async () => {
    const body = randomBytes(300_000)
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { Trailer: 'X-Sum' })
      response.write(body)
      response.addTrailers({ 'X-Sum': 'abc' })
      response.end()
    })
    for (const fields of [[], credential()]) {
      const answer = await ask('GET /', fields)
      expect(answer.body.equals(body)).toBe(true)
      expect(valuesOf(answer.fields, 'trailer')).toEqual(['X-Sum'])
      expect(answer.trailers).toEqual(['X-Sum', 'abc'])
      wire.socket.destroy()
    }
  })

  it('that comes before the request body is complete reaches the sandbox, which may then finish', async () => {
    rig.upstream.answerWith((_request, response) => response.writeHead(413).end('too much'))
    wire = await openWire(rig)
    wire.write(headText(rig, 'POST /', ['Content-Length', '200000', ...credential()]))
    wire.write(Buffer.alloc(100_000))
    const answer = await wire.message()
    expect([answer.status, answer.body.toString()]).toEqual([413, 'too much'])
    wire.write(Buffer.alloc(100_000))
    rig.upstream.clear()
    wire.write(headText(rig, 'GET /next'))
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.target).toBe('/next')
  })
})

describe('an interim response', () => {
  it('100 comes after the decision, and the body after it', async () => {
    wire = await openWire(rig)
    wire.write(headText(rig, 'POST /', ['Expect', '100-continue', 'Content-Length', '5', ...credential()]))
    expect((await wire.head()).start).toBe('HTTP/1.1 100 Continue')
    const kinds = (await rig.events()).map((event) => event.kind)
    expect(kinds.at(-1)).toBe('release')
    wire.write('hello')
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.headers.expect).toBeUndefined()
    expect(rig.upstream.last.body.toString()).toBe('hello')
  })

  it('100 is not sent when the request is refused', async () => {
    wire = await openWire(rig)
    const cookie = ['Cookie', `key=${rig.secret.placeholder}`]
    wire.write(headText(rig, 'POST /', ['Expect', '100-continue', 'Content-Length', '5', ...cookie]))
    expect((await wire.message()).status).toBe(403)
    expect(rig.upstream.connections).toBe(0)
  })

  it('103 passes before the answer, masked where a value was released', async () => {
    rig.upstream.answerWith((request, response) => {
      const seen = request.headers.authorization ?? 'none'
      response.writeEarlyHints({ link: '</style.css>; rel=preload', 'x-seen': seen }, () => response.end('done'))
    })
    const early = await ask('GET /', credential())
    expect(early.start).toBe('HTTP/1.1 103 Early Hints')
    expect(early.fields).toEqual(['Link', '</style.css>; rel=preload', 'x-seen', `Bearer ${rig.secret.placeholder}`])
    expect((await wire.message()).body.toString()).toBe('done')
  })

  // A limit of undici, which takes any 100 as a fault (RFC 9110 15.2 asks a client to skip it).
  it('100 that nobody asked the upstream for is passed over (RFC 9110 15.2)', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.message()
      upstream.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
    const answer = await ask('POST /', ['Content-Length', '5'], 'hello')
    expect([answer.status, answer.body.toString()]).toEqual([200, 'ok'])
  })
})
