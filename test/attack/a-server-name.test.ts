/**
 * Contract: the server name of the handshake inside a tunnel is absent or the tunnel's host. Whatever it says, the leaf is
 * for the tunnel's host alone; a name that differs closes the tunnel before a request is read.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { has, run } from '../authority/setting.ts'
import { answerToHello, clientHello, type Hello } from '../support/client-hello.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRecorded, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let port: number

beforeAll(async () => {
  rig = await Rig.start()
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  port = rig.upstream.port
})
beforeEach(() => {
  rig.upstream.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const request = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}:${port}\r\n${box.authorization}\r\n\r\n`

/** Sends a request as soon as TLS allows and resolves once the proxy closed; nothing may have come back. */
async function expectCut(connect: string, servername: string | null, host: string): Promise<void> {
  const stream = await box.openTls(connect, { servername, connect: `${connect}:${port}` })
  stream.write(request(host))
  expect((await box.answerOn(stream)).status).toBe(0)
  if (!stream.closed) await once(stream, 'close')
  expect(dials.count).toBe(0)
}

async function hello(connect: string, message: Hello) {
  const { tunnel } = await box.connect(`${connect}:${port}`)
  tunnel.write(clientHello(message))
  return await answerToHello(tunnel)
}

describe('a server name that differs from the tunnel', () => {
  it.each([
    ['api.test', 'evil.test', 'api.test'],
    ['api.test', 'evil.test', 'evil.test'],
    ['evil.test', 'api.test', 'api.test'],
    ['evil.test', 'api.test', 'evil.test'],
    ['api.test', 'api.test.evil.test', 'api.test'],
    ['api.test', 'localhost', 'api.test'],
    ['127.0.0.1', 'api.test', 'api.test'],
    ['127.0.0.1', 'api.test', '127.0.0.1'],
  ])('A04 CONNECT %s, then %s, then Host %s closes the tunnel and nothing is dialled', async (connect, name, host) => {
    await expectRecorded(rig, 'sni_mismatch', () => expectCut(connect, name, host))
  })

  it.each(['evil.test', 'api.test\x00.evil.test', '127.0.0.1'])(
    'A04 the leaf for %j is for the tunnel alone',
    async (name) => {
      const { leaf } = await hello('api.test', { names: [name] })
      // A name with a NUL in it gets no leaf at all.
      expect(leaf?.subjectAltName ?? 'DNS:api.test').toBe('DNS:api.test')
      expect(dials.count).toBe(0)
    },
  )

  describe.skipIf(!has('openssl', 'version'))('sent by openssl s_client (skipped where there is none)', () => {
    async function handshake(...args: readonly string[]) {
      const ca = join(rig.dataDir, 'seen-by-openssl.pem')
      await writeFile(ca, rig.app.data.authority.certificatePem)
      const { host: proxy } = new URL(rig.app.proxyUrl)
      const login = ['-proxy_user', rig.sandbox.name, '-proxy_pass', `pass:${rig.sandbox.token}`]
      const connect = ['-connect', `api.test:${port}`, '-CAfile', ca, '-verify_return_error']
      return await run('openssl', ['s_client', '-proxy', proxy, ...login, ...connect, ...args])
    }

    it.each([
      ['-servername', 'evil.test'],
      ['-servername', '127.0.0.1'],
    ])('A04 %s %s closes the tunnel', async (...name) => {
      await expectRecorded(rig, 'sni_mismatch', () => handshake(...name))
      expect(dials.count).toBe(0)
    })

    it('A08 -noservername gets the leaf of the tunnel, which verifies', async () => {
      const { stdout } = await handshake('-noservername', '-verify_hostname', 'api.test')
      expect(stdout).toContain('Verify return code: 0 (ok)')
    })
  })
})

describe('no server name, or one that says nothing', () => {
  it('A08 without a server name the tunnel decides, and the value is released', async () => {
    const lines = ['GET / HTTP/1.1', `Host: api.test:${port}`, box.authorization]
    expect((await box.askInTunnel('api.test', lines, { servername: null })).status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it('A08 without a server name another Host than the tunnel is still refused', async () => {
    const lines = ['GET / HTTP/1.1', `Host: api.test:${port}`, box.authorization]
    const answer = await box.askInTunnel('evil.test', lines, { servername: null })
    expect(verdict(answer)).toEqual([421, 'misdirected'])
    expect(dials.count).toBe(0)
  })

  it('A08 in a tunnel to an address the value is withheld by refusing the request', async () => {
    const lines = ['GET / HTTP/1.1', `Host: 127.0.0.1:${port}`, box.authorization]
    const answer = await box.askInTunnel('127.0.0.1', lines, { servername: null })
    expect(verdict(answer)).toEqual([403, 'host_not_allowed'])
    expect(dials.count).toBe(0)
  })

  it.each([
    ['an empty name', { names: [''] }],
    ['two names', { names: ['api.test', 'evil.test'] }],
    ['an empty and another name', { names: ['', 'evil.test'] }],
    ['an empty list', { names: [], extensions: [[0, Buffer.from('0000', 'hex')] as const] }],
    ['an empty extension', { names: [], extensions: [[0, Buffer.alloc(0)] as const] }],
  ])('A08 %s gets no leaf but that of the tunnel', async (_what, message) => {
    const { alert, leaf } = await hello('api.test', message)
    if (alert === null) expect(leaf?.subjectAltName).toBe('DNS:api.test')
    else expect(leaf).toBeNull()
    expect(dials.count).toBe(0)
  })

  it('A08 an encrypted hello (GREASE) changes nothing: the outer name is judged, the leaf is for the tunnel', async () => {
    // encrypted_client_hello, outer, HKDF-SHA256 with AES-128-GCM, config 0, 32 bytes of key share, 64 of payload.
    const ech = Buffer.concat([
      Buffer.from('00000100010000200', 'hex'),
      Buffer.alloc(32, 7),
      Buffer.from('0040', 'hex'),
      Buffer.alloc(64, 9),
    ])
    const { alert, leaf } = await hello('api.test', { names: ['api.test'], extensions: [[0xfe0d, ech]] })
    expect({ alert, names: leaf?.subjectAltName }).toEqual({ alert: null, names: 'DNS:api.test' })
  })
})
