/**
 * Transparent mode: redirected plain HTTP goes where its Host says, request by request, as the sandbox that its source
 * address belongs to. It never carries a value.
 */
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { clientHello } from '../support/client-hello.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { redirected } from '../support/redirected.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { readUntilQuiet } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
let dials: DialCounter
beforeAll(async () => {
  rig = await Rig.start({
    env: { COATCHECK_TRANSPARENT_LISTENHTTP: '127.0.0.1:0', COATCHECK_TRANSPARENT_SOURCES: '{"127.0.0.1": "box"}' },
  })
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
afterEach(async () => {
  rig.plain.clear()
  await until(() => rig.plain.sockets.size === 0)
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

function lastClosed() {
  return until(async () => (await rig.events()).findLast((event) => event.kind === 'exchange'))
}

describe('redirected HTTP', () => {
  const ask = async (head: string, from?: string) => {
    const wire = await redirected(rig, 'transparent.listenHttp', from)
    wire.write(head)
    const answer = await wire.message()
    wire.socket.destroy()
    return { status: answer.status, body: answer.body.toString() }
  }
  const host = () => `${ALLOWED}:${rig.plain.port}`

  it('goes to the host of its Host field, in origin form', async () => {
    expect(await ask(`GET /a?b=%2f HTTP/1.1\r\nHost: ${host()}\r\n\r\n`)).toMatchObject({ status: 200 })
    expect(rig.plain.last.target).toBe('/a?b=%2f')
    expect(await lastClosed()).toMatchObject({ sandbox: 'box', host: ALLOWED, path: '/a', decision: 'passed' })
  })

  it('never carries a value', async () => {
    const answer = await ask(`GET / HTTP/1.1\r\nHost: ${host()}\r\n${bearer().join(': ')}\r\n\r\n`)
    expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('"plaintext"') as string })
    expect(dials.count).toBe(0)
  })

  it('may name another host in each request of a connection', async () => {
    const wire = await redirected(rig, 'transparent.listenHttp')
    wire.write(`GET /1 HTTP/1.1\r\nHost: ${host()}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.write(`GET /2 HTTP/1.1\r\nHost: ${OTHER}:${rig.plain.port}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    expect(rig.plain.requests.map((each) => each.headers.host)).toEqual([host(), `${OTHER}:${rig.plain.port}`])
    wire.socket.destroy()
  })

  it.each([
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'bad_request'],
    ['two Hosts', `GET / HTTP/1.1\r\nHost: ${ALLOWED}\r\nHost: ${OTHER}\r\n\r\n`, 400, 'bad_request'],
    ['a Host that is no host', 'GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n', 400, 'invalid_host'],
    ['an absolute target', `GET http://${ALLOWED}/ HTTP/1.1\r\nHost: ${ALLOWED}\r\n\r\n`, 400, 'bad_request'],
    ['a port that is not open', `GET / HTTP/1.1\r\nHost: ${ALLOWED}:22\r\n\r\n`, 403, 'port_denied'],
    ['HTTP/1.0', `GET / HTTP/1.0\r\nHost: ${ALLOWED}\r\n\r\n`, 505, 'version_not_supported'],
    ['CONNECT', `CONNECT ${ALLOWED}:443 HTTP/1.1\r\nHost: ${ALLOWED}\r\n\r\n`, 405, 'method_not_allowed'],
  ])('is refused with %s', async (_name, head, status, code) => {
    expect(await ask(head)).toMatchObject({ status, body: expect.stringContaining(`"${code}"`) as string })
    expect(dials.count).toBe(0)
  })

  it('from an address of nobody is refused', async () => {
    const answer = await ask(`GET / HTTP/1.1\r\nHost: ${host()}\r\n\r\n`, '127.0.9.9')
    expect(answer).toMatchObject({ status: 401, body: expect.stringContaining('transparent.sources') as string })
  })

  it('that is TLS is refused', async () => {
    const wire = await redirected(rig, 'transparent.listenHttp')
    wire.write(clientHello({ names: [ALLOWED] }))
    expect(await readUntilQuiet(wire.socket as Socket)).not.toContain('200')
  })
})
