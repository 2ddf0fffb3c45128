/**
 * Aborts. When the sandbox goes away (a half-closed connection counts as gone), the request upstream is aborted; when the
 * upstream breaks off, the sandbox's response is cut and never looks complete. The audit says which of the two it was.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { headText, openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
let wire: Wire
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  wire.socket.destroy()
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

/** The closing event of the exchange with that path. */
function closingEvent(path: string) {
  return until(async () => (await rig.events()).find((event) => event.kind === 'exchange' && event.path === path))
}

describe.each([
  { name: 'without a release', fields: () => [] as string[] },
  { name: 'with one', fields: credential },
])('a sandbox that leaves, $name,', ({ name, fields }) => {
  const path = (what: string) => `/${what}/${name.replaceAll(' ', '-')}`

  it.each([
    { how: 'closes', leave: (each: Wire) => each.socket.destroy() },
    { how: 'half-closes', leave: (each: Wire) => each.socket.end() },
  ])('before the head ($how) aborts the request upstream', async ({ how, leave }) => {
    const asked = new Promise<ServerResponse>((resolve) => {
      rig.upstream.answerWith((_request, response) => resolve(response))
    })
    wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path(how)}`, fields()))
    const response = await asked
    const closed = new Promise((resolve) => response.once('close', resolve))
    leave(wire)
    await closed
    expect(await closingEvent(path(how))).toMatchObject({ decision: 'failed', reason: 'client_aborted', status: null })
  })

  it('in the middle of the response aborts the request upstream', async () => {
    const answering = new Promise<ServerResponse>((resolve) =>
      rig.upstream.answerWith((_request, response) => {
        response.writeHead(200, { 'Content-Length': 1_000_000 })
        response.write(Buffer.alloc(100_000))
        resolve(response)
      }),
    )
    wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path('middle')}`, fields()))
    await wire.head()
    const response = await answering
    const closed = new Promise((resolve) => response.once('close', resolve))
    wire.socket.destroy()
    await closed
    expect(await closingEvent(path('middle'))).toMatchObject({ reason: 'client_aborted', status: 200 })
  })

  it('in the middle of its request body aborts the request upstream', async () => {
    const asked = new Promise<IncomingMessage>((resolve) => rig.upstream.answerWith((request) => resolve(request)))
    wire = await openWire(rig)
    wire.write(headText(rig, `POST ${path('upload')}`, ['Content-Length', '1000000', ...fields()]))
    wire.write(Buffer.alloc(1000))
    const request = await asked
    const aborted = new Promise((resolve) => request.once('aborted', resolve))
    wire.socket.destroy()
    await aborted
    expect(request.complete).toBe(false)
    expect(await closingEvent(path('upload'))).toMatchObject({ reason: 'client_aborted', bytesIn: 1000 })
  })

  it('does not disturb the next exchange', async () => {
    wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', fields()))
    expect((await wire.message()).status).toBe(200)
  })
})

describe.each([
  { name: 'without a release', fields: () => [] as string[] },
  { name: 'with one', fields: credential },
])('an upstream that breaks off, $name,', ({ name, fields }) => {
  const path = (what: string) => `/broken-${what}/${name.replaceAll(' ', '-')}`

  it.each([
    { when: 'before-the-head', sent: '' },
    { when: 'in-the-head', sent: 'HTTP/1.1 200 OK\r\nContent-Le' },
    { when: 'with-what-is-not-HTTP', sent: 'SSH-2.0-OpenSSH_9.9\r\n' },
  ])('$when is answered 502', async ({ when, sent }) => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.socket.end(sent)
    })
    wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path(when)}`, fields()))
    const answer = await wire.message()
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([502, 'upstream_failed'])
    expect(answer.body.toString()).not.toContain('SSH')
    expect(await closingEvent(path(when))).toMatchObject({ decision: 'failed', reason: 'upstream_failed', status: 502 })
  })

  it.each([
    { when: 'of-fixed-length', head: 'Content-Length: 200000', body: 'x'.repeat(100_000) },
    { when: 'that-is-chunked', head: 'Transfer-Encoding: chunked', body: '5\r\nhello\r\n' },
    { when: 'in-a-broken-chunk', head: 'Transfer-Encoding: chunked', body: '5\r\nhello\r\nzz\r\n' },
  ])('in a body $when cuts the response', async ({ when, head, body }) => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${body}`)
    })
    wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path(when)}`, fields()))
    await expect(wire.message()).rejects.toThrow('the connection ended')
    expect(await closingEvent(path(when))).toMatchObject({ decision: 'failed', reason: 'upstream_failed', status: 200 })
  })

  it('in a short body that masking waits for is answered 502', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf of it')
    })
    wire = await openWire(rig)
    wire.write(headText(rig, `GET ${path('short')}`, credential()))
    expect((await wire.message()).status).toBe(502)
  })

  it('after its answer, with the request body under way, leaves the answer whole', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.socket.end('HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nstop')
    })
    wire = await openWire(rig)
    wire.write(headText(rig, `POST ${path('late')}`, ['Content-Length', '1000000', ...fields()]))
    wire.write(Buffer.alloc(500_000))
    const answer = await wire.message()
    expect([answer.status, answer.body.toString()]).toEqual([413, 'stop'])
  })
})
