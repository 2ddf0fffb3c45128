/**
 * Large bodies over HTTP/2. They pass whole, masked or not, to and from either protocol; a side that reads slowly slows
 * its own stream down, by flow control (RFC 9113 5.2), and no other stream of the connection.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const MIB = 1024 * 1024
const SIZE = 32 * MIB
/** Windows and buffers of two connections and four sockets over loopback. */
const UNDER_WAY = 24 * MIB

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

const FIELDS = [
  { name: 'without a release', fields: () => [] as string[] },
  { name: 'with one', fields: () => ['authorization', `Bearer ${rig.secret.placeholder}`] },
]

const block = Buffer.from(Array.from({ length: 64 * 1024 }, (_none, i) => (i * 31 + (i >> 8)) & 0xff))
const digest = (() => {
  const hash = createHash('sha256')
  for (let sent = 0; sent < SIZE; sent += block.length) hash.update(block)
  return hash.digest('hex')
})()

/** Writes the body with regard to back-pressure. */
async function pour(into: Writable, counter = { sent: 0 }): Promise<void> {
  for (; counter.sent < SIZE; counter.sent += block.length) {
    if (!into.write(block)) await once(into, 'drain')
  }
  into.end()
}

/** Resolves once the number has not changed for a while. */
async function settled(look: () => number): Promise<number> {
  for (let before = -1; before !== look(); ) {
    before = look()
    await sleep(250)
  }
  return look()
}

async function digestOf(stream: NodeJS.ReadableStream): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}

describe.each(FIELDS)('32 MiB $name', ({ fields }) => {
  it.each(['h1', 'h2'] as const)('come down whole from an upstream on %s', async (upstream) => {
    rig.upstream.answerWith((_request, response) => void pour(response))
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': 200 })
      void pour(stream)
    })
    client = await H2Sandbox.open(rig, { port: upstream === 'h1' ? rig.upstream.port : h2.port })
    expect(await digestOf(client.begin({ headers: fields() }))).toBe(digest)
  })

  it.each(['h1', 'h2'] as const)('go up whole to an upstream on %s', async (upstream) => {
    rig.upstream.recording = false
    h2.recording = false
    const arrived = new Promise<string>((resolve) => {
      rig.upstream.answerWith(
        (request, response) =>
          void digestOf(request)
            .then(resolve)
            .then(() => response.end()),
      )
      h2.answerWith(({ stream }) => void digestOf(stream).then(resolve))
    })
    client = await H2Sandbox.open(rig, { port: upstream === 'h1' ? rig.upstream.port : h2.port })
    const stream = client.begin({ method: 'PUT', headers: fields() }, false)
    await pour(stream)
    expect(await arrived).toBe(digest)
  })

  it('wait for a sandbox that does not read, and other streams do not', async () => {
    const progress = { sent: 0 }
    h2.answerWith(({ stream, headers }) => {
      stream.respond({ ':status': 200 })
      if (headers[':path'] === '/large') void pour(stream, progress)
      else stream.end('ok')
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const stream = client.begin({ path: '/large', headers: fields() })
    await once(stream, 'response')
    expect(await settled(() => progress.sent)).toBeLessThan(UNDER_WAY)
    expect((await client.ask()).body.toString()).toBe('ok')
    expect(await digestOf(stream)).toBe(digest)
  })

  it('wait for an upstream that does not read, and other streams do not', async () => {
    h2.recording = false
    h2.answerWith(({ stream, headers }) => {
      if (headers[':path'] === '/large') return
      stream.respond({ ':status': 200 })
      stream.end('ok')
    })
    client = await H2Sandbox.open(rig, { port: h2.port })
    const stream = client.begin({ method: 'PUT', path: '/large', headers: fields() }, false)
    const progress = { sent: 0 }
    const poured = pour(stream, progress)
    expect(await settled(() => progress.sent)).toBeLessThan(UNDER_WAY)
    expect((await client.ask()).body.toString()).toBe('ok')
    const [large] = h2.requests.filter((each) => each.headers[':path'] === '/large')
    expect(await digestOf(large?.stream as ServerHttp2Stream)).toBe(digest)
    await poured
  })
})
