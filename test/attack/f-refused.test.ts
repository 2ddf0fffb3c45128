/** Answers in which the value could hide: compressed ones are opened and masked; sliced, stacked and mislabelled ones are refused. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { outcome } from '../support/audited.ts'
import { type Encode, reflect } from '../support/reflector.ts'
import { Rig } from '../support/rig.ts'
import { type Answer, send } from '../support/sandbox-client.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const releasing = (...more: string[]): Promise<Answer> =>
  send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`, ...more] })

async function expectUnmaskable(answer: Answer): Promise<void> {
  expect([answer.status, answer.error?.code]).toEqual([502, 'unmaskable_response'])
  expect(answer.rawHeaders.join()).not.toMatch(/content-encoding|content-range|etag/i)
  const { requestId = '' } = answer.error ?? {}
  expect(await outcome(rig, { requestId })).toMatchObject({ reason: 'unmaskable_response', status: 502 })
}

const OPENED: readonly (readonly [string, Encode])[] = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['zstd', zstdCompressSync],
]

const CODINGS: readonly (readonly [string, Encode])[] = [
  ['deflate', deflateRawSync],
  ['gzip', (echo) => echo],
  ['zstd', gzipSync],
  ['br', brotliCompressSync],
  ['gzip, br', (echo) => brotliCompressSync(gzipSync(echo))],
  ['identity, gzip', gzipSync],
  ['aws-chunked', (echo) => echo],
  ['compress', (echo) => echo],
  ['foo', (echo) => echo],
]

describe('F04 a compressed echo', () => {
  it.each(OPENED)('F04 labelled %s is opened, masked and sent on as it is', async (label, encode) => {
    rig.upstream.answerWith(
      reflect(encode, (response, echo) => {
        response.writeHead(200, { 'content-encoding': label, etag: '"a"' })
        response.end(echo)
      }),
    )
    const answer = await releasing()
    expect(answer.status).toBe(200)
    expect(answer.headers['content-encoding']).toBeUndefined()
    expect(answer.body.toString()).toContain(rig.secret.placeholder)
  })

  it('F04 in a text without a label is refused', async () => {
    rig.upstream.answerWith(
      reflect(gzipSync, (response, echo) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': echo.length })
        response.end(echo)
      }),
    )
    await expectUnmaskable(await releasing())
  })

  it.each(CODINGS)('F04 labelled %s is refused', async (label, encode) => {
    rig.upstream.answerWith(
      reflect(encode, (response, echo) => {
        response.writeHead(200, { 'content-encoding': label, etag: '"a"' })
        response.end(echo)
      }),
    )
    await expectUnmaskable(await releasing())
  })

  it('F04 F12 was not asked for: the upstream is told to send it as it is', async () => {
    await releasing('Accept-Encoding', 'gzip, br', 'accept-encoding', 'zstd', 'A-IM', 'gzip', 'TE', 'gzip, trailers')
    const { rawHeaders } = rig.upstream.last
    const asked = rawHeaders.filter(
      (_value, i) => i % 2 === 1 && /^(accept-encoding|a-im|te)$/i.test(rawHeaders[i - 1] ?? ''),
    )
    expect(asked).toEqual(['identity'])
  })

  it('F04 with a transfer coding is refused', async () => {
    rig.upstream.takeRaw(async (wire) => {
      await wire.message()
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')
    })
    const answer = await releasing()
    expect(answer.status).toBe(502)
    expect(['unmaskable_response', 'upstream_failed']).toContain(answer.error?.code)
  })

  it('F04 to a request that released nothing passes untouched', async () => {
    const body = gzipSync('hello')
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      response.end(body)
    })
    const answer = await send(rig, { headers: ['Accept-Encoding', 'gzip'] })
    expect([answer.headers['content-encoding'], answer.body.equals(body)]).toEqual(['gzip', true])
    expect(rig.upstream.last.headers['accept-encoding']).toBe('gzip')
  })
})

describe('F05 a bomb', () => {
  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('F05 (%s) is cut off long before it is unpacked', async (label, compress) => {
    const bomb = compress(Buffer.alloc(64 * 1024 * 1024))
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'content-encoding': label })
      response.end(bomb)
    })
    await expect(releasing()).rejects.toThrow()
    await vi.waitFor(async () => {
      const last = (await rig.events()).findLast((event) => event.kind === 'exchange')
      expect(last).toMatchObject({ reason: 'unmaskable_response' })
    })
  })

  it.each([['br', brotliCompressSync]])('F05 (%s) is not opened', async (label, compress) => {
    const bomb = compress(Buffer.alloc(64 * 1024 * 1024))
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'content-encoding': label })
      response.end(bomb)
    })
    await expectUnmaskable(await releasing())
    const passed = await send(rig)
    expect(passed.body.equals(bomb)).toBe(true)
  })
})

describe('F09 a slice', () => {
  it('F09 is not asked for', async () => {
    await releasing('Range', 'bytes=0-3', 'If-Range', '"a"')
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/range/i)
  })

  it.each([
    ['206', 206, { 'content-range': 'bytes 0-3/44' }],
    ['206 without its range', 206, {}],
    ['206 in parts', 206, { 'content-type': 'multipart/byteranges; boundary=x' }],
    ['200 with a range', 200, { 'content-range': 'bytes 0-3/44' }],
    ['200 in parts', 200, { 'content-type': 'Multipart/ByteRanges; boundary=x' }],
  ])('F09 that comes anyway (%s) is refused', async (_name, status, headers) => {
    rig.upstream.answerWith((request, response) => {
      response.writeHead(status, headers)
      response.end(request.headers.authorization?.slice(7, 20))
    })
    await expectUnmaskable(await releasing('Range', 'bytes=0-3'))
  })

  it('F09 to a request that released nothing passes', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(206, { 'content-range': 'bytes 0-1/44' })
      response.end('ok')
    })
    expect((await send(rig, { headers: ['Range', 'bytes=0-1'] })).status).toBe(206)
    expect(rig.upstream.last.headers.range).toBe('bytes=0-1')
  })
})

describe('F12 our own answers', () => {
  it('F12 are never compressed', async () => {
    rig.upstream.answerWith(reflect())
    const answer = await releasing('Accept-Encoding', 'gzip, br')
    expect(answer.headers['content-encoding']).toBeUndefined()
    const refused = await send(rig, { headers: ['X-Forwarded-For', rig.secret.placeholder, 'Accept-Encoding', 'gzip'] })
    expect([refused.status, refused.headers['content-encoding']]).toEqual([403, undefined])
  })
})
