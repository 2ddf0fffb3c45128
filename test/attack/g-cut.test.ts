/**
 * One scripted exchange, cut after every tenth byte that either side sends, by FIN and by RST. The process stays up (an
 * unheard error would fail this file), nothing stays open, each exchange has its event, and the next one is served.
 */
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ExchangeEvent } from '../../src/core/audit-event.ts'
import { openHandles, untilBackTo } from '../support/open-handles.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { openTls, openTunnel, send } from '../support/sandbox-client.ts'
import { tampered } from '../support/tampered-stream.ts'
import { until } from '../support/until.ts'

const STEP = 10

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start({ env: { COATCHECK_LIMITS_HANDSHAKETIMEOUT: '300ms', COATCHECK_LIMITS_HEADERSTIMEOUT: '1s' } })
  rig.upstream.server.on('connection', (socket: Socket) => underTls.set(socket.remotePort, socket))
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

/** The upstream's TCP connections by the port of the proxy's end. */
const underTls = new Map<number | undefined, Socket>()

const WAYS: readonly (readonly [string, (socket: Socket) => void])[] = [
  ['FIN', (socket) => void socket.end()],
  ['RST', (socket) => void socket.resetAndDestroy()],
]

function cuts(length: number): number[] {
  return Array.from({ length: Math.ceil(length / STEP) }, (_none, i) => i * STEP)
}

/** Some at a time, so that cuts also meet each other. */
async function inGroups<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < items.length; from += 8) await Promise.all(items.slice(from, from + 8).map(run))
}

function isClosed(socket: {
  readonly closed: boolean
  once(event: 'close', listener: () => void): unknown
}): Promise<void> {
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve))
}

async function expectUnharmed(baseline: number): Promise<void> {
  rig.upstream.clear()
  expect((await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })).status).toBe(200)
  rig.upstream.clear()
  await untilBackTo(baseline)
}

/** Every release belongs to an exchange that was closed. */
async function expectClosedBooks(): Promise<void> {
  await until(async () => {
    const events = await rig.events()
    const closed = new Set(
      events
        .filter((each): each is typeof each & ExchangeEvent => each.kind === 'exchange')
        .map((each) => each.exchange),
    )
    const oldest = events[0]?.seq ?? 0
    return events.every((each) => each.kind !== 'release' || each.seq === oldest || closed.has(each.exchange))
  })
}

