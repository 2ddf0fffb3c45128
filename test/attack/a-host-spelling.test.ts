/**
 * Contract: a host is a plain name or a standard IP literal. Case and one trailing dot are folded, wherever the name stands;
 * every other spelling is refused before anything is resolved or dialled, and none is repaired into an allowed host.
 */
import { domainToASCII } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal, expectUnparsed } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

/** The name with a Cyrillic first letter that looks like the allowed one. */
const CYRILLIC = domainToASCII('аpi.test')

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let port: number

beforeAll(async () => {
  rig = await Rig.start({ names: [CYRILLIC] })
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  port = rig.upstream.port
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

/** As UTF-8 on the wire. */
const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')

describe.each([
  ['A13', 'one trailing dot', 'api.test.'],
  ['A14', 'capitals', 'API.Test'],
  ['A14', 'capitals and one trailing dot', 'aPI.TEST.'],
])('%s %s', (row, what, spelling) => {
  async function expectReleased(answer: Promise<{ readonly status: number }>): Promise<void> {
    expect((await answer).status).toBe(200)
    expect(rig.upstream.last.headers).toMatchObject({
      authorization: `Bearer ${rig.value}`,
      host: `api.test:${port}`,
    })
  }

  it(`${row} ${what} in the CONNECT target is folded and the value is released`, async () => {
    const lines = ['GET / HTTP/1.1', `Host: api.test:${port}`, box.authorization]
    await expectReleased(box.askInTunnel('api.test', lines, { connect: `${spelling}:${port}` }))
  })

  it(`${row} ${what} in the server name is folded and the value is released`, async () => {
    const lines = ['GET / HTTP/1.1', `Host: api.test:${port}`, box.authorization]
    await expectReleased(box.askInTunnel('api.test', lines, { servername: spelling }))
  })

  it(`${row} ${what} in Host is folded and the value is released`, async () => {
    const lines = ['GET / HTTP/1.1', `Host: ${spelling}:${port}`, box.authorization]
    await expectReleased(box.askInTunnel('api.test', lines))
  })

  it(`${row} ${what} in an absolute-form target is folded and the value is released`, async () => {
    const lines = [`GET https://${spelling}:${port}/ HTTP/1.1`, `Host: api.test:${port}`, box.authorization]
    await expectReleased(box.ask(...lines))
  })

  it(`${row} ${what} opens nothing for another host`, async () => {
    const other = spelling.replace(/api/i, 'evil')
    const lines = [`GET https://${other}:${port}/ HTTP/1.1`, `Host: ${other}:${port}`, box.authorization]
    await expectRefusal(rig, dials, await box.ask(...lines), 403, 'host_not_allowed')
  })
})

/** Each as it stands in place of the host, in latin1. */
const MALFORMED: readonly (readonly [string, string])[] = [
  ['A13', 'api.test..'],
  ['A13', '.api.test'],
  ['A13', 'api..test'],
  ['A15', '[api.test]'],
  ['A15', '[evil.test]'],
  ['A15', '[127.0.0.1]'],
  ['A15', '[::1'],
  ['A15', '::1]'],
  ['A15', '[::1]evil.test'],
  ['A15', '[]'],
  ['A16', 'api%2etest'],
  ['A16', 'api.test%00.evil.test'],
  ['A16', 'api.test%2f'],
  ['A16', '%61pi.test'],
  ['A16', 'api.test%'],
  ['A17', 'api.test;evil.test'],
  ['A17', 'api.test,evil.test'],
  ['A17', 'api.test!evil.test'],
  ['A17', "api.test'evil.test"],
  ['A17', 'api.test*'],
  ['A18', 'user@api.test'],
  ['A18', 'api.test@evil.test'],
  ['A18', 'user:pass@api.test'],
  ['A20', utf8('ａｐｉ.test')],
  ['A20', utf8('api。test')],
  ['A20', utf8('a\u200bpi.test')],
  ['A20', utf8('аpi.test')],
  ['A20', 'api\xadtest.test'],
  ['A20', utf8('\u212aapi.test')],
  ['A25', '2130706433'],
  ['A25', '0x7f.1'],
  ['A25', '017700000001'],
  ['A25', '127.1'],
  ['A25', '0'],
  ['A25', '127.0.0.1.'],
  ['A25', '127.0.0.01'],
  ['A25', '0x7f000001'],
  ['A25', utf8('①②⑦.⓪.⓪.①')],
  ['A25', '[::1%25lo]'],
  ['A25', '[fe80::1%eth0]'],
  ['A25', '[v1.fe80::a+en1]'],
]

describe('a malformed host', () => {
  it.each(MALFORMED)(
    '%s "%s" is refused with 400 in CONNECT, Host and target, and nothing is dialled',
    async (_row, host) => {
      const absolute = await box.ask(`GET http://${host}/ HTTP/1.1`, 'Host: api.test', box.authorization)
      expect(absolute.status).toBe(400)
      const { answer } = await box.connect(`${host}:${port}`)
      expect(answer.status).toBe(400)
      const inHost = await box.askInTunnel('api.test', ['GET / HTTP/1.1', `Host: ${host}:${port}`, box.authorization])
      await expectRefusal(rig, dials, inHost, 400, 'invalid_host')
    },
  )

  it.each([
    ['A17', 'http://api.test\\@evil.test/', 'invalid_host'],
    ['A17', 'http://evil.test\\@api.test/', 'invalid_host'],
    ['A17', 'http://api.test\\.evil.test/', 'invalid_host'],
    ['A17', 'http://api.test#@evil.test/', 'bad_request'],
    ['A17', 'http:\\\\api.test/', 'bad_request'],
    ['A17', 'http:/api.test/', 'bad_request'],
    ['A17', 'http:api.test/', 'bad_request'],
    ['A17', 'http:///api.test/', 'invalid_host'],
    ['A18', 'http://api.test:80@evil.test/', 'invalid_host'],
    ['A18', 'http://@api.test/', 'invalid_host'],
  ])('%s the target %s is refused with 400 and nothing is dialled', async (_row, target, code) => {
    const answer = await box.ask(`GET ${target} HTTP/1.1`, 'Host: api.test', box.authorization)
    expect(answer.status).toBe(400)
    expect(dials.count).toBe(0)
    // llhttp refuses some of them before there is an exchange.
    if (answer.code !== 'bad_request') await expectRefusal(rig, dials, answer, 400, code)
  })

  it('A17 a query that begins right after the authority ends it, so the host before it counts', async () => {
    const answer = await box.ask('GET http://api.test?@evil.test/ HTTP/1.1', 'Host: evil.test', box.authorization)
    await expectRefusal(rig, dials, answer, 400, 'authority_mismatch')
  })

  it('A18 a placeholder in the user information is refused with 400 and never swapped', async () => {
    const { placeholder } = rig.secret
    for (const user of [placeholder, `${placeholder}:${placeholder}`, `x:${placeholder}`]) {
      const answer = await box.ask(`GET http://${user}@api.test/ HTTP/1.1`, 'Host: api.test')
      await expectRefusal(rig, dials, answer, 400, 'invalid_host')
    }
  })

  it('A19 a tab, line feed or carriage return in the target is refused by the parser', async () => {
    for (const byte of ['\t', '\n', '\r', '\x00', '\x0b', ' ']) {
      for (const target of [
        `http://api.test${byte}.evil.test/`,
        `http://api.${byte}test/`,
        `http://${byte}api.test/`,
      ]) {
        const answer = await box.ask(`GET ${target} HTTP/1.1`, 'Host: api.test', box.authorization)
        expectUnparsed(dials, answer)
      }
    }
  })

  it('A20 an A-label is another host than the one it looks like, and one that decodes to nothing is refused', async () => {
    const lookalike = [`GET https://${CYRILLIC}/ HTTP/1.1`, `Host: ${CYRILLIC}`, box.authorization]
    await expectRefusal(rig, dials, await box.ask(...lookalike), 403, 'host_not_allowed')
    const unsound = ['GET https://xn--api-zc9a.test/ HTTP/1.1', 'Host: xn--api-zc9a.test', box.authorization]
    await expectRefusal(rig, dials, await box.ask(...unsound), 400, 'invalid_host')
  })
})

describe('an address', () => {
  it.each(['127.0.0.1', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::1]', '1.1.1.1'])(
    'A25 %s never matches a secret that names hosts',
    async (host) => {
      const answer = await box.ask(`GET https://${host}/ HTTP/1.1`, `Host: ${host}`, box.authorization)
      await expectRefusal(rig, dials, answer, 403, 'host_not_allowed')
    },
  )

  it.each([
    '169.254.169.254',
    '[::ffff:169.254.169.254]',
    '[::ffff:a9fe:a9fe]',
    '[64:ff9b::a9fe:a9fe]',
    '[64:ff9b::169.254.169.254]',
    '[2002:a9fe:a9fe::]',
    '[fd00:ec2::254]',
    '0.0.0.0',
    '[::]',
    '[::1]',
    '10.0.0.1',
    '192.168.0.1',
    '100.64.0.1',
    '[fe80::1]',
    '[fc00::1]',
    '224.0.0.1',
    '255.255.255.255',
  ])('A25 %s is refused with 403 as an address that is not dialled', async (host) => {
    const absolute = await box.ask(`GET http://${host}/latest/ HTTP/1.1`, `Host: ${host}`)
    await expectRefusal(rig, dials, absolute, 403, 'address_denied')
  })
})

describe('a port', () => {
  it.each([
    '0443',
    '00443',
    '65979',
    '65536',
    '0',
    '-1',
    '+443',
    '443:443',
    '',
    ' 443',
    '4 43',
    '0x1bb',
    '443/',
    '٤٤٣',
    '４４３',
  ])('A26 ":%s" is refused with 400 in CONNECT, Host and target, and nothing is dialled', async (text) => {
    const spelled = utf8(text)
    const { answer } = await box.connect(`api.test:${spelled}`)
    expect(answer.status).toBe(400)
    const inHost = await box.askInTunnel('api.test', ['GET / HTTP/1.1', `Host: api.test:${spelled}`, box.authorization])
    await expectRefusal(rig, dials, inHost, 400, 'invalid_host')
    if (text === '443/') return
    const absolute = await box.ask(`GET https://api.test:${spelled}/ HTTP/1.1`, 'Host: api.test', box.authorization)
    expect(absolute.status).toBe(400)
    expect(dials.count).toBe(0)
  })

  it('A26 a CONNECT without a port is refused with 400', async () => {
    const { answer } = await box.connect('api.test')
    await expectRefusal(rig, dials, answer, 400, 'invalid_host')
  })

  it.each([22, 25, 6379, 8080])(
    'A26 port %d of an allowed host is refused with 403, in the tunnel and outside',
    async (closed) => {
      const absolute = await box.ask(
        `GET https://api.test:${closed}/ HTTP/1.1`,
        `Host: api.test:${closed}`,
        box.authorization,
      )
      await expectRefusal(rig, dials, absolute, 403, 'port_denied')
      const lines = ['GET / HTTP/1.1', `Host: api.test:${closed}`, box.authorization]
      const tunnelled = await box.askInTunnel('api.test', lines, { connect: `api.test:${closed}` })
      await expectRefusal(rig, dials, tunnelled, 403, 'port_denied')
    },
  )
})
