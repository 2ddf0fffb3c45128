/**
 * Floods over HTTP/2: what costs a sandbox nothing is rationed or refused, its connection is closed, and the process and
 * other tenants go on. Liveness is counted, not timed: while a flood runs, another workspace's requests are all answered.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { askOver, type EitherAnswer } from '../support/either-protocol.ts'
import { H2Sandbox, openFrames } from '../support/h2-sandbox.ts'
import { type H2Answer, H2Upstream } from '../support/h2-upstream.ts'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  type H2Wire,
  headers,
  INDEXED_FIRST,
  indexedLiteral,
  literals,
  uint32,
} from '../support/h2-wire.ts'
import { canary } from '../support/leak-check.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'
import { until } from '../support/until.ts'

const MIB = 1024 * 1024
const ENHANCE_YOUR_CALM = 11
/** While a flood runs, this many requests of another workspace must be answered. */
const ALIVE = 10

let rig: Rig
let h2: H2Upstream
let other: RigSandbox
beforeAll(async () => {
  h2 = await H2Upstream.start()
  rig = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(rig.authority)
  other = (await SecondWorkspace.create(rig, canary('second'))).sandbox
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

const head = (path = '/flood', method = 'GET') => {
  return [':method', method, ':scheme', 'https', ':authority', `api.test:${h2.port}`, ':path', path]
}

/** Writes parts until all are written or the connection is closed, with regard to back-pressure; resolves with how many. */
async function flood(wire: H2Wire, parts: number, part: (i: number) => Buffer): Promise<number> {
  let sent = 0
  for (; sent < parts && !wire.isClosed; sent++) {
    const more = wire.socket.writable && wire.socket.write(part(sent))
    if (!more) await Promise.race([new Promise((resolve) => wire.socket.once('drain', resolve)), wire.closed])
    else if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return sent
}

/** Runs a flood and, beside it, another workspace; the statuses that one got. */
async function beside(run: () => Promise<unknown>): Promise<number[]> {
  const statuses: number[] = []
  const running = run()
  for (let i = 0; i < ALIVE; i++) {
    const answer: EitherAnswer = await askOver('h2', rig, h2.port, { path: '/other', sandbox: other })
    statuses.push(answer.status)
  }
  await running
  return statuses
}

/** Answers the other workspace, and leaves the flood without an answer. */
const answerOthers: H2Answer = ({ stream, headers: { ':path': path } }) => {
  if (path !== '/other') return
  stream.respond({ ':status': 200 })
  stream.end('ok')
}

const allAnswered = Array.from({ length: ALIVE }, () => 200)

async function goawayCode(wire: H2Wire): Promise<number | null> {
  await wire.closed
  const goaway = wire.frames.findLast((each) => each.type === FRAME.goaway)
  return goaway?.payload.readUInt32BE(4) ?? null
}

describe('G01 rapid reset (CVE-2023-44487)', () => {
  it.each([
    { how: 'CANCEL', code: 8 },
    { how: 'NO_ERROR', code: 0 },
  ])('G01 20,000 streams opened and reset with $how end in ENHANCE_YOUR_CALM, early', async ({ code }) => {
    const wire = await openFrames(rig, { port: h2.port })
    const resets = (i: number) => {
      const stream = 2 * i + 1
      return Buffer.concat([headers(stream, head()), frame(FRAME.reset, 0, stream, uint32(code))])
    }
    const before = process.memoryUsage.rss()
    const statuses = await beside(() => flood(wire, 20_000, resets))
    expect(statuses).toEqual(allAnswered)
    expect(await goawayCode(wire)).toBe(ENHANCE_YOUR_CALM)
    expect(h2.requests.filter((each) => each.headers[':path'] === '/flood').length).toBeLessThan(500)
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MIB)
  })

  it('G01 in batches that wait for the exchange to begin end alike', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    h2.answerWith(() => undefined)
    for (let batch = 0; batch < 40 && !wire.isClosed; batch++) {
      const streams = Array.from({ length: 50 }, (_none, i) => 2 * (batch * 50 + i) + 1)
      wire.write(...streams.map((stream) => headers(stream, head())))
      await new Promise((resolve) => setTimeout(resolve, 10))
      wire.write(...streams.map((stream) => frame(FRAME.reset, 0, stream, uint32(8))))
    }
    expect(await goawayCode(wire)).toBe(ENHANCE_YOUR_CALM)
  })

  it('G01 made by the server (CVE-2025-8671) ends alike: window updates that are errors of the stream', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    h2.answerWith(answerOthers)
    const made = (i: number) => {
      const stream = 2 * i + 1
      return Buffer.concat([headers(stream, head()), frame(FRAME.window, 0, stream, uint32(0))])
    }
    expect(await beside(() => flood(wire, 20_000, made))).toEqual(allAnswered)
    await wire.closed
    expect(h2.requests.length).toBeLessThan(2000)
  })
})

