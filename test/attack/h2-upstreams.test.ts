/**
 * Upstreams that speak HTTP/2 badly, on purpose or not. What they send is masked, or the exchange fails with 502 or a
 * reset; the process, other upstreams and other sandboxes go on. What is sent to them is not compressed against them.
 */
import type { ServerHttp2Session } from 'node:http2'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent } from '../support/audited.ts'
import { askOver } from '../support/either-protocol.ts'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { END_HEADERS, END_STREAM, FRAME, frame, type H2Wire, headers, literals, uint32 } from '../support/h2-wire.ts'
import { STATIC, writtenFields } from '../support/hpack-fields.ts'
import { OTHER, Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const MIB = 1024 * 1024

let rig: Rig
let h2: H2Upstream
beforeAll(async () => {
  h2 = await H2Upstream.start()
  rig = await Rig.start({
    ports: [h2.port],
    env: { COATCHECK_UPSTREAM_HEADERSTIMEOUT: '500ms', COATCHECK_UPSTREAM_IDLETIMEOUT: '500ms' },
  })
  h2.certifiedBy(rig.authority)
})
afterEach(async () => {
  rig.upstream.clear()
  h2.clear()
  await until(() => rig.upstream.sockets.size + h2.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
  await h2.stop()
})

const credential = () => ['authorization', `Bearer ${rig.secret.placeholder}`]

/** What a sandbox on either protocol gets when the upstream does that to its first stream. */
async function answerTo(
  sandbox: 'h1' | 'h2',
  act: (wire: H2Wire, stream: number) => unknown,
  path = '/',
): Promise<{ status: number | string; code: string | undefined }> {
  h2.takeRaw(async (wire) => {
    wire.write(frame(FRAME.settings, 0, 0))
    const { stream } = await wire.next(FRAME.headers)
    await act(wire, stream)
  })
  const asking = askOver(sandbox, rig, h2.port, { headers: credential(), path })
  const answer = await asking.catch((error: Error) => ({ status: error.message, error: null }))
  return { status: answer.status, code: answer.error?.code }
}

const failed = { status: 502, code: 'upstream_failed' }
const ok = (stream: number, fields: readonly string[] = [], flags = END_HEADERS) => {
  return headers(stream, [':status', '200', ...fields], flags)
}

const BEFORE_THE_HEAD: readonly (readonly [string, (wire: H2Wire, stream: number) => unknown])[] = [
  ['closes', (wire) => wire.socket.destroy()],
  ['ends', (wire) => wire.socket.end()],
  ['resets the stream', (wire, stream) => wire.write(frame(FRAME.reset, 0, stream, uint32(2)))],
  ['cancels the stream', (wire, stream) => wire.write(frame(FRAME.reset, 0, stream, uint32(8)))],
  ['resets it without an error', (wire, stream) => wire.write(frame(FRAME.reset, 0, stream, uint32(0)))],
  ['goes away with an error', (wire) => wire.write(frame(FRAME.goaway, 0, 0, Buffer.alloc(8, 1)))],
  ['sends no frames', (wire) => wire.write(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))],
  ['sends a frame of 16 MiB', (wire, stream) => wire.write(frame(FRAME.data, 0, stream, Buffer.alloc(2 ** 24 - 1)))],
  ['sends DATA first', (wire, stream) => wire.write(frame(FRAME.data, END_STREAM, stream, 'body'))],
  ['sends no :status', (wire, stream) => wire.write(headers(stream, ['x-a', '1']))],
  ['sends two :status', (wire, stream) => wire.write(ok(stream, [':status', '201'], END_HEADERS | END_STREAM))],
  ['sends a :status that is none', (wire, stream) => wire.write(headers(stream, [':status', 'ok']))],
  ['sends :status 101', (wire, stream) => wire.write(headers(stream, [':status', '101'], END_HEADERS))],
  ['sends a :path', (wire, stream) => wire.write(ok(stream, [':path', '/'], END_HEADERS | END_STREAM))],
  ['sends Connection', (wire, stream) => wire.write(ok(stream, ['connection', 'close'], END_HEADERS | END_STREAM))],
  ['ends with a 103', (wire, stream) => wire.write(headers(stream, [':status', '103']))],
  ['sends HPACK that is none', (wire, stream) => wire.write(frame(FRAME.headers, 5, stream, Buffer.alloc(20, 0xff)))],
  ['sends more fields than fit', (wire, stream) => wire.write(...many(stream))],
  ['pushes', (wire, stream) => wire.write(pushed(stream), ok(stream, [], END_HEADERS | END_STREAM))],
  ['answers another stream', (wire, stream) => wire.write(ok(stream + 2, [], END_HEADERS | END_STREAM))],
  ['ends a body short', (wire, stream) => wire.write(ok(stream, ['content-length', '9']), data(stream, 'short'))],
  ['ends a body long', (wire, stream) => wire.write(ok(stream, ['content-length', '1']), data(stream, 'long'))],
]

function data(stream: number, text: string): Buffer {
  return frame(FRAME.data, END_STREAM, stream, text)
}

function pushed(stream: number): Buffer {
  const promise = literals([':method', 'GET', ':scheme', 'https', ':authority', OTHER, ':path', '/'])
  return frame(FRAME.push, END_HEADERS, stream, Buffer.concat([uint32(2), promise]))
}

function many(stream: number): Buffer[] {
  const field = literals(['x-large', 'y'.repeat(8000)])
  const parts = Array.from({ length: 12 }, (_none, i) =>
    frame(FRAME.continuation, i === 11 ? END_HEADERS : 0, stream, field),
  )
  return [frame(FRAME.headers, END_STREAM, stream, literals([':status', '200'])), ...parts]
}

describe.each(['h1', 'h2'] as const)('G02 an upstream that breaks HTTP/2, to a sandbox on %s:', (sandbox) => {
  it.each(BEFORE_THE_HEAD)(
    'G02 one that %s is answered 502, and another upstream is not harmed',
    async (_name, act) => {
      expect(await answerTo(sandbox, act)).toEqual(failed)
      expect((await askOver(sandbox, rig, rig.upstream.port)).status).toBe(200)
    },
  )

  it.each([
    ['says nothing', () => undefined],
    ['says nothing but pings', (wire: H2Wire) => wire.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
    ['allows no stream', (wire: H2Wire) => wire.write(frame(FRAME.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0])))],
    [
      'goes away in peace and says nothing',
      (wire: H2Wire) => wire.write(frame(FRAME.goaway, 0, 0, Buffer.from([0, 0, 0, 9, 0, 0, 0, 0]))),
    ],
  ] as const)('G02 one that %s is given up in time', async (_name, act) => {
    expect(await answerTo(sandbox, act)).toEqual({ status: 504, code: 'upstream_timeout' })
  })

  it('G02 one that stops in the middle is cut in time', async () => {
    const path = `/stops-${sandbox}`
    const { status } = await answerTo(
      sandbox,
      (wire, stream) => wire.write(ok(stream), frame(FRAME.data, 0, stream, 'x')),
      path,
    )
    expect(status).not.toBe(200)
    expect(await closingEvent(rig, { path })).toMatchObject({ reason: 'upstream_timeout', status: 200 })
  })

  it('G02 one that sends informational answers without end is given up', async () => {
    const act = (wire: H2Wire, stream: number) => {
      for (let i = 0; i < 2000; i++) wire.write(headers(stream, [':status', '103', 'link', '</a>'], END_HEADERS))
    }
    expect(await answerTo(sandbox, act)).toEqual(failed)
  })

  it.each([
    ['settings', () => frame(FRAME.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]))],
    ['pings', () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ['window updates', () => frame(FRAME.window, 0, 0, uint32(1))],
    ['empty data', () => frame(FRAME.data, 0, 1)],
  ] as const)('G02 one that floods with %s harms nobody else, and memory stays', async (_name, part) => {
    const before = process.memoryUsage.rss()
    const flooding = answerTo(sandbox, async (wire, stream) => {
      wire.write(ok(stream))
      for (let i = 0; i < 20_000 && !wire.isClosed; i++) {
        wire.write(part())
        if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      wire.socket.destroy()
    })
    for (let i = 0; i < 10; i++) expect((await askOver(sandbox, rig, rig.upstream.port)).status).toBe(200)
    await flooding
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MIB)
  })
})

