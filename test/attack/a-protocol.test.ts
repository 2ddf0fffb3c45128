/**
 * Contract: what is not an HTTP/1.1 request for an http or https URL is closed with an answer of ours. There is no opaque
 * mode on an intercepted connection: nothing that failed to parse is passed on, and no placeholder in it is swapped.
 */
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal, expectUnparsed, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let host: string

beforeAll(async () => {
  rig = await Rig.start()
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  host = `Host: api.test:${rig.upstream.port}`
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

describe('another scheme', () => {
  it.each([
    'file:///etc/passwd',
    'file://api.test/etc/passwd',
    'ftp://api.test/',
    'gopher://api.test/_x',
    'unix:/var/run/docker.sock:/containers/json',
    'http+unix://%2Fvar%2Frun%2Fdocker.sock/',
    'ws://api.test/',
    'wss://api.test/',
    'ws+unix:/tmp/socket',
    'data:text/plain,x',
    'javascript:alert(1)',
    'httpx://api.test/',
    'urn:x',
    'api.test:443',
  ])('A34 the target %s is refused with 400 and nothing is dialled', async (target) => {
    const answer = await box.ask(`GET ${target} HTTP/1.1`, 'Host: api.test', box.authorization)
    expect(answer.status).toBe(400)
    expect(dials.count).toBe(0)
    // Some of them are refused by the parser, before there is an exchange.
    if (answer.head.includes('connection: close')) expectUnparsed(dials, answer)
    else await expectRefusal(rig, dials, answer, 400, 'bad_request')
  })
})

describe('a request line inside a tunnel', () => {
  it.each([
    ['a tab after the method', 'GET\t/ HTTP/1.1'],
    ['a tab before the version', 'GET /\tHTTP/1.1'],
    ['a blank after the version', 'GET / HTTP/1.1 '],
    ['a blank before the method', ' GET / HTTP/1.1'],
    ['a vertical tab', 'GET\x0b/ HTTP/1.1'],
    ['a form feed', 'GET / \x0cHTTP/1.1'],
    ['a no-break space', 'GET\xa0/ HTTP/1.1'],
    ['a blank in the version', 'GET / HTTP/1. 1'],
    ['two targets', 'GET / /x HTTP/1.1'],
    ['no target', 'GET HTTP/1.1'],
    ['a lower-case version', 'GET / http/1.1'],
    ['a lower-case method', 'get / HTTP/1.1'],
    ['an unknown method', 'FETCH / HTTP/1.1'],
    ['a NUL', 'GET /\x00 HTTP/1.1'],
  ])('A37 with %s is refused with 400 and nothing is dialled', async (_what, line) => {
    expectUnparsed(dials, await box.askInTunnel('api.test', [line, host, box.authorization]))
  })

  it.each([
    ['empty lines before it', ['', '', 'GET /x HTTP/1.1']],
    ['several blanks before the target', ['GET   /x HTTP/1.1']],
  ])('A37 with %s is no opaque traffic: it is judged and written anew', async (_what, lines) => {
    const answer = await box.askInTunnel('api.test', [...lines, host, box.authorization])
    expect(answer.status).toBe(200)
    expect(rig.upstream.last).toMatchObject({ method: 'GET', target: '/x' })
    expect(rig.upstream.received.toString('latin1')).toMatch(/^GET \/x HTTP\/1\.1\r\n/)
    const elsewhere = await box.askInTunnel('evil.test', [...lines, host.replace('api', 'evil'), box.authorization])
    expect(verdict(elsewhere)).toEqual([403, 'host_not_allowed'])
  })

  it.each(['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.0', 'RTSP/1.0'])(
    'A39 with %s is refused with 505 and nothing is dialled',
    async (version) => {
      const answer = await box.askInTunnel('api.test', [`GET / ${version}`, host, box.authorization])
      await expectRefusal(rig, dials, answer, 505, 'version_not_supported')
    },
  )

  it.each(['HTTP/2', 'HTTP/3.0', 'HTTP/1.2', 'HTTP/1.10', 'HTTP/01.1', 'HTTP/1', 'HTTPS/1.1', 'ICE/1.0'])(
    'A39 with %s is refused with 400 and nothing is dialled',
    async (version) => {
      expectUnparsed(dials, await box.askInTunnel('api.test', [`GET / ${version}`, host, box.authorization]))
    },
  )

  it('A39 without a version is refused with 505, with or without fields, and nothing is dialled', async () => {
    for (const rest of [[host, box.authorization], []]) {
      const answer = await box.askInTunnel('api.test', ['GET /', ...rest])
      await expectRefusal(rig, dials, answer, 505, 'version_not_supported')
    }
  })

  it('A39 that is the preface of HTTP/2 without its ALPN is refused and nothing is dialled', async () => {
    const answer = await box.askInTunnel('api.test', ['PRI * HTTP/2.0', '', 'SM'])
    expect([400, 505]).toContain(answer.status)
    expect(dials.count).toBe(0)
  })
})

describe('bytes in a tunnel that are neither TLS nor HTTP', () => {
  it.each([
    ['SSH', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['SMTP', 'EHLO api.test\r\n'],
    ['Redis', '*1\r\n$4\r\nPING\r\n'],
    ['zeros', '\0\0\0\0\0\0\0\0'],
    ['an SSLv2 hello', '\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10'],
  ])('A38 %s gets a 400 of ours, and nothing is dialled', async (_what, bytes) => {
    const { tunnel } = await box.connect(`api.test:${rig.upstream.port}`)
    tunnel.write(Buffer.from(bytes, 'latin1'))
    expectUnparsed(dials, await box.answerOn(tunnel))
    if (!tunnel.destroyed) await once(tunnel, 'close')
  })

  it('A38 a bare placeholder gets a 400 of ours, unswapped, and nothing is dialled', async () => {
    const { tunnel } = await box.connect(`api.test:${rig.upstream.port}`)
    tunnel.write(`${rig.secret.placeholder}\r\n`)
    expectUnparsed(dials, await box.answerOn(tunnel))
  })

  it('A38 a TLS record that is no hello ends the tunnel, and nothing is dialled', async () => {
    const { tunnel } = await box.connect(`api.test:${rig.upstream.port}`)
    tunnel.resume().write(Buffer.from('16030100050100000100', 'hex'))
    await once(tunnel, 'close')
    expect(dials.count).toBe(0)
  })
})
