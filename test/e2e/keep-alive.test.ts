/**
 * Connections. A tunnel carries any number of exchanges, answered in the order in which they were asked. Upstream, one
 * connection serves requests one after another, as many as are under way at once, and never two sandboxes' workspaces,
 * two hosts or two ports; one that the upstream closed is replaced without the sandbox noticing.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { OTHER, Rig } from '../support/rig.ts'
import { headText, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

describe('connections', () => {
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

  const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

  it('carry a hundred exchanges through one tunnel and one upstream connection', async () => {
    const wire = await openWire(rig)
    for (let i = 0; i < 100; i += 1) {
      wire.write(headText(rig, `GET /${i}`, credential()))
      expect((await wire.message()).status).toBe(200)
    }
    expect(rig.upstream.requests.map((request) => request.target)).toEqual(
      Array.from({ length: 100 }, (_, i) => `/${i}`),
    )
    expect(rig.upstream.requests.every((r) => r.headers.authorization === `Bearer ${rig.value}`)).toBe(true)
    expect(rig.upstream.connections).toBe(1)
    wire.socket.destroy()
  })

  it('answer pipelined requests in the order of asking, whatever order the upstream answers in', async () => {
    const answers = new Map<string, () => void>()
    rig.upstream.answerWith((request, response) => {
      answers.set(request.url ?? '', () => response.end(`answer to ${request.url}`))
      if (answers.size === 3) for (const target of ['/c', '/b', '/a']) answers.get(target)?.()
    })
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /a') + headText(rig, 'GET /b', credential()) + headText(rig, 'GET /c'))
    const bodies = [await wire.message(), await wire.message(), await wire.message()].map((m) => m.body.toString())
    expect(bodies).toEqual(['answer to /a', 'answer to /b', 'answer to /c'])
    const b = rig.upstream.requests.find((request) => request.target === '/b')
    expect(b?.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(rig.upstream.requests.filter((request) => request.headers.authorization !== undefined)).toHaveLength(1)
    wire.socket.destroy()
  })

  it('read pipelined requests alike however they are cut, and judge each alone', async () => {
    const refused = headText(rig, 'GET /refused', ['Cookie', `session=${rig.secret.placeholder}`])
    const text = headText(rig, 'POST /one', ['Content-Length', '3']) + 'abc' + refused + headText(rig, 'GET /three')
    for (let at = 1; at < text.length; at += 13) {
      rig.upstream.clear()
      const wire = await openWire(rig)
      wire.write(text.slice(0, at))
      await new Promise((resolve) => setImmediate(resolve))
      wire.write(text.slice(at))
      expect([await wire.message(), await wire.message(), await wire.message()].map((m) => m.status)).toEqual([
        200, 403, 200,
      ])
      expect(rig.upstream.requests.map((r) => r.target).sort()).toEqual(['/one', '/three'])
      wire.socket.destroy()
    }
  })

  it('are reused by the same sandbox over another tunnel', async () => {
    await send(rig)
    await send(rig)
    expect(rig.upstream.requests).toHaveLength(2)
    expect(rig.upstream.connections).toBe(1)
  })

  it('are as many upstream as requests are under way', async () => {
    rig.upstream.answerWith((_request, response) => {
      if (rig.upstream.requests.length === 3) for (const each of held) each()
      else held.push(() => response.end())
      if (rig.upstream.requests.length === 3) response.end()
    })
    const held: (() => void)[] = []
    const answers = await Promise.all([send(rig), send(rig), send(rig)])
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200])
    expect(rig.upstream.connections).toBe(3)
  })

  it('are never shared by two hosts, even at one address', async () => {
    await send(rig)
    await send(rig, { host: OTHER })
    await send(rig)
    expect(rig.upstream.requests).toHaveLength(3)
    expect(rig.upstream.connections).toBe(2)
  })

  it('that the upstream closed while idle are replaced', async () => {
    const wire = await openWire(rig)
    for (let round = 0; round < 3; round += 1) {
      wire.write(headText(rig, 'GET /', credential()))
      expect((await wire.message()).status).toBe(200)
      for (const socket of rig.upstream.sockets) socket.end()
      await until(() => rig.upstream.sockets.size === 0)
    }
    expect(rig.upstream.connections).toBe(3)
    wire.socket.destroy()
  })

  it('on which the upstream sent more than its answer are not used again', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.message()
      upstream.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra')
    })
    for (let round = 0; round < 2; round += 1) expect((await send(rig)).body.toString()).toBe('ok')
    expect(rig.upstream.connections).toBe(2)
  })

  it('that the upstream says it will close are not used again', async () => {
    rig.upstream.answerWith((_request, response) => response.setHeader('connection', 'close').end('bye'))
    const wire = await openWire(rig)
    for (let round = 0; round < 2; round += 1) {
      wire.write(headText(rig, 'GET /'))
      const answer = await wire.message()
      expect(answer.body.toString()).toBe('bye')
      expect(wire.ended).toBe(false)
    }
    expect(rig.upstream.connections).toBe(2)
    wire.socket.destroy()
  })

  it('are closed by the proxy when the sandbox asks for that', async () => {
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', ['Connection', 'close']))
    expect((await wire.message()).status).toBe(200)
    await wire.closed
    expect(rig.upstream.last.headers.connection).toBeUndefined()
    expect(rig.upstream.sockets.size).toBe(1)
  })
})
