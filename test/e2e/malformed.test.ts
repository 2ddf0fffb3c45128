/**
 * A request that cannot be read is refused with 400 and recorded once, with the sandbox and the host of its tunnel: garbage
 * costs a connection for each event, as requests do. A connection on which nothing came asked for nothing.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ExchangeEvent } from '../../src/core/audit-event.ts'
import { redirected } from '../support/redirected.ts'
import { ALLOWED, Rig } from '../support/rig.ts'
import { headText, openTls, openTunnel, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

let rig: Rig
let before: number
beforeAll(async () => {
  rig = await Rig.start({
    env: {
      COATCHECK_LIMITS_HEADERSTIMEOUT: '1s',
      COATCHECK_LIMITS_HEADERBYTES: '8KiB',
      COATCHECK_TRANSPARENT_LISTENHTTP: '127.0.0.1:0',
      COATCHECK_TRANSPARENT_SOURCES: '{"127.0.0.1": "box"}',
    },
  })
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
  before = (await exchanges()).length
})
afterAll(async () => {
  await rig.stop()
})

const exchanges = async () => (await rig.events()).filter((event) => event.kind === 'exchange') as ExchangeEvent[]
const seen = (chunk: Buffer) => void rig.seen.push(chunk)
const authority = () => `${ALLOWED}:${rig.upstream.port}`

const TUNNELS = {
  'in a tunnel with TLS': () => openWire(rig),
  'in a plain tunnel': async () => new Wire(await openTunnel(rig.sandbox, authority()), seen),
}
const GARBAGE: readonly [string, string | Buffer, number, string][] = [
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.9\r\n', 400, 'bad_request'],
  ['binary', Buffer.from([0, 255, 22, 3, 1]), 400, 'bad_request'],
  ['two framings', 'POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 'bad_request'],
  ['too large a head', `GET / HTTP/1.1\r\nX-Large: ${'a'.repeat(9000)}\r\n\r\n`, 431, 'headers_too_large'],
  ['a head that does not end', 'GET / HTTP/1.1\r\nX-Half', 400, 'bad_request'],
]

describe.each(Object.entries(TUNNELS))('%s', (_where, open) => {
  it.each(GARBAGE)('%s is refused and recorded once', async (_what, bytes, status, reason) => {
    before = (await exchanges()).length
    const wire = await open()
    wire.write(bytes)
    const answer = await wire.message()
    wire.write(Buffer.alloc(9000, 'more of it\r\n'))
    await wire.closed
    expect(answer.status).toBe(status)
    const { requestId } = (JSON.parse(answer.body.toString()) as { error: { requestId: string } }).error
    const all = await until(async () => ((await exchanges()).length > before ? await exchanges() : null))
    expect(all.slice(before)).toMatchObject([
      { exchange: requestId, sandbox: 'box', host: ALLOWED, port: rig.upstream.port, path: null, method: '-', reason },
    ])
    expect(all.at(-1)).toMatchObject({ decision: 'refused' })
  })

  it('a body that cannot be read is part of its exchange', async () => {
    before = (await exchanges()).length
    const wire = await open()
    wire.write(`${headText(rig, 'POST /body', ['Transfer-Encoding', 'chunked'])}5\r\nhello\r\nnonsense\r\n`)
    await wire.closed
    await send(rig, { path: '/after' })
    const all = await until(async () => ((await exchanges()).length > before + 1 ? await exchanges() : null))
    expect(all.slice(before)).toMatchObject([{ path: '/body' }, { path: '/after' }])
  })
})

it('garbage that is redirected is recorded for the sandbox that it comes from', async () => {
  before = (await exchanges()).length
  const wire = await redirected(rig, 'transparent.listenHttp')
  wire.write('SSH-2.0-OpenSSH_9.9\r\n')
  expect((await wire.message()).status).toBe(400)
  wire.socket.destroy()
  const all = await until(async () => ((await exchanges()).length > before ? await exchanges() : null))
  expect(all.slice(before)).toMatchObject([{ sandbox: 'box', host: null, reason: 'bad_request', decision: 'refused' }])
})

it('a request that is malformed behind a good one is recorded as well', async () => {
  before = (await exchanges()).length
  const wire = new Wire(await openTls(rig, ALLOWED), seen)
  wire.write(headText(rig, 'GET /good'))
  expect((await wire.message()).status).toBe(200)
  wire.write('nonsense\r\n\r\n')
  expect((await wire.message()).status).toBe(400)
  wire.socket.destroy()
  const all = await until(async () => ((await exchanges()).length > before + 1 ? await exchanges() : null))
  expect(all.slice(before)).toMatchObject([{ path: '/good' }, { method: '-', host: ALLOWED }])
})

it('a tunnel in which nothing was asked leaves no event', async () => {
  before = (await exchanges()).length
  const idle = await openWire(rig)
  await idle.closed
  await send(rig, { path: '/after' })
  const all = await until(async () => ((await exchanges()).length > before ? await exchanges() : null))
  expect(all.slice(before)).toMatchObject([{ path: '/after' }])
})
