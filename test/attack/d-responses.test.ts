/**
 * Upstreams that frame their answers badly, or send more than they were asked for: no byte of it becomes the answer to
 * another request, and an answer that was cut is never taken for a whole one.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { openWire, send } from '../support/sandbox-client.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
let neighbour: RigSandbox
beforeAll(async () => {
  rig = await Rig.start()
  neighbour = await rig.sandboxWith('neighbour', { KEY: 'openai' })
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`
const SMUGGLED = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled'

/** The first request of a connection is answered with these bytes; every later one, on any connection, honestly. */
function answerFirstWith(bytes: string, after?: (wire: Wire) => Promise<void> | void): void {
  let first = true
  rig.upstream.takeRaw(async (wire) => {
    for (;;) {
      const request = await wire.message().catch(() => null)
      if (request === null) return
      const body = `honest ${request.start.split(' ')[1]}`
      if (!first) {
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
        continue
      }
      first = false
      wire.write(bytes)
      await after?.(wire)
    }
  })
}

/** Requests of two sandboxes right after the poisoned one. */
async function expectNeighboursUnharmed(): Promise<void> {
  for (const [index, sandbox] of [rig.sandbox, neighbour, rig.sandbox].entries()) {
    const answer = await send(rig, { path: `/after${index}`, sandbox })
    expect([answer.status, answer.body.toString()]).toEqual([200, `honest /after${index}`])
  }
}

describe('D07 more than one answer', () => {
  it.each([
    ['a second answer', `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${SMUGGLED}`],
    ['a length that is too short', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and then some more than that'],
    [
      'bytes after the last chunk',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['a body on 204', `HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n${SMUGGLED}`],
    ['a body on 304', `HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n${SMUGGLED}`],
    [
      'a chunked body on 204',
      `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${SMUGGLED}`,
    ],
  ])('D07 %s ends with its connection', async (_name, bytes) => {
    answerFirstWith(bytes)
    const wire = await openWire(rig)
    wire.write(head('/first'))
    const first = await wire.message().catch(() => null)
    if (first !== null && first.status < 400) expect(first.body.toString()).toBe(first.status === 200 ? 'ok' : '')
    wire.write(head('/second'))
    const second = await wire.message()
    expect(second.body.toString()).toBe('honest /second')
    wire.socket.destroy()
    await expectNeighboursUnharmed()
  })

  it('D07 a second answer on an idle connection ends with it', async () => {
    let idle: Wire | null = null
    answerFirstWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', (wire) => {
      idle = wire
    })
    const answer = await send(rig, { path: '/first' })
    expect(answer.body.toString()).toBe('ok')
    const poisoned = idle as unknown as Wire
    poisoned.write(SMUGGLED)
    await poisoned.closed
    await expectNeighboursUnharmed()
  })

  it('D07 a body on the answer to HEAD ends with its connection', async () => {
    answerFirstWith(`HTTP/1.1 200 OK\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`)
    const wire = await openWire(rig)
    wire.write(head('/first').replace('GET', 'HEAD'))
    expect((await wire.message({ toHead: true })).status).toBe(200)
    wire.socket.destroy()
    await expectNeighboursUnharmed()
  })
})

describe('D07 an answer that cannot be framed', () => {
  it.each([
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Length: 2\r\n\r\nok'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['a blank before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
    ['NUL in a field', 'HTTP/1.1 200 OK\r\nX-A: o\0ne\r\nContent-Length: 2\r\n\r\nok'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n\r\n'],
    ['HTTP/0.9', 'hello'],
    ['HTTP/3.0', 'HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a status below 100', 'HTTP/1.1 042 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a control character in the reason', 'HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok'],
    ['a head beyond the limit', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70_000)}\r\nContent-Length: 2\r\n\r\nok`],
  ])('D07 %s is a 502 and its connection is not used again', async (_name, bytes) => {
    answerFirstWith(bytes, (wire) => void wire.socket.end())
    const answer = await send(rig, { path: '/unframed' })
    expect([answer.status, answer.error?.code]).toEqual([502, 'upstream_failed'])
    expect(await outcome(rig, { requestId: answer.error?.requestId ?? '' })).toEqual({
      decision: 'failed',
      reason: 'upstream_failed',
      status: 502,
    })
    await expectNeighboursUnharmed()
  })
})

describe('D07 an answer that stops early', () => {
  it.each([
    ['within its length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this'],
    ['within a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nonly this'],
    ['between chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n'],
  ])('D07 %s cannot be taken for a whole one', async (_name, bytes) => {
    answerFirstWith(bytes, (wire) => void wire.socket.end())
    const wire = await openWire(rig)
    wire.write(head('/cut'))
    await expect(wire.message()).rejects.toThrow('the connection ended')
    await wire.closed
    await expectNeighboursUnharmed()
  })
})

describe('D07 informational answers', () => {
  it('D07 are passed on with their fields', async () => {
    answerFirstWith(`HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`)
    const wire = await openWire(rig)
    wire.write(head('/hints'))
    const hints = await wire.message()
    expect([hints.status, valuesOf(hints.fields, 'link')]).toEqual([103, ['</a.css>']])
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
  })

  it('D07 without end are cut', async () => {
    const flood = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n'.repeat(1000)
    answerFirstWith('', async (wire) => {
      while (!wire.ended && !wire.socket.destroyed) {
        wire.write(flood)
        await new Promise((resume) => setImmediate(resume))
      }
    })
    const wire = await openWire(rig)
    wire.write(head('/flood'))
    let answer = await wire.message()
    for (let hints = 0; answer.status === 103 && hints < 1_000; hints += 1) answer = await wire.message()
    expect([answer.status, valuesOf(answer.fields, 'coatcheck-error')]).toEqual([502, ['upstream_failed']])
    wire.socket.destroy()
    await expectNeighboursUnharmed()
  })
})
