/**
 * Contract: TLS 1.2 or later with forward secrecy and authenticated encryption, towards sandboxes and towards upstreams. No
 * session is resumed on either side, no early data is taken, and no certificate of ours is shown to an upstream.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { has, run } from '../authority/setting.ts'
import { outcome } from '../support/audited.ts'
import { CertificateForge, type Holder } from '../support/certificate-forge.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { TlsOrigin } from '../support/tls-origin.ts'

/** Lets a test's own side speak what the proxy must not. */
const ANYTHING = 'ALL:@SECLEVEL=0'
const FAULT = /EPROTO|ECONNRESET|alert|closed|disconnected|no ciphers|unsupported protocol/i

let rig: Rig
let box: RawSandbox
let forge: CertificateForge
let origin: TlsOrigin
let sound: Holder

beforeAll(async () => {
  forge = await CertificateForge.create()
  origin = await TlsOrigin.start()
  sound = forge.issue({ names: [['dns', 'api.test']] })
  rig = await Rig.start({ ports: [origin.port], env: { COATCHECK_UPSTREAM_EXTRACA: forge.caFile } })
  box = new RawSandbox(rig)
})
beforeEach(() => {
  origin.present(sound)
})
afterAll(async () => {
  await rig.stop()
  await origin.stop()
  await forge.remove()
})

async function handshake(options: ConnectionOptions): Promise<TLSSocket> {
  return await box.openTls('api.test', { tls: options })
}

async function ask() {
  const authority = `api.test:${origin.port}`
  return await box.ask(`GET https://${authority}/ HTTP/1.1`, `Host: ${authority}`, box.authorization)
}

