/**
 * Large bodies. They pass in constant memory, both ways, masked or not; a side that reads slowly slows the other side
 * down, because what is under way is bounded by the buffers of the sockets.
 */
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { headText, openTls } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

const MIB = 1024 * 1024
const SIZE = 64 * MIB
/** Buffers of four sockets over loopback, and of the streams on them. */
const UNDER_WAY = 40 * MIB

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

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
}

/**
 * By how many bytes the resident memory of this process (with the proxy in it) rises at most during the second run; the
 * first one fills pools and compiles.
 */
async function growthDuring(run: () => Promise<void>): Promise<number> {
  await run()
  const before = process.memoryUsage.rss()
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 5)
  await run()
  clearInterval(timer)
  return most - before
}

/** Resolves once the number has not changed for a while. */
async function settled(look: () => number): Promise<number> {
  for (let before = -1; before !== look(); ) {
    before = look()
    await sleep(250)
  }
  return look()
}

async function download(fields: readonly string[], hash: Hash): Promise<void> {
  const socket = await openTls(rig, 'api.test')
  const headers = ['Host', `api.test:${rig.upstream.port}`, ...fields]
  const request = http.request({ headers, createConnection: () => socket, setDefaultHeaders: false }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk)
  socket.destroy()
}

async function upload(fields: readonly string[]): Promise<void> {
  const socket = await openTls(rig, 'api.test')
  socket.write(headText(rig, 'PUT /', ['Content-Length', String(SIZE), ...fields]))
  await pour(socket)
  await once(socket, 'data')
  socket.destroy()
}

describe.each([
  { name: 'without a release', fields: () => [] as string[] },
  { name: 'with one', fields: () => ['Authorization', `Bearer ${rig.secret.placeholder}`] },
])('64 MiB $name', ({ fields }) => {
  it('come down whole, in constant memory', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'Content-Length': SIZE })
      void pour(response).then(() => response.end())
    })
    let hash = createHash('sha256')
    const growth = await growthDuring(async () => {
      hash = createHash('sha256')
      await download(fields(), hash)
    })
    expect(hash.digest('hex')).toBe(digest)
    expect(growth).toBeLessThan(64 * MIB)
  })

  it('go up whole, in constant memory', async () => {
    rig.upstream.recording = false
    let hash = createHash('sha256')
    rig.upstream.answerWith((request, response) => {
      hash = createHash('sha256')
      request.on('data', (chunk: Buffer) => hash.update(chunk))
      request.on('end', () => response.end('ok'))
    })
    const growth = await growthDuring(() => upload(fields()))
    expect(hash.digest('hex')).toBe(digest)
    expect(growth).toBeLessThan(64 * MIB)
  })

  it('wait for a sandbox that does not read', async () => {
    const progress = { sent: 0 }
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { 'Content-Length': SIZE })
      void pour(response, progress)
    })
    const socket = await openTls(rig, 'api.test')
    socket.pause()
    socket.write(headText(rig, 'GET /', fields()))
    await until(() => progress.sent > 0)
    expect(await settled(() => progress.sent)).toBeLessThan(UNDER_WAY)
    socket.resume()
    await until(() => progress.sent === SIZE)
    socket.destroy()
  })

  it('wait for an upstream that does not read', async () => {
    rig.upstream.recording = false
    let waiting: IncomingMessage | null = null
    rig.upstream.answerWith((request) => {
      waiting = request
    })
    const socket = await openTls(rig, 'api.test')
    socket.write(headText(rig, 'PUT /', ['Content-Length', String(SIZE), ...fields()]))
    const progress = { sent: 0 }
    const poured = pour(socket, progress)
    await until(() => waiting)
    expect(await settled(() => progress.sent)).toBeLessThan(UNDER_WAY)
    ;(waiting as IncomingMessage | null)?.resume()
    await poured
    socket.destroy()
  })
})