describe('G02 what a connection may not be flooded with', () => {
  const FLOODS: readonly (readonly [string, (i: number) => Buffer])[] = [
    ['settings', () => frame(FRAME.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]))],
    ['pings', () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ['priorities', (i) => frame(FRAME.priority, 0, 2 * i + 1, Buffer.alloc(5, 1))],
    ['empty data', (i) => (i === 0 ? headers(1, head('/flood', 'POST'), END_HEADERS) : frame(FRAME.data, 0, 1))],
    ['window updates of nothing', () => frame(FRAME.window, 0, 0, uint32(0))],
    ['resets of streams that never were', (i) => frame(FRAME.reset, 0, 2 * i + 1, uint32(8))],
    ['unknown frames', () => frame(0xfa, 0, 0, 'unknown')],
    ['headers that are malformed', (i) => headers(2 * i + 1, [...head(), 'connection', 'close'])],
  ]

  it.each(FLOODS)('G02 %s: others are answered, and memory stays', async (_name, part) => {
    const wire = await openFrames(rig, { port: h2.port })
    wire.socket.on('error', () => undefined)
    const before = process.memoryUsage.rss()
    expect(await beside(() => flood(wire, 20_000, part))).toEqual(allAnswered)
    wire.socket.destroy()
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MIB)
  })

  it('G02 pings that are never read are not answered without end', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    wire.socket.pause()
    expect(await beside(() => flood(wire, 20_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))))).toEqual(allAnswered)
    wire.socket.destroy()
  })
})

describe('G02 header lists', () => {
  /** A header block in one HEADERS and then CONTINUATION frames, the last of which ends it or not. */
  function blocks(stream: number, block: Buffer, ends: boolean, size = 16_000): Buffer[] {
    const parts: Buffer[] = []
    for (let at = 0; at < block.length; at += size) parts.push(block.subarray(at, at + size))
    return parts.map((part, i) => {
      const last = ends && i === parts.length - 1 ? END_HEADERS : 0
      return i === 0
        ? frame(FRAME.headers, END_STREAM | last, stream, part)
        : frame(FRAME.continuation, last, stream, part)
    })
  }

  const large = (count: number, length: number) => {
    return literals([...head(), ...Array.from({ length: count }, (_none, i) => [`x-${i}`, 'y'.repeat(length)]).flat()])
  }

  it.each([
    ['of more than limits.headerBytes', () => blocks(1, large(1, 70_000), true)],
    ['of a thousand fields', () => blocks(1, large(1000, 1), true)],
    ['in a hundred CONTINUATION frames', () => blocks(1, large(100, 10), true, 20)],
  ])('G02 %s are refused, and no request goes out', async (_name, frames) => {
    const wire = await openFrames(rig, { port: h2.port })
    wire.write(...frames())
    await until(() => wire.isClosed || wire.frames.some((each) => each.stream === 1 || each.type === FRAME.goaway))
    expect(h2.requests).toHaveLength(0)
    wire.socket.destroy()
  })

  it('G02 CONTINUATION without end (CVE-2024-27316) closes the connection', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    const field = literals(['x-a', 'y'.repeat(1000)])
    const part = (i: number) => {
      return i === 0 ? frame(FRAME.headers, END_STREAM, 1, literals(head())) : frame(FRAME.continuation, 0, 1, field)
    }
    let sent = 0
    const statuses = await beside(async () => {
      sent = await flood(wire, 20_000, part)
    })
    expect(statuses).toEqual(allAnswered)
    await wire.closed
    expect(sent).toBeLessThan(20_000)
  })

  it('G02 a bomb of HPACK (4 KiB that say 64 MiB) is refused', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    const first = Buffer.concat([literals(head()), indexedLiteral('x-bomb', 'z'.repeat(4000))])
    const bomb = Buffer.concat([first, Buffer.alloc(16_000 - first.length, INDEXED_FIRST)])
    const before = process.memoryUsage.rss()
    wire.write(frame(FRAME.headers, END_STREAM | END_HEADERS, 1, bomb))
    await until(
      () => wire.isClosed || wire.frames.some((each) => each.type === FRAME.reset || each.type === FRAME.goaway),
    )
    expect(h2.requests).toHaveLength(0)
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MIB)
    wire.socket.destroy()
  })

  it('G02 that never end take no connection for good: silence closes it', async () => {
    const quick = await Rig.start({ env: { COATCHECK_LIMITS_HEADERSTIMEOUT: '300ms' } })
    const wire = await openFrames(quick)
    wire.write(frame(FRAME.headers, END_STREAM, 1, literals([':method', 'GET'])))
    await wire.closed
    await quick.stop()
  })
})

describe('G02 streams', () => {
  it('G02 beyond a hundred at a time are refused, and those that run are not harmed', async () => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const answers: (() => void)[] = []
    h2.answerWith(({ stream }) => {
      answers.push(() => {
        stream.respond({ ':status': 200 })
        stream.end('ok')
      })
    })
    const running = Array.from({ length: 100 }, (_none, i) => client.ask({ path: `/running-${i}` }))
    await until(() => answers.length === 100)
    const wire = await openFrames(rig, { port: h2.port })
    wire.write(...Array.from({ length: 150 }, (_none, i) => headers(2 * i + 1, head())))
    await until(() => wire.isClosed || wire.frames.filter((each) => each.type === FRAME.reset).length >= 50)
    for (const answer of answers) answer()
    const statuses = (await Promise.all(running)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(100)
    wire.socket.destroy()
    client.close()
  })

  it('G02 whose bodies nobody reads keep no more than their windows', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    h2.recording = false
    h2.answerWith(answerOthers)
    const before = process.memoryUsage.rss()
    const chunk = Buffer.alloc(16_000)
    for (let stream = 1; stream < 200; stream += 2) {
      wire.write(headers(stream, head('/flood', 'POST'), END_HEADERS))
      // As much as the window of a stream allows.
      for (let sent = 0; sent < 256 * 1024 - chunk.length; sent += chunk.length)
        wire.write(frame(FRAME.data, 0, stream, chunk))
    }
    expect(await beside(async () => undefined)).toEqual(allAnswered)
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MIB)
    wire.socket.destroy()
  })
})