describe('towards the sandbox', () => {
  it.each(['TLSv1', 'TLSv1.1'] as const)('B09 %s is refused in the handshake', async (version) => {
    const options = { minVersion: version, maxVersion: version, ciphers: ANYTHING }
    await expect(handshake(options)).rejects.toThrow(FAULT)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('B09 %s is spoken, with an ephemeral key and AEAD', async (version) => {
    const stream = await handshake({ minVersion: version, maxVersion: version })
    expect(stream.getProtocol()).toBe(version)
    expect(stream.getCipher().standardName).toMatch(/GCM|CHACHA20/)
    expect(stream.getEphemeralKeyInfo()).not.toEqual({})
    stream.destroy()
  })

  it.each([
    'ECDHE-ECDSA-AES128-SHA256',
    'ECDHE-ECDSA-AES256-SHA',
    'ECDHE-ECDSA-AES128-CCM8',
    'ECDHE-ECDSA-ARIA128-GCM-SHA256',
    'AES128-GCM-SHA256',
    'AES128-SHA',
    'DHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-NULL-SHA',
    'AECDH-AES128-SHA',
    'PSK-AES128-GCM-SHA256',
  ])('B09 %s is refused in the handshake', async (cipher) => {
    const options = { maxVersion: 'TLSv1.2', ciphers: `${cipher}:@SECLEVEL=0` } as const
    await expect(handshake(options)).rejects.toThrow(FAULT)
  })

  it('B09 renegotiation is refused', async () => {
    const stream = await handshake({ maxVersion: 'TLSv1.2' })
    const refused = once(stream, 'close')
    stream.renegotiate({}, () => undefined)
    await expect(refused).rejects.toThrow(/no renegotiation/)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'B10 no session is resumed over %s, by the same sandbox or another',
    async (version) => {
      const options = { minVersion: version, maxVersion: version }
      const sessions: Buffer[] = []
      const first = await handshake(options)
      first.on('session', (session: Buffer) => sessions.push(session))
      first.write(`GET / HTTP/1.0\r\n\r\n`)
      await box.answerOn(first)
      const kept = first.getSession()
      if (kept !== undefined) sessions.push(kept)
      first.destroy()
      const other = new RawSandbox(rig, await rig.sandboxWith(`other-${version}`.toLowerCase().replace('.', '-'), {}))
      for (const session of sessions) {
        for (const who of [box, other]) {
          const again = await who.openTls('api.test', { tls: { ...options, session } })
          expect(again.isSessionReused()).toBe(false)
          again.destroy()
        }
      }
    },
  )

  describe.skipIf(!has('openssl', 'version'))(
    'B10 early data, by openssl s_client (skipped where there is none)',
    () => {
      it('B10 is neither offered nor taken', async () => {
        const session = join(rig.dataDir, 'session.pem')
        const early = join(rig.dataDir, 'early.txt')
        await writeFile(early, `GET / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n${box.authorization}\r\n\r\n`)
        const { host: proxy } = new URL(rig.app.proxyUrl)
        const login = ['-proxy_user', rig.sandbox.name, '-proxy_pass', `pass:${rig.sandbox.token}`]
        const common = ['s_client', '-proxy', proxy, ...login, '-connect', `api.test:${rig.upstream.port}`, '-tls1_3']
        const first = await run('openssl', [...common, '-sess_out', session])
        expect(first.stdout).not.toMatch(/Max Early Data: [1-9]/)
        const second = await run('openssl', [...common, '-sess_in', session, '-early_data', early])
        expect(second.stdout + second.stderr).not.toContain('Early data was accepted')
        expect(rig.upstream.received).toHaveLength(0)
      })
    },
  )
})

describe('towards the upstream', () => {
  it.each(['TLSv1', 'TLSv1.1'] as const)(
    'B09 that speaks no more than %s is answered 502, and no byte is sent',
    async (version) => {
      origin.present(sound, { minVersion: version, maxVersion: version, ciphers: ANYTHING })
      const answer = await ask()
      expect(verdict(answer)).toEqual([502, 'upstream_tls'])
      expect(origin.received).toHaveLength(0)
      expect(await outcome(rig, { requestId: answer.requestId ?? '' })).toMatchObject({ reason: 'upstream_tls' })
    },
  )

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('B09 that speaks %s is spoken to', async (version) => {
    origin.present(sound, { minVersion: version, maxVersion: version })
    expect((await ask()).status).toBe(200)
    expect(origin.handshakes.map((each) => each.protocol)).toEqual([version])
  })

  it.each([
    'ECDHE-ECDSA-AES128-SHA256',
    'ECDHE-ECDSA-AES256-SHA',
    'ECDHE-ECDSA-AES128-CCM8',
    'ECDHE-ECDSA-NULL-SHA',
    'AECDH-AES128-SHA',
  ])('B09 that offers %s alone is answered 502, and no byte is sent', async (cipher) => {
    origin.present(sound, { maxVersion: 'TLSv1.2', ciphers: `${cipher}:@SECLEVEL=0` })
    expect(verdict(await ask())).toEqual([502, 'upstream_tls'])
    expect(origin.received).toHaveLength(0)
  })

  it('B10 no session is resumed', async () => {
    origin.closeAfterAnswer = true
    for (let i = 0; i < 3; i++) expect((await ask()).status).toBe(200)
    expect(origin.handshakes.map((each) => each.resumed)).toEqual([false, false, false])
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'B11 that insists on a client certificate over %s gets none, and the sandbox a 502',
    async (version) => {
      origin.present(sound, { minVersion: version, maxVersion: version, requestCert: true, rejectUnauthorized: true })
      const answer = await ask()
      expect(answer.status).toBe(502)
      expect(['upstream_tls', 'upstream_failed']).toContain(answer.code)
      expect(origin.handshakes.some((each) => each.clientCertificate)).toBe(false)
    },
  )

  it('B11 that would like a client certificate gets none, and is spoken to', async () => {
    origin.present(sound, { requestCert: true, rejectUnauthorized: false })
    expect((await ask()).status).toBe(200)
    expect(origin.handshakes.map((each) => each.clientCertificate)).toEqual([false])
  })
})