describe('G12 the sandbox is cut', () => {
  const script = () => {
    const body = `a ${rig.secret.placeholder} b`
    const fields = `Host: api.test:${rig.upstream.port}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\nContent-Length: ${body.length}\r\n`
    return Buffer.from(`POST /g12 HTTP/1.1\r\n${fields}\r\n${body}`)
  }

  it.each(WAYS)('G12 within its request inside TLS, by %s', async (_name, cut) => {
    const baseline = openHandles()
    const bytes = script()
    await inGroups(cuts(bytes.length), async (at) => {
      const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
      const socket = tls.connect({ socket: tunnel, ca: rig.app.data.authority.certificatePem, servername: 'api.test' })
      socket.on('error', () => undefined).resume()
      await new Promise((resolve) => socket.once('secureConnect', resolve))
      await new Promise((resolve) => socket.write(bytes.subarray(0, at), resolve))
      cut(tunnel)
      await isClosed(tunnel)
      socket.destroy()
    })
    await expectUnharmed(baseline)
    await expectClosedBooks()
  })

  it.each(WAYS)('G12 within its CONNECT, by %s', async (_name, cut) => {
    const baseline = openHandles()
    const raw = new RawSandbox(rig)
    const target = `api.test:${rig.upstream.port}`
    const bytes = Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${raw.credentials}\r\n\r\n`)
    await inGroups(cuts(bytes.length + STEP), async (at) => {
      const socket = await raw.dial()
      socket.resume()
      await new Promise((resolve) => socket.write(bytes.subarray(0, at), resolve))
      cut(socket)
      await isClosed(socket)
    })
    await expectUnharmed(baseline)
  })

  it.each(WAYS)('G12 within its TLS handshake, by %s', async (_name, cut) => {
    const baseline = openHandles()
    await inGroups(cuts(700), async (at) => {
      const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
      let sent = 0
      const short = tampered(tunnel, (bytes) => {
        const part = bytes.subarray(0, Math.max(0, at - sent))
        sent += bytes.length
        if (sent > at) setImmediate(() => cut(tunnel))
        return part
      })
      const socket = tls.connect({ socket: short, ca: rig.app.data.authority.certificatePem, servername: 'api.test' })
      socket.on('error', () => undefined).resume()
      socket.once('secureConnect', () => cut(tunnel))
      await isClosed(tunnel)
      socket.destroy()
    })
    await expectUnharmed(baseline)
  })

  it.each(WAYS)('G12 within the answer it reads, by %s', async (_name, cut) => {
    const baseline = openHandles()
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200)
      const dots = setInterval(() => response.write('.'), 1)
      response.on('close', () => clearInterval(dots))
    })
    await inGroups(cuts(200), async (at) => {
      const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
      const socket = tls.connect({ socket: tunnel, ca: rig.app.data.authority.certificatePem, servername: 'api.test' })
      let received = 0
      socket
        .on('error', () => undefined)
        .on('data', (chunk: Buffer) => {
          received += chunk.length
          if (received >= at) cut(tunnel)
        })
      socket.write(
        `GET /g12r HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nX-Api-Key: ${rig.secret.placeholder}\r\n\r\n`,
      )
      await isClosed(tunnel)
      socket.destroy()
    })
    await until(() => rig.upstream.sockets.size === 0)
    await expectUnharmed(baseline)
    await expectClosedBooks()
  })
})

describe('G12 the upstream is cut', () => {
  const ANSWERS: readonly (readonly [string, string])[] = [
    ['a length', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(60)}\r\nContent-Length: 60\r\n\r\n${'b'.repeat(60)}`],
    [
      'chunks and a trailer',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${'b'.repeat(20)}\r\n14\r\n${'b'.repeat(20)}\r\n0\r\nX-T: t\r\n\r\n`,
    ],
    [
      'a 103 first',
      `HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n${'b'.repeat(20)}`,
    ],
  ]

  it.each(ANSWERS.flatMap(([name, answer]) => WAYS.map(([way, cut]) => [name, way, answer, cut] as const)))(
    'G12 within an answer of %s, by %s',
    async (_name, _way, answer, cut) => {
      const baseline = openHandles()
      const bytes = Buffer.from(answer)
      for (const release of [true, false]) {
        await inGroups([...cuts(bytes.length), bytes.length - 1], async (at) => {
          rig.upstream.takeRaw(async (wire) => {
            if ((await wire.head().catch(() => null)) === null) return
            const socket = wire.socket as Socket
            const requested = bytes.subarray(0, at)
            await new Promise((resolve) => socket.write(requested, resolve))
            cut(underTls.get(socket.remotePort) ?? socket)
          })
          const socket = await openTls(rig, 'api.test')
          socket.on('error', () => undefined)
          const received: Buffer[] = []
          socket.on('data', (chunk: Buffer) => {
            received.push(chunk)
            if (Buffer.concat(received).includes('coatcheck-error')) socket.end()
          })
          const credential = release ? `X-Api-Key: ${rig.secret.placeholder}\r\n` : ''
          socket.write(`GET /g12u HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n${credential}\r\n`)
          await isClosed(socket)
          const text = Buffer.concat(received).toString('latin1')
          // Either it was told so, or what it got cannot be taken for a whole answer.
          if (!text.includes('coatcheck-error')) expect(isWhole(text)).toBe(false)
        })
      }
      await expectUnharmed(baseline)
      await expectClosedBooks()
    },
  )
})

function isWhole(text: string): boolean {
  const final = text.replace(/^HTTP\/1\.1 103[\s\S]*?\r\n\r\n/, '')
  const [head = '', body] = final.split('\r\n\r\n', 2)
  if (body === undefined) return false
  const length = /content-length: (\d+)/i.exec(head)?.[1]
  return length === undefined ? /\r\n0\r\n/.test(final) : body.length >= Number(length)
}
