/**
 * `proxy.halfClosed`. A client that ends its side of an HTTP/1.1 connection after a request is taken for gone, or gets its
 * answer, as the setting says; one that ends it within a request has not asked for anything, whatever it says.
 */
import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { closingEvent } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { headText, openProxy, openWire, proxyAuthorization } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import type { Wire } from '../support/wire.ts'

describe.each(['abort', 'answer'] as const)('with halfClosed: %s', (halfClosed) => {
  let rig: Rig
  let wire: Wire
  beforeAll(async () => {
    rig = await Rig.start({ env: { COATCHECK_PROXY_HALFCLOSED: halfClosed } })
  })
  afterEach(async () => {
    wire.socket.destroy()
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
  })
  afterAll(async () => {
    await rig.stop()
  })

  const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

  /** Resolves with the upstream's response to this request, not yet written. */
  function held(): Promise<ServerResponse> {
    return new Promise((resolve) => rig.upstream.answerWith((_request, response) => resolve(response)))
  }

  it(`a request over TLS that is followed by the end of the sandbox’s side is ${halfClosed}ed`, async () => {
    const asked = held()
    wire = await openWire(rig)
    wire.write(headText(rig, `GET /tls-${halfClosed}`, credential()))
    const response = await asked
    wire.socket.end()
    if (halfClosed === 'answer') {
      response.end(`you sent ${rig.value}`)
      const answer = await wire.message()
      expect([answer.status, answer.body.toString()]).toEqual([200, `you sent ${rig.secret.placeholder}`])
      await wire.closed
    } else await new Promise((resolve) => response.once('close', resolve))
    const reason = halfClosed === 'answer' ? null : 'client_aborted'
    expect(await closingEvent(rig, { path: `/tls-${halfClosed}` })).toMatchObject({ reason })
  })

  it(`a plain request that ends the sandbox’s side at once is ${halfClosed}ed`, async () => {
    const url = `http://api.test:${rig.plain.port}/plain-${halfClosed}`
    const [name, credentials] = proxyAuthorization(rig.sandbox)
    const asked = new Promise<ServerResponse>((resolve) =>
      rig.plain.answerWith((_request, response) => resolve(response)),
    )
    wire = await openProxy(rig)
    wire.socket.end(`GET ${url} HTTP/1.1\r\nHost: api.test:${rig.plain.port}\r\n${name}: ${credentials}\r\n\r\n`)
    const response = await asked
    if (halfClosed === 'answer') {
      response.end('ok')
      expect((await wire.message()).status).toBe(200)
    }
    await wire.closed
    rig.plain.clear()
    const reason = halfClosed === 'answer' ? null : 'client_aborted'
    expect(await closingEvent(rig, { path: `/plain-${halfClosed}` })).toMatchObject({ reason })
  })

  it('a request whose body is cut short by it is aborted', async () => {
    wire = await openWire(rig)
    wire.write(`${headText(rig, `POST /cut-${halfClosed}`, [...credential(), 'Content-Length', '10'])}hello`)
    await until(() => rig.upstream.received.includes('hello'))
    wire.socket.end()
    await until(() => rig.upstream.sockets.size === 0)
    expect(await closingEvent(rig, { path: `/cut-${halfClosed}` })).toMatchObject({
      decision: 'failed',
      reason: 'client_aborted',
    })
  })

  it('a sandbox that is gone is noticed when its answer is written, at the latest', async () => {
    const asked = held()
    wire = await openWire(rig)
    wire.write(headText(rig, `GET /gone-${halfClosed}`, credential()))
    const response = await asked
    const closed = new Promise((resolve) => response.once('close', resolve))
    wire.socket.destroy()
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    const events = setInterval(() => response.write('data: 1\n\n'), 5)
    await closed
    clearInterval(events)
    expect(await closingEvent(rig, { path: `/gone-${halfClosed}` })).toMatchObject({ reason: 'client_aborted' })
  })
})
