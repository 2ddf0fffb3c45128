/** When a body may come, when it may not, and what happens to the rest of a connection when it stops coming. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent, outcome } from '../support/audited.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { openTls, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`

describe('D08 CONNECT', () => {
  it.each([
    ['Content-Length: 5', 'hello'],
    ['Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
    ['Content-Length: 00', ''],
  ])('D08 with a body (%s) is refused', async (field, body) => {
    const raw = new RawSandbox(rig)
    const target = `api.test:${rig.upstream.port}`
    const head = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${raw.credentials}\r\n${field}\r\n\r\n`
    const answer = await raw.send(`${head}${body}`)
    expect([answer.status, answer.code]).toEqual([400, 'bad_request'])
    expect(rig.upstream.connections).toBe(0)
  })
})

describe('D08 Expect', () => {
  it('D08 100-continue is answered after the decision, and the body follows', async () => {
    const wire = await openWire(rig)
    wire.write(`POST /d08x HTTP/1.1\r\n${host()}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`)
    expect((await wire.message()).status).toBe(100)
    wire.write('hello')
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe('hello')
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/expect/i)
    wire.socket.destroy()
  })

  it('D08 a refused request is told so without a 100', async () => {
    const wire = await openWire(rig)
    const fields = `X-Forwarded-For: ${rig.secret.placeholder}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n`
    wire.write(`POST /d08r HTTP/1.1\r\n${host()}\r\n${fields}\r\n`)
    const answer = await wire.message()
    expect([answer.status, valuesOf(answer.fields, 'coatcheck-error')]).toEqual([403, ['placement_not_allowed']])
    wire.socket.destroy()
  })

  it.each(['200-ok', '100-continue, 200-ok', 'xcoat'])(
    'D08 an unknown expectation (%s) is refused and marked',
    async (expected) => {
      const answer = await send(rig, { method: 'POST', headers: ['Expect', expected], body: 'hello' })
      expect([answer.status, answer.error?.code]).toEqual([400, 'bad_request'])
      expect(rig.upstream.connections).toBe(0)
    },
  )
})

describe('D09 a client that closes its half', () => {
  it('D09 after its request loses its answer at most: the exchange ends, and is recorded', async () => {
    const socket = await openTls(rig, 'api.test')
    socket.on('error', () => undefined)
    socket.resume()
    socket.end(`GET /d09 HTTP/1.1\r\n${host()}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\n\r\n`)
    const { decision } = await closingEvent(rig, { path: '/d09' })
    expect(['released', 'failed']).toContain(decision)
  })

  it('D09 before its body is complete never completes it upstream', async () => {
    const socket = await openTls(rig, 'api.test')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(`POST /d09b HTTP/1.1\r\n${host()}\r\nContent-Length: 10\r\n\r\nhello`)
    await until(() => rig.upstream.received.includes('hello'))
    socket.end()
    expect(await outcome(rig, { path: '/d09b' })).toMatchObject({ decision: 'failed', reason: 'client_aborted' })
    await until(() => rig.upstream.sockets.size === 0)
    expect(rig.upstream.received.subarray(-5).toString()).toBe('hello')
  })
})

describe('D08 an answer that comes before the body is complete', () => {
  it('D08 leaves the next request of the connection whole, or closes it', async () => {
    const wire = await openWire(rig)
    const body = 'GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n'
    const fields = `X-Forwarded-For: ${rig.secret.placeholder}\r\nContent-Length: ${body.length}\r\n`
    wire.write(`POST /d08e HTTP/1.1\r\n${host()}\r\n${fields}\r\n${body.slice(0, 10)}`)
    expect((await wire.message()).status).toBe(403)
    wire.write(body.slice(10))
    wire.write(`GET /d08f HTTP/1.1\r\n${host()}\r\n\r\n`)
    const next = await wire.message().catch(() => null)
    if (next !== null) expect(next.status).toBe(200)
    expect(rig.upstream.requests.map((each) => each.target)).toEqual(next === null ? [] : ['/d08f'])
    wire.socket.destroy()
  })
})
