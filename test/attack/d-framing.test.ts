/**
 * Requests whose framing could be read in two ways. Each is refused and its connection closed before anything is sent
 * upstream; what is well framed but unusual is forwarded in one form only.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent, outcome, releasesOf } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { openWire } from '../support/sandbox-client.ts'
import { valuesOf, type WireMessage } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`

function codeOf(message: WireMessage): string | undefined {
  return valuesOf(message.fields, 'coatcheck-error')[0]
}

/** Sends bytes in a fresh tunnel and expects one refusal and a closed connection, and an upstream that heard nothing. */
async function expectRefused(bytes: string, status = 400, code = 'bad_request'): Promise<void> {
  const wire = await openWire(rig)
  wire.write(bytes)
  const answer = await wire.message()
  expect({ status: answer.status, code: codeOf(answer) }).toEqual({ status, code })
  expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code } })
  await wire.closed
  expect(wire.unread.toString('latin1')).toBe('')
  expect(rig.upstream.received.toString('latin1')).toBe('')
  expect(rig.upstream.connections).toBe(0)
}

const withPlaceholder = (...lines: string[]) =>
  ['POST /d HTTP/1.1', host(), `Authorization: Bearer ${rig.secret.placeholder}`, ...lines].join('\r\n')

describe('a request that is framed in two ways is refused and closed', () => {
  it.each([
    ['D01 Content-Length before Transfer-Encoding', ['Content-Length: 4', 'Transfer-Encoding: chunked']],
    ['D01 Transfer-Encoding before Content-Length', ['Transfer-Encoding: chunked', 'Content-Length: 4']],
    ['D02 two different lengths', ['Content-Length: 4', 'Content-Length: 5']],
    ['D02 the same length twice', ['Content-Length: 5', 'Content-Length: 5']],
    ['D02 a signed length', ['Content-Length: +5']],
    ['D02 a negative length', ['Content-Length: -5']],
    ['D02 a list of lengths', ['Content-Length: 5,5']],
    ['D02 a hexadecimal length', ['Content-Length: 0x5']],
    ['D02 an empty length', ['Content-Length:']],
    ['D02 an exponent', ['Content-Length: 5e0']],
    ['D02 a length with a blank inside', ['Content-Length: 0 5']],
    ['D02 a length beyond 64 bits', ['Content-Length: 18446744073709551621']],
    ['D03 an unknown transfer coding', ['Transfer-Encoding: xchunked']],
    ['D03 chunked not last', ['Transfer-Encoding: chunked, identity']],
    ['D03 a blank before the colon', ['Transfer-Encoding : chunked']],
    ['D03 a vertical tab before the coding', ['Transfer-Encoding: \x0bchunked']],
    ['D03 two Transfer-Encoding fields', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity']],
    ['D03 identity alone', ['Transfer-Encoding: identity']],
    ['D04 a folded value', ['X-A: one', ' two', 'Content-Length: 5']],
    ['D04 a folded coding', ['Transfer-Encoding:', ' chunked']],
    ['D04 a bare line feed between fields', ['X-A: one\nContent-Length: 5']],
    ['D04 a bare carriage return in a value', ['X-A: one\rContent-Length: 5']],
    ['D04 NUL in a value', ['X-A: o\0ne', 'Content-Length: 5']],
    ['D04 NUL in a name', ['X-\0A: one', 'Content-Length: 5']],
    ['D04 a blank before the colon of any field', ['X-A : one', 'Content-Length: 5']],
    ['D04 an empty name', [': one', 'Content-Length: 5']],
    ['D04 a name with a blank', ['X A: one', 'Content-Length: 5']],
    ['D04 a field without a colon', ['X-A', 'Content-Length: 5']],
    ['D12 a length in two spellings of its name', ['Content-Length: 5', 'content-length: 5']],
  ])('%s', async (_name, lines) => {
    await expectRefused(`${withPlaceholder(...lines)}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n${host()}\r\n\r\n`)
  })

  it('D03 HTTP/1.0 with a transfer coding is refused as a version', async () => {
    const wire = await openWire(rig)
    wire.write(`POST /d03 HTTP/1.0\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`)
    const answer = await wire.message()
    expect([400, 505]).toContain(answer.status)
    await wire.closed
    expect(rig.upstream.connections).toBe(0)
  })
})

/** Chunk grammar fails after the head was read: the upstream may have seen a head, but never a whole request. */
describe('a broken chunk never completes a request upstream', () => {
  it.each([
    ['D05 a negative size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['D05 a hexadecimal prefix', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['D05 a size of 17 digits', '10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['D05 a bare line feed after the size', '5\nhello\r\n0\r\n\r\n'],
    ['D05 a line feed in an extension', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
    ['D05 data longer than its size', '4\r\nhello\r\n0\r\n\r\n'],
    ['D05 extensions without end', `5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`],
  ])('%s', async (_name, chunks) => {
    const wire = await openWire(rig)
    wire.write(`POST /d05 HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`)
    const rest = (await wire.rest()).toString('latin1')
    await wire.closed
    expect(rest).not.toContain('HTTP/1.1 200')
    expect(rig.upstream.received.toString('latin1')).not.toContain('0\r\n\r\n')
  })
})

describe('what is well framed but unusual is forwarded in one form', () => {
  it('D05 chunk extensions end at the proxy', async () => {
    const wire = await openWire(rig)
    wire.write(
      `POST /d05ext HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c="d"\r\nhello\r\n0;e=f\r\n\r\n`,
    )
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe('hello')
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/;a=b|c="d"|e=f/)
    wire.socket.destroy()
  })

  it('D06 request trailers are dropped, whatever they say, and nothing is released into them', async () => {
    const wire = await openWire(rig)
    const trailers = `Content-Length: 3\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\nX-T: ${rig.secret.placeholder}\r\n`
    const fields = `Trailer: authorization, content-length\r\nTransfer-Encoding: chunked\r\n`
    wire.write(`POST /d06 HTTP/1.1\r\n${host()}\r\n${fields}\r\n5\r\nhello\r\n0\r\n${trailers}\r\n`)
    const answer = await wire.message().catch(() => null)
    wire.socket.destroy()
    expect([200, 400, undefined]).toContain(answer?.status)
    const received = rig.upstream.received.toString('latin1')
    expect(received).not.toMatch(/trailer|authorization|x-t:/i)
    expect(received).not.toContain(rig.value)
    const { decision } = await closingEvent(rig, { path: '/d06' })
    expect(['passed', 'failed']).toContain(decision)
    expect(await releasesOf(rig, { path: '/d06' })).toEqual([])
  })

  it('D06 a well formed trailer with a placeholder ends at the proxy', async () => {
    const wire = await openWire(rig)
    wire.write(
      `POST /d06t HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Token: ${rig.secret.placeholder}\r\n\r\n`,
    )
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.received.toString('latin1')).toMatch(/5\r\nhello\r\n0\r\n\r\n$/)
    expect(rig.upstream.received.includes(rig.secret.placeholder)).toBe(false)
    expect(await outcome(rig, { path: '/d06t' })).toEqual({ decision: 'passed', reason: null, status: 200 })
    wire.socket.destroy()
  })

  it.each(['GET', 'DELETE', 'OPTIONS'])(
    'D08 a body on %s arrives whole, and the next request apart from it',
    async (method) => {
      const wire = await openWire(rig)
      const smuggled = `GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n`
      wire.write(`${method} /d08 HTTP/1.1\r\n${host()}\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`)
      wire.write(`GET /d08next HTTP/1.1\r\n${host()}\r\n\r\n`)
      expect((await wire.message()).status).toBe(200)
      expect((await wire.message()).status).toBe(200)
      expect(rig.upstream.requests.map((each) => [each.method, each.target, each.body.toString()])).toEqual([
        [method, '/d08', smuggled],
        ['GET', '/d08next', ''],
      ])
      wire.socket.destroy()
    },
  )

  it('D08 a body on HEAD does not become the next request', async () => {
    const wire = await openWire(rig)
    const smuggled = `GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n`
    wire.write(`HEAD /d08h HTTP/1.1\r\n${host()}\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`)
    await wire.message({ toHead: true })
    wire.socket.destroy()
    await closingEvent(rig, { path: '/d08h' })
    expect(rig.upstream.requests.map((each) => each.target)).not.toContain('/smuggled')
  })
})