describe('G02 one stream', () => {
  it('G02 that the upstream breaks leaves the others of its connection', async () => {
    h2.answerWith(({ stream, headers: { ':path': path } }) => {
      if (path === '/broken') stream.close(2)
      else setTimeout(() => stream.respond({ ':status': 204 }, { endStream: true }), 20)
    })
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const paths = Array.from({ length: 20 }, (_none, i) => (i % 2 === 0 ? '/broken' : '/whole'))
    const answers = await Promise.all(paths.map((path) => client.ask({ path })))
    expect(answers.map(({ status }) => status)).toEqual(paths.map((path) => (path === '/broken' ? 502 : 204)))
    expect(h2.protocols).toHaveLength(1)
    client.close()
  })
})

describe('F02 an echo over HTTP/2', () => {
  it.each(['h1', 'h2'] as const)(
    'F02 is masked in 1xx, fields, cookies, redirects and trailers, to %s',
    async (sandbox) => {
      const echo = `Bearer ${rig.value}`
      h2.answerWith(({ stream }) => {
        stream.additionalHeaders({ ':status': 103, link: `<https://x/?k=${rig.value}>` })
        const fields = { location: `https://x/?k=${rig.value}`, 'set-cookie': [`a=${rig.value}`, `b=${echo}`] }
        stream.respond({ ':status': 302, 'alt-svc': `h2="${OTHER}:443"`, ...fields }, { waitForTrailers: true })
        stream.once('wantTrailers', () => stream.sendTrailers({ 'x-end': echo }))
        stream.end(`{"k":"${rig.value}"}`)
      })
      const answer = await askOver(sandbox, rig, h2.port, { headers: credential() })
      expect(answer.headers['location']).toBe(`https://x/?k=${rig.secret.placeholder}`)
      expect(answer.body.toString()).toBe(`{"k":"${rig.secret.placeholder}"}`)
      expect(answer.trailers['x-end']).toBe(`Bearer ${rig.secret.placeholder}`)
      expect(answer.headers).not.toHaveProperty('alt-svc')
    },
  )
})

