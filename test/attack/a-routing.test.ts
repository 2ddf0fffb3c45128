/**
 * Contract: request target, Host, CONNECT authority and server name all name one host and port, or the request is
 * refused before anything is resolved or dialled. Nothing is repaired and no one of them wins.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let port: number
let plain: number

beforeAll(async () => {
  rig = await Rig.start()
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  port = rig.upstream.port
  plain = rig.plain.port
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

describe('a request in absolute form', () => {
  it('A01 an absolute-form target that differs from Host is refused with 400 and nothing is dialled', async () => {
    const answer = await box.ask(
      `GET http://evil.test:${plain}/ HTTP/1.1`,
      `Host: api.test:${plain}`,
      box.authorization,
    )
    await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
  })

  it('A02 a Host that differs from an allowed target is refused with 400 and nothing is dialled', async () => {
    const answer = await box.ask(
      `GET http://api.test:${plain}/ HTTP/1.1`,
      `Host: evil.test:${plain}`,
      box.authorization,
    )
    await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
  })

  it('A02 a Host that differs from an https target is refused with 400 and nothing is dialled', async () => {
    const answer = await box.ask(`GET https://api.test:${port}/ HTTP/1.1`, `Host: evil.test:${port}`, box.authorization)
    await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
  })

  it('A02 a Host with another port is refused with 400 and nothing is dialled', async () => {
    const answer = await box.ask(`GET http://api.test:${plain}/ HTTP/1.1`, 'Host: api.test', box.authorization)
    await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
  })

  it('A10 two Host fields are refused with 400 even when they are equal', async () => {
    for (const second of [`api.test:${plain}`, `evil.test:${plain}`]) {
      const answer = await box.ask(
        `GET http://api.test:${plain}/ HTTP/1.1`,
        `Host: api.test:${plain}`,
        `host: ${second}`,
        box.authorization,
      )
      await expectRefusal(rig, dials, answer, 400, 'bad_request')
    }
  })

  it('A11 a missing Host is refused with 400, and HTTP/1.0 with 505', async () => {
    const missing = await box.ask(`GET http://api.test:${plain}/ HTTP/1.1`, box.authorization)
    await expectRefusal(rig, dials, missing, 400, 'bad_request')
    const old = await box.ask(`GET http://api.test:${plain}/ HTTP/1.0`, box.authorization)
    await expectRefusal(rig, dials, old, 505, 'version_not_supported')
  })

  it('A11 a target in origin form is refused with 400 outside a tunnel', async () => {
    for (const target of ['/', '*', '//api.test/']) {
      const answer = await box.ask(`GET ${target} HTTP/1.1`, `Host: api.test:${plain}`, box.authorization)
      await expectRefusal(rig, dials, answer, 400, 'bad_request')
    }
  })
})

describe('a CONNECT', () => {
  it('A03 a Host that differs from the CONNECT target is refused with 400 and nothing is dialled', async () => {
    for (const host of [`evil.test:${port}`, 'evil.test:80', 'evil.test', 'api.test:80']) {
      const { answer } = await box.connect(`api.test:${port}`, `Host: ${host}`)
      await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
    }
  })

  it('A03 two Host fields are refused with 400 and nothing is dialled', async () => {
    const { answer } = await box.connect(`api.test:${port}`, `Host: api.test:${port}`, `Host: api.test:${port}`)
    await expectRefusal(rig, dials, answer, 400, 'bad_request')
  })

  it('A09 a second CONNECT inside the tunnel is refused with 405 and nothing is dialled', async () => {
    const answer = await box.askInTunnel('api.test', [`CONNECT evil.test:${port} HTTP/1.1`, `Host: evil.test:${port}`])
    await expectRefusal(rig, dials, answer, 405, 'method_not_allowed')
  })
})

describe('a request inside a tunnel', () => {
  it('A05 a Host of another domain than tunnel and server name is refused with 421, either way around', async () => {
    for (const [front, behind] of [
      ['evil.test', 'api.test'],
      ['api.test', 'evil.test'],
    ] as const) {
      const lines = ['GET / HTTP/1.1', `Host: ${behind}:${port}`, box.authorization]
      await expectRefusal(rig, dials, await box.askInTunnel(front, lines), 421, 'misdirected')
    }
  })

  it('A05 the second request of a connection is judged like the first', async () => {
    const stream = await box.openTls('api.test')
    stream.write(`GET / HTTP/1.1\r\nHost: api.test:${port}\r\n${box.authorization}\r\n\r\n`)
    expect((await box.answerOn(stream)).status).toBe(200)
    stream.write(`GET / HTTP/1.1\r\nHost: evil.test:${port}\r\n${box.authorization}\r\n\r\n`)
    expect(verdict(await box.answerOn(stream))).toEqual([421, 'misdirected'])
    stream.destroy()
    expect(rig.upstream.requests).toHaveLength(1)
  })

  it('A09 an absolute-form target is refused with 400 and nothing is dialled', async () => {
    for (const target of [`http://evil.test:${plain}/`, `https://api.test:${port}/`, '*', `evil.test:${port}`]) {
      const lines = [`GET ${target} HTTP/1.1`, `Host: api.test:${port}`, box.authorization]
      const answer = await box.askInTunnel('api.test', lines)
      expect(answer.status, target).toBe(400)
      expect(dials.count).toBe(0)
    }
  })

  it('A10 two Host fields are refused with 400, in any order, with or without a difference', async () => {
    for (const [first, second] of [
      ['api.test', 'api.test'],
      ['api.test', 'evil.test'],
      ['evil.test', 'api.test'],
    ] as const) {
      const lines = ['GET / HTTP/1.1', `Host: ${first}:${port}`, `Host: ${second}:${port}`, box.authorization]
      await expectRefusal(rig, dials, await box.askInTunnel('api.test', lines), 400, 'bad_request')
    }
  })

  it('A11 a missing Host is refused with 400, and HTTP/1.0 with 505', async () => {
    const missing = await box.askInTunnel('api.test', ['GET / HTTP/1.1', box.authorization])
    await expectRefusal(rig, dials, missing, 400, 'bad_request')
    const old = await box.askInTunnel('api.test', ['GET / HTTP/1.0', box.authorization])
    await expectRefusal(rig, dials, old, 505, 'version_not_supported')
  })

  it.each([
    'api.test evil.test',
    'evil@api.test',
    'evil:pass@api.test',
    'api.test/../',
    'api.test,evil.test',
    'api.test, evil.test',
    'api.test:80:80',
    'api.test#',
    'api.test?',
    'api.test\\evil.test',
    'api.test\tevil.test',
    '"api.test"',
    '<api.test>',
    'https://api.test',
    '*',
    '.',
    '',
    ':443',
    'api.test:',
    'api.test:0x1bb',
  ])('A12 Host "%s" is refused with 400 and nothing is dialled', async (host) => {
    const answer = await box.askInTunnel('api.test', ['GET / HTTP/1.1', `Host: ${host}`, box.authorization])
    await expectRefusal(rig, dials, answer, 400, 'invalid_host')
  })

  it('A12 blanks around Host are no part of it, and upstream sees the canonical one', async () => {
    const lines = ['GET / HTTP/1.1', `Host: \t api.test:${port} \t`, box.authorization]
    expect((await box.askInTunnel('api.test', lines)).status).toBe(200)
    expect(rig.upstream.last.headers.host).toBe(`api.test:${port}`)
  })
})
