/**
 * Streams of HTTP/2. Many share a connection on either side and none holds up, cuts or outlives another; who leaves
 * takes the other side's stream along, and an answer that breaks off is reset.
 */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import http2, { type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { closingEvent } from '../support/audited.ts'
import { askOver } from '../support/either-protocol.ts'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { END_HEADERS, FRAME, frame, headers, uint32 } from '../support/h2-wire.ts'
import { canary } from '../support/leak-check.ts'
import { Rig } from '../support/rig.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'
import { until } from '../support/until.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants

let rig: Rig
let h2: H2Upstream
let client: H2Sandbox
beforeAll(async () => {
  h2 = await H2Upstream.start()
  rig = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(rig.authority)
})
afterEach(async () => {
  client.close()
  rig.upstream.clear()
  h2.clear()
  await until(() => rig.upstream.sockets.size + h2.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
  await h2.stop()
})

const credential = () => ['authorization', `Bearer ${rig.secret.placeholder}`]
const FIELDS = [
  { name: 'without a release', fields: () => [] as string[] },
  { name: 'with one', fields: credential },
]

/** The code a stream was closed with. */
async function codeOf(stream: ClientHttp2Stream | ServerHttp2Stream): Promise<number> {
  stream.resume()
  if (!stream.destroyed) await new Promise((resolve) => stream.once('close', resolve))
  return stream.rstCode ?? -1
}

describe('one connection', () => {
  it.each(FIELDS)('carries a hundred streams at once, each answered by itself, $name', async ({ fields }) => {
    h2.answerWith(({ stream, headers }) => {
      const path = headers[':path'] ?? ''
      setTimeout(
        () => {
          stream.respond({ ':status': 200 })
          stream.end(path)
        },
        (Number(path.slice(1)) * 7) % 50,
      )
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const paths = Array.from({ length: 100 }, (_none, i) => `/${i}`)
    const answers = await Promise.all(paths.map((path) => client.ask({ path, headers: fields() })))
    expect(answers.map(({ body }) => body.toString())).toEqual(paths)
    expect(h2.protocols).toEqual(['h2'])
  })

  it('carries a hundred to an upstream on HTTP/1.1', async () => {
    rig.upstream.answerWith((request, response) => response.end(request.url))
    client = await H2Sandbox.open(rig)
    const paths = Array.from({ length: 100 }, (_none, i) => `/${i}`)
    const answers = await Promise.all(paths.map((path) => client.ask({ path, headers: credential() })))
    expect(answers.map(({ body }) => body.toString())).toEqual(paths)
  })

  it('upstream is used again, by sandboxes of the workspace on either protocol, and by no other workspace', async () => {
    client = await H2Sandbox.open(rig, { port: h2.port })
    for (let i = 0; i < 3; i++) await client.ask()
    await askOver('h2', rig, h2.port)
    await askOver('h1', rig, h2.port)
    expect(h2.protocols).toHaveLength(1)
    const value = canary('second')
    const second = await SecondWorkspace.create(rig, value)
    await askOver('h2', rig, h2.port, { sandbox: second.sandbox })
    expect(h2.protocols).toHaveLength(2)
  })

  it('takes no more streams than the upstream allows; the rest get connections of their own', async () => {
    h2.settings = { maxConcurrentStreams: 4 }
    let open = 0
    let most = 0
    h2.answerWith(({ stream }) => {
      open += 1
      most = Math.max(most, open)
      setTimeout(() => {
        open -= 1
        stream.respond({ ':status': 200 })
        stream.end('ok')
      }, 20)
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const answers = await Promise.all(Array.from({ length: 12 }, () => client.ask({ method: 'POST', body: 'x' })))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200))
    expect(h2.protocols.length).toBeGreaterThan(2)
    expect(most).toBeGreaterThan(1)
  })

  it('that the upstream winds up finishes its streams, and the next request gets a new one', async () => {
    const begun = new Promise<ServerHttp2Stream>((resolve) => h2.answerWith(({ stream }) => resolve(stream)))
    client = await H2Sandbox.open(rig, { port: h2.port })
    const answer = client.ask({ headers: credential() })
    const stream = await begun
    stream.session?.close()
    h2.answerWith(({ stream: next }) => {
      next.respond({ ':status': 200 })
      next.end('next')
    })
    expect((await client.ask()).body.toString()).toBe('next')
    stream.respond({ ':status': 200 })
    stream.end('finished')
    expect((await answer).body.toString()).toBe('finished')
    expect(h2.protocols).toHaveLength(2)
  })

  it('does not show a request that the upstream refused unseen: it is sent again', async () => {
    let refusals = 2
    h2.answerWith(({ stream }) => {
      refusals -= 1
      if (refusals >= 0) stream.close(NGHTTP2_REFUSED_STREAM)
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    expect((await client.ask({ headers: credential() })).status).toBe(204)
    expect(h2.requests).toHaveLength(3)
  })

  it('that the upstream drops while it is idle is replaced', async () => {
    client = await H2Sandbox.open(rig, { port: h2.port })
    await client.ask()
    for (const socket of h2.sockets) socket.destroy()
    await until(() => h2.sockets.size === 0)
    await sleep(20)
    expect((await client.ask()).status).toBe(200)
  })
})

describe('a sandbox that leaves', () => {
  it.each(['h1', 'h2'] as const)('resets one stream: that request is aborted on %s, and no other', async (upstream) => {
    const begun: (ServerHttp2Stream | ServerResponse)[] = []
    rig.upstream.answerWith((_request, response) => begun.push(response))
    h2.answerWith(({ stream }) => begun.push(stream))
    client = await H2Sandbox.open(rig, { port: upstream === 'h1' ? rig.upstream.port : h2.port })
    const path = `/left-${upstream}`
    const left = client.begin({ path, headers: credential() })
    await until(() => begun.length === 1)
    const stays = client.begin({ path: '/stays' })
    await until(() => begun.length === 2)
    const closed = once(begun[0] as ServerResponse, 'close')
    left.close(NGHTTP2_CANCEL)
    await closed
    expect(await closingEvent(rig, { path })).toMatchObject({ decision: 'failed', reason: 'client_aborted' })
    expect([begun[1]?.destroyed, stays.destroyed]).toEqual([false, false])
  })

  it.each(['h1', 'h2'] as const)('closes its connection: all its requests are aborted on %s', async (upstream) => {
    const begun: (ServerHttp2Stream | ServerResponse)[] = []
    rig.upstream.answerWith((_request, response) => {
      response.write('begun')
      begun.push(response)
    })
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': 200 })
      stream.write('begun')
      begun.push(stream)
    })
    client = await H2Sandbox.open(rig, { port: upstream === 'h1' ? rig.upstream.port : h2.port })
    for (let i = 0; i < 10; i++) client.begin({ headers: credential() })
    await until(() => begun.length === 10)
    const closed = Promise.all(begun.map((each) => once(each as ServerResponse, 'close')))
    client.close()
    await closed
  })

  it('in the middle of its body aborts the request, and never ends it', async () => {
    let arrived = 0
    h2.answerWith(({ stream }) => {
      stream.on('data', (chunk: Buffer) => {
        arrived += chunk.length
      })
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const stream = client.begin({ method: 'POST', path: '/half', headers: credential() }, false)
    stream.write(Buffer.alloc(1000))
    const request = await until(() => h2.requests[0])
    await until(() => arrived === 1000)
    stream.close(NGHTTP2_CANCEL)
    expect(await codeOf(request.stream)).toBe(NGHTTP2_CANCEL)
    expect(await closingEvent(rig, { path: '/half' })).toMatchObject({ reason: 'client_aborted', bytesIn: 1000 })
  })
})

describe('an upstream that breaks off', () => {
  it('in the body, on HTTP/1.1, resets the stream and leaves the others', async () => {
    rig.upstream.answerWith((request, response) => {
      if (request.url !== '/broken') response.end('whole')
      else response.write('begun', () => setTimeout(() => response.destroy(), 20))
    })
    client = await H2Sandbox.open(rig)
    expect(await codeOf(client.begin({ path: '/broken' }))).toBe(NGHTTP2_INTERNAL_ERROR)
    expect((await client.ask()).body.toString()).toBe('whole')
  })

  it.each([
    { how: 'cancels the stream', code: NGHTTP2_CANCEL },
    { how: 'resets it as an error', code: NGHTTP2_INTERNAL_ERROR },
    { how: 'resets it as if nothing were wrong', code: NGHTTP2_NO_ERROR },
  ])('in the body, on HTTP/2, where it $how, resets the stream and never ends it', async ({ code }) => {
    h2.takeRaw(async (wire) => {
      wire.write(frame(FRAME.settings, 0, 0))
      const { stream } = await wire.next(FRAME.headers)
      wire.write(headers(stream, [':status', '200'], END_HEADERS), frame(FRAME.data, 0, stream, 'a part'))
      await sleep(20)
      wire.write(frame(FRAME.reset, 0, stream, uint32(code)))
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    expect(await codeOf(client.begin({ path: `/reset-${code}` }))).toBe(NGHTTP2_INTERNAL_ERROR)
    expect(await closingEvent(rig, { path: `/reset-${code}` })).toMatchObject({ decision: 'failed', status: 200 })
  })

  it('before the head is answered 502', async () => {
    h2.answerWith(({ stream }) => stream.close(NGHTTP2_INTERNAL_ERROR))
    client = await H2Sandbox.open(rig, { port: h2.port })
    const answer = await client.ask({ headers: credential() })
    expect(answer).toMatchObject({ status: 502, error: { code: 'upstream_failed' } })
  })

  it('after its answer, with the request body under way, leaves the answer whole', async () => {
    h2.recording = false
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': 413 })
      stream.end('stop')
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const stream = client.begin({ method: 'POST', headers: credential() }, false)
    stream.write(Buffer.alloc(500_000))
    expect(await client.answerTo(stream)).toMatchObject({ status: 413, body: Buffer.from('stop') })
  })
})

it('a sandbox that is deleted has no further stream on its open connection', async () => {
  const gone = await rig.sandboxWith('gone', { OPENAI_API_KEY: 'openai' })
  client = await H2Sandbox.open(rig, { port: h2.port, sandbox: gone })
  expect((await client.ask()).status).toBe(200)
  await rig.app.data.sandboxes.delete(rig.principal, 'gone')
  await once(client.session, 'close')
  expect(h2.requests).toHaveLength(1)
})

it('a program that stops lets the streams under way finish, and takes no more', async () => {
  const stopping = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(stopping.authority)
  const begun = new Promise<ServerHttp2Stream>((resolve) => h2.answerWith(({ stream }) => resolve(stream)))
  client = await H2Sandbox.open(stopping, { port: h2.port })
  const answer = client.ask({ headers: ['authorization', `Bearer ${stopping.secret.placeholder}`] })
  const stream = await begun
  const stopped = stopping.stop()
  await once(client.session, 'goaway')
  stream.respond({ ':status': 200 })
  stream.end('finished')
  expect((await answer).body.toString()).toBe('finished')
  await stopped
  h2.certifiedBy(rig.authority)
})

it('a connection on which nothing happens is closed, and one whose stream waits is not', async () => {
  const quick = await Rig.start({ ports: [h2.port], env: { COATCHECK_LIMITS_IDLETIMEOUT: '300ms' } })
  h2.certifiedBy(quick.authority)
  const begun = new Promise<ServerHttp2Stream>((resolve) => h2.answerWith(({ stream }) => resolve(stream)))
  client = await H2Sandbox.open(quick, { port: h2.port })
  const answer = client.ask()
  const idle = await H2Sandbox.open(quick, { port: h2.port })
  const refused = await idle.ask({ authority: 'evil.test' })
  expect(refused.status).toBe(421)
  await once(idle.session, 'close')
  await sleep(700)
  const stream = await begun
  stream.respond({ ':status': 200 })
  stream.end('after a while')
  expect((await answer).body.toString()).toBe('after a while')
  await quick.stop()
  h2.certifiedBy(rig.authority)
})
