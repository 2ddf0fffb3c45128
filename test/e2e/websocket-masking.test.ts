/**
 * What an upstream says on a WebSocket with a released value in it reaches the sandbox with the placeholder, however it is
 * framed; and what cannot be searched ends the connection, or keeps it from beginning.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent } from '../support/audited.ts'
import { fragments, frameBytes, textOf } from '../support/frames.ts'
import { headText, openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { framesAt, HANDSHAKE, say, WebSocketRig } from '../support/websocket-rig.ts'
import { valuesOf } from '../support/wire.ts'

let ws: WebSocketRig
const KEY = Buffer.from([7, 77, 177, 211])
beforeEach(() => ws.begin())
afterEach(() => ws.clear())

describe('what an upstream says on such a connection', () => {
  beforeAll(async () => {
    ws = await WebSocketRig.start()
  })
  afterAll(() => ws.rig.stop())

  const escaped = () => JSON.stringify(ws.bot.value)

  it('is masked across fragments, and in every form', async () => {
    const { sandbox, upstream } = await ws.wires()
    sandbox.write(frameBytes({ payload: ws.bot.placeholder, key: KEY }))
    await framesAt(upstream)
    const forms = [ws.bot.value, encodeURIComponent(ws.bot.value), Buffer.from(ws.bot.value).toString('hex')]
    for (const form of forms) {
      const text = `<${form}>`
      upstream.write(fragments(text, Array<number>(Buffer.byteLength(text)).fill(1)))
      const frames = await framesAt(sandbox)
      expect(textOf(frames)).toBe(`<${ws.bot.placeholder}>`)
      await sandbox.take(sandbox.unread.length)
    }
    upstream.write(frameBytes({ payload: `{"a":${escaped()}}` }))
    const [frame, ...others] = await framesAt(sandbox)
    expect([frame?.payload.toString(), others.length]).toEqual([`{"a":"${ws.bot.placeholder}"}`, 0])
    sandbox.socket.destroy()
  })

  it('is masked in a message that began before the value was released', async () => {
    const { sandbox, upstream } = await ws.wires()
    upstream.write(frameBytes({ payload: 'before ', final: false }))
    await framesAt(sandbox, () => true)
    sandbox.write(frameBytes({ payload: ws.bot.placeholder, key: KEY }))
    await framesAt(upstream)
    upstream.write(frameBytes({ payload: `after ${ws.bot.value}`, opcode: 0 }))
    expect(textOf(await framesAt(sandbox))).toBe(`before after ${ws.bot.placeholder}`)
    sandbox.socket.destroy()
  })

  it('is masked in binary messages, pings and the reason of a close frame', async () => {
    const { sandbox, upstream } = await ws.wires()
    sandbox.write(frameBytes({ payload: ws.both.placeholder, key: KEY }))
    await framesAt(upstream)
    upstream.write(frameBytes({ payload: `\0${ws.both.value}`, opcode: 2 }))
    upstream.write(frameBytes({ payload: ws.both.value, opcode: 9 }))
    upstream.write(
      frameBytes({ payload: Buffer.concat([Buffer.from([3, 232]), Buffer.from(ws.both.value)]), opcode: 8 }),
    )
    const frames = await framesAt(sandbox, ({ opcode }) => opcode === 8)
    expect(frames.map(({ payload }) => payload.toString('latin1'))).toEqual([
      `\0${ws.both.placeholder}`,
      ws.both.placeholder,
      `\x03\xe8${ws.both.placeholder}`,
    ])
    sandbox.socket.destroy()
  })

  it('is masked too where only the handshake released the value, and without compression', async () => {
    const credential = { Authorization: `Bearer ${ws.rig.secret.placeholder}` }
    const dialled = await ws.dial(credential, ws.rig.sandbox)
    expect(dialled.client.extensions).toBe('')
    ws.server.clients.forEach((each) => each.send(`you are ${ws.rig.value}`))
    await until(() => dialled.got.length === 1)
    expect(dialled.got).toEqual([`you are ${ws.rig.secret.placeholder}`])
    // What the sandbox sends is not looked at: it has no secret for messages.
    expect((await say(dialled, ws.rig.secret.placeholder)).sent).toBe(ws.rig.secret.placeholder)
    await ws.ended(dialled)
  })

  it('with an extension that nobody asked for is refused before the sandbox believes in it', async () => {
    ws.rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
      )
    })
    const sandbox = await openWire(ws.rig, { sandbox: ws.box })
    sandbox.write(headText(ws.rig, `GET ${ws.path}`, HANDSHAKE))
    const answer = await sandbox.message()
    expect([answer.status, valuesOf(answer.fields, 'coatcheck-error')]).toEqual([502, ['unmaskable_response']])
    sandbox.socket.destroy()
  })

  it.each([
    ['compressed', { rsv1: true, payload: 'x' }],
    ['masked', { key: KEY, payload: 'x' }],
    ['a continuation of nothing', { opcode: 0, payload: 'x' }],
  ])('that is %s ends the connection: 1014 to the sandbox, 1002 to the upstream', async (_name, parts) => {
    const { sandbox, upstream } = await ws.wires()
    upstream.write(frameBytes(parts))
    const [told] = await framesAt(sandbox)
    expect([told?.opcode, told?.payload.toString('latin1')]).toEqual([8, '\x03\xf6upstream_failed'])
    const [upstreamTold] = await framesAt(upstream)
    expect(upstreamTold?.payload.readUInt16BE()).toBe(1002)
    await Promise.all([sandbox.closed, upstream.closed])
    expect(await closingEvent(ws.rig, { path: ws.path })).toMatchObject({
      decision: 'failed',
      reason: 'upstream_failed',
    })
  })
})