describe('F12 what is sent', () => {
  const fieldsWritten = (wire: H2Wire) => {
    return wire.frames.filter((each) => each.type === FRAME.headers).map((each) => writtenFields(each.payload))
  }

  it('F12 a credential is never indexed, on any request, while what is public is', async () => {
    let upstream: H2Wire | null = null
    h2.takeRaw(async (wire) => {
      upstream = wire
      wire.write(frame(FRAME.settings, 0, 0))
      for (let i = 0; i < 3; i++) wire.write(ok((await wire.next(FRAME.headers)).stream, [], END_HEADERS | END_STREAM))
    })
    const client = await H2Sandbox.open(rig, { port: h2.port })
    for (const headersOfOne of [
      credential(),
      credential(),
      ['authorization', 'Bearer own', 'cookie', 'a=1', 'x-public', '1'],
    ]) {
      await client.ask({ headers: headersOfOne })
    }
    const written = fieldsWritten(upstream as unknown as H2Wire)
    expect(written).toHaveLength(3)
    for (const fields of written) {
      expect(fields.filter(({ index }) => index === STATIC.authorization)).toEqual([{ as: 'never indexed', index: 23 }])
    }
    expect(written[2]?.filter(({ index }) => index === STATIC.cookie)).toEqual([{ as: 'never indexed', index: 32 }])
    expect(written[2]?.some(({ as }) => as === 'incremental')).toBe(true)
    client.close()
  })

  it('F12 a target with a value in it is never indexed', async () => {
    const secretInput = { name: 'in-query', value: SecretValue.fromText(`${rig.value}-q`), hosts: ['api.test'] }
    const { secret } = await rig.app.data.secrets.create(rig.principal, {
      ...secretInput,
      placements: ['query', 'header:x-mine'],
    })
    const sandbox = await rig.sandboxWith('querier', { KEY: 'in-query' })
    let upstream: H2Wire | null = null
    h2.takeRaw(async (wire) => {
      upstream = wire
      wire.write(frame(FRAME.settings, 0, 0))
      wire.write(ok((await wire.next(FRAME.headers)).stream, [], END_HEADERS | END_STREAM))
    })
    const client = await H2Sandbox.open(rig, { port: h2.port, sandbox })
    await client.ask({ path: `/?k=${secret.placeholder}`, headers: ['x-mine', secret.placeholder] })
    const [fields] = fieldsWritten(upstream as unknown as H2Wire)
    expect(fields?.filter(({ index }) => index === 4 || index === 5)).toEqual([{ as: 'never indexed', index: 4 }])
    expect(fields?.filter(({ as, index }) => as === 'never indexed' && index === 0).length).toBeGreaterThan(0)
    client.close()
  })
})

describe('A30 connections', () => {
  it('A30 are not coalesced: another host gets its own, whatever certificate, address or ORIGIN frame says', async () => {
    h2.answerWith(({ stream }) => {
      ;(stream.session as ServerHttp2Session).origin(`https://${OTHER}:${h2.port}`)
      stream.respond({ ':status': 204 }, { endStream: true })
    })
    const first = await H2Sandbox.open(rig, { port: h2.port })
    await first.ask({ headers: credential() })
    const second = await H2Sandbox.open(rig, { port: h2.port, host: OTHER })
    expect((await second.ask()).status).toBe(204)
    expect(h2.protocols).toHaveLength(2)
    expect(h2.requests.map((each) => each.headers[':authority'])).toEqual([
      `api.test:${h2.port}`,
      `${OTHER}:${h2.port}`,
    ])
    first.close()
    second.close()
  })
})
