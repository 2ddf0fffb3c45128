/**
 * A secret with the websocket placement is put into the text messages that its sandbox sends, however they are framed, each
 * decided on and recorded first. What may not pass ends the connection. A WebSocket on which nothing may be released, and
 * nothing was, stays an opaque pipe.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent, releasesOf } from '../support/audited.ts'
import { fragments, frameBytes, readFrames, textOf } from '../support/frames.ts'
import { canary } from '../support/leak-check.ts'
import { ALLOWED, OTHER } from '../support/rig.ts'
import { until } from '../support/until.ts'
import { closeOf, framesAt, say, WebSocketRig } from '../support/websocket-rig.ts'

let ws: WebSocketRig
const KEY = Buffer.from([7, 77, 177, 211])
beforeEach(() => ws.begin())
afterEach(() => ws.clear())

describe('a secret with the websocket placement', () => {
  beforeAll(async () => {
    ws = await WebSocketRig.start()
  })
  afterAll(() => ws.rig.stop())

  it('OpenShell#872: is put into the IDENTIFY of a Discord gateway, escaped, and masked when it is repeated', async () => {
    const dialled = await ws.dial()
    const identify = JSON.stringify({
      op: 2,
      d: { token: ws.bot.placeholder, intents: 513, properties: { os: 'linux' } },
    })
    const { sent, got } = await say(dialled, identify)
    expect(JSON.parse(sent)).toEqual({ op: 2, d: { token: ws.bot.value, intents: 513, properties: { os: 'linux' } } })
    expect(got).toBe(identify)
    expect(await ws.ended(dialled)).toMatchObject({ decision: 'released', status: 101, reason: null, reported: 0 })
    const [release, ...others] = await releasesOf(ws.rig, { path: ws.path })
    expect(others).toEqual([])
    expect(release?.secrets).toMatchObject([{ name: 'bot', version: 1, placement: 'websocket' }])
  })

  it('is put after the digits of Socket.IO, and raw into a text that is no JSON', async () => {
    let dialled = await ws.dial()
    expect((await say(dialled, `42["auth","${ws.bot.placeholder}"]`)).sent).toBe(
      `42["auth",${JSON.stringify(ws.bot.value)}]`,
    )
    await ws.ended(dialled)
    ws.server.removeAllListeners('connection')
    dialled = await ws.dial()
    expect((await say(dialled, `AUTH ${ws.bot.placeholder}\n`)).sent).toBe(`AUTH ${ws.bot.value}\n`)
    await ws.ended(dialled)
  })

  it('is put once on one connection, and then withheld and reported', async () => {
    const dialled = await ws.dial()
    const text = JSON.stringify([ws.bot.placeholder])
    expect((await say(dialled, text)).sent).toBe(JSON.stringify([ws.bot.value]))
    expect((await say(dialled, text)).sent).toBe(text)
    expect(await ws.ended(dialled)).toMatchObject({ reported: 1, decision: 'released' })
  })

  it('shares its limit with the rest of the exchange, but headers are free', async () => {
    const dialled = await ws.dial({ Authorization: `Bearer ${ws.both.placeholder}` })
    expect((await say(dialled, ws.both.placeholder)).sent).toBe(ws.both.value)
    expect((await say(dialled, ws.both.placeholder)).sent).toBe(ws.both.placeholder)
    await ws.ended(dialled)
  })

  it('is not put into an object key, nor is a secret without the placement put anywhere', async () => {
    const dialled = await ws.dial()
    for (const text of [JSON.stringify({ [ws.bot.placeholder]: 1 }), ws.rig.secret.placeholder]) {
      expect((await say(dialled, text)).sent).toBe(text)
    }
    expect(await ws.ended(dialled)).toMatchObject({ decision: 'withheld', reported: 2, secrets: [] })
  })

  it('is not put into a binary message', async () => {
    const dialled = await ws.dial()
    dialled.client.send(Buffer.from(ws.bot.placeholder))
    await until(() => dialled.sent.length === 1)
    expect(dialled.sent[0]).toBe(ws.bot.placeholder)
    expect(await ws.ended(dialled)).toMatchObject({ decision: 'passed', secrets: [] })
  })

  it('to another host changes nothing: the WebSocket is an opaque pipe, compressed as both ends like', async () => {
    const dialled = await ws.dial({}, ws.box, OTHER)
    expect(dialled.client.extensions).toContain('permessage-deflate')
    expect((await say(dialled, ws.bot.placeholder)).sent).toBe(ws.bot.placeholder)
    expect(await ws.ended(dialled)).toMatchObject({ decision: 'passed', reported: 0 })
  })

  it('takes permessage-deflate out of the handshake', async () => {
    const dialled = await ws.dial()
    expect(dialled.client.extensions).toBe('')
    expect(ws.rig.upstream.received.toString('latin1')).not.toMatch(/sec-websocket-extensions/i)
    await ws.ended(dialled)
  })

  it.each([1, 3, 20, 70])('is found in fragments of %i bytes, with pings in between', async (size) => {
    const { sandbox, upstream } = await ws.wires()
    const text = JSON.stringify({ note: 'é€😀', token: ws.bot.placeholder, after: 'ü' })
    const sizes = Array<number>(Math.ceil(Buffer.byteLength(text) / size)).fill(size)
    const parts = readFrames(fragments(text, sizes, KEY)).flatMap(({ opcode, final, payload }) => [
      frameBytes({ opcode, final, payload, key: KEY }),
      frameBytes({ opcode: 9, payload: 'p', key: KEY }),
    ])
    sandbox.write(Buffer.concat(parts))
    const frames = await framesAt(upstream, ({ opcode }) => opcode === 9)
    await until(() => readFrames(upstream.unread).filter(({ opcode }) => opcode === 9).length === sizes.length + 1)
    const all = readFrames(upstream.unread)
    expect(JSON.parse(textOf(all))).toEqual({ note: 'é€😀', token: ws.bot.value, after: 'ü' })
    expect(all.filter(({ opcode }) => opcode < 2).map(({ opcode }) => opcode)[0]).toBe(1)
    expect(all.findLast(({ opcode }) => opcode === 0)?.final).toBe(true)
    expect(new Set(all.map(({ key }) => key?.toString('hex'))).size).toBe(all.length)
    expect(frames.length).toBeGreaterThan(0)
    sandbox.socket.destroy()
  })

  it('is found wherever the bytes are cut on the way', async () => {
    const frame = frameBytes({ payload: `["${ws.both.placeholder}"]`, key: KEY })
    for (let cut = 1; cut < frame.length; cut += 5) {
      const { sandbox, upstream } = await ws.wires()
      sandbox.write(frame.subarray(0, cut))
      await new Promise((resolve) => setImmediate(resolve))
      sandbox.write(frame.subarray(cut))
      expect(textOf(await framesAt(upstream))).toBe(`["${ws.both.value}"]`)
      sandbox.socket.destroy()
      await upstream.closed
      ws.rig.upstream.clear()
    }
  })

  it('is found in a frame that came with the handshake', async () => {
    const { sandbox, upstream } = await ws.wires(frameBytes({ payload: ws.bot.placeholder, key: KEY }))
    expect(textOf(await framesAt(upstream))).toBe(ws.bot.value)
    sandbox.socket.destroy()
  })

  it('is put into a message of 8 MiB, which goes on in fragments, and comes back masked', async () => {
    const dialled = await ws.dial()
    const filler = 'ß'.repeat(4 * 1024 * 1024)
    const { sent, got } = await say(dialled, `${filler}${ws.bot.placeholder}${filler}`)
    expect(sent === `${filler}${ws.bot.value}${filler}`).toBe(true)
    expect(got === `${filler}${ws.bot.placeholder}${filler}`).toBe(true)
    await ws.ended(dialled)
  })

  it('keeps a frame one frame, and a message of fragments its fragments', async () => {
    const { sandbox, upstream } = await ws.wires()
    sandbox.write(frameBytes({ payload: `a ${ws.bot.placeholder}`, key: KEY }))
    expect(await framesAt(upstream)).toHaveLength(1)
    await upstream.take(upstream.unread.length)
    sandbox.write(fragments('one, two. three', [5, 5], KEY))
    const frames = await framesAt(upstream)
    expect(frames.map(({ payload, opcode, final }) => [payload.toString(), opcode, final])).toEqual([
      ['one, ', 1, false],
      ['two. ', 0, false],
      ['three', 0, true],
    ])
    sandbox.socket.destroy()
  })

  it('keeps what a close frame says, both ways', async () => {
    const dialled = await ws.dial()
    ws.server.clients.forEach((each) => each.close(4002, 'maintenance'))
    const closed = closeOf(dialled)
    expect(await closed).toEqual([4002, 'maintenance'])
    expect(await closingEvent(ws.rig, { path: ws.path })).toMatchObject({ reason: null, status: 101 })
  })
})

describe('what may not pass', () => {
  beforeAll(async () => {
    ws = await WebSocketRig.start({ COATCHECK_SECRETS_INBODY: 'refuse' })
  })
  afterAll(() => ws.rig.stop())

  it.each([
    ['unmasked', frameBytes({ payload: 'x' })],
    ['compressed', frameBytes({ payload: 'x', rsv1: true, key: KEY })],
  ])('a frame that is %s ends the connection with 1002, and nothing of it is sent', async (_name, frame) => {
    const { sandbox, upstream } = await ws.wires()
    sandbox.write(frame)
    const [told] = await framesAt(sandbox)
    expect([told?.opcode, told?.payload.toString('latin1')]).toEqual([8, '\x03\xeabad_request'])
    expect((await framesAt(upstream)).map(({ opcode, payload }) => [opcode, payload.readUInt16BE()])).toEqual([
      [8, 1001],
    ])
    await Promise.all([sandbox.closed, upstream.closed])
    expect(await closingEvent(ws.rig, { path: ws.path })).toMatchObject({
      decision: 'refused',
      reason: 'bad_request',
      status: 101,
    })
  })

  it.each([
    ['of a secret without the placement', () => ws.rig.secret.placeholder, 'placement_not_allowed'],
    ['that is nobody’s', () => `xcoat_${'a'.repeat(26)}`, 'unknown_placeholder'],
    ['in an object key', () => JSON.stringify({ [ws.bot.placeholder]: 1 }), 'placement_not_allowed'],
  ])('with inBody: refuse, a placeholder %s ends the connection with 1008', async (_name, text, code) => {
    const dialled = await ws.dial()
    const closed = new Promise((resolve) =>
      dialled.client.once('close', (number, why) => resolve([number, String(why)])),
    )
    dialled.client.send(text())
    expect(await closed).toEqual([1008, code])
    expect(dialled.sent).toEqual([])
    expect(await closingEvent(ws.rig, { path: ws.path })).toMatchObject({ decision: 'refused', reason: code })
  })

  it('what a workspace says of placeholders goes before what the server says', async () => {
    await ws.rig.app.data.settings.update(ws.rig.principal, { inBody: 'report' })
    const dialled = await ws.dial()
    expect((await say(dialled, ws.rig.secret.placeholder)).sent).toBe(ws.rig.secret.placeholder)
    expect(await ws.ended(dialled)).toMatchObject({ decision: 'withheld', reported: 1 })
    await ws.rig.app.data.settings.update(ws.rig.principal, { inBody: null })
  })

  it('a value that is not UTF-8 ends the connection, and is not put into a text message', async () => {
    const bytes = Buffer.concat([Buffer.from(canary('bytes')), Buffer.from([0xff])])
    const { secret } = await ws.rig.app.data.secrets.create(ws.rig.principal, {
      name: 'bytes',
      value: new SecretValue(bytes),
      hosts: [ALLOWED],
      placements: ['websocket'],
    })
    const dialled = await ws.dial({}, await ws.rig.sandboxWith('raw-talker', { BYTES: 'bytes' }))
    const closed = new Promise((resolve) =>
      dialled.client.once('close', (number, why) => resolve([number, String(why)])),
    )
    dialled.client.send(`AUTH ${secret.placeholder}`)
    expect(await closed).toEqual([1008, 'value_not_placeable'])
    expect(ws.rig.upstream.received.includes(bytes)).toBe(false)
  })
})
