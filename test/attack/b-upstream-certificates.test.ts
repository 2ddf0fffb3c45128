/**
 * Contract: before a byte of a request is sent, the upstream has proved by a chain to a trusted root, for TLS servers, within
 * its time, and by a subject alternative name, that it is the canonical host. Our own authority proves nothing.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import {
  type AltName,
  CertificateForge,
  CLIENT_AUTH,
  type Holder,
  ownAuthority,
  selfSigned,
} from '../support/certificate-forge.ts'
import { createSecret } from '../support/control-plane.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { TlsOrigin } from '../support/tls-origin.ts'

const NAMES = ['wild.test', 'a.wild.test', 'ab.wild.test', 'a.b.wild.test', 'x.co.uk', 'x.github.io']
/** May go anywhere, so that only the certificate stands between it and the wrong server. */
const VALUE = canary('anywhere')

let rig: Rig
let box: RawSandbox
let forge: CertificateForge
let origin: TlsOrigin
let field: string

beforeAll(async () => {
  forge = await CertificateForge.create()
  origin = await TlsOrigin.start()
  rig = await Rig.start({ names: NAMES, ports: [origin.port], env: { COATCHECK_UPSTREAM_EXTRACA: forge.caFile } })
  const { placeholder } = await createSecret(rig, { name: 'anywhere', value: VALUE })
  box = new RawSandbox(rig, await rig.sandboxWith('anywhere', { KEY: 'anywhere' }))
  field = `Authorization: Bearer ${placeholder}`
})
beforeEach(() => {
  origin.clear()
})
afterAll(async () => {
  assertNoLeak(VALUE, { 'what the sandbox saw': Buffer.concat(rig.seen), 'the log': rig.logLines.join('') })
  await rig.stop()
  await origin.stop()
  await forge.remove()
})

async function ask(host: string) {
  const authority = `${host}:${origin.port}`
  return await box.ask(`GET https://${authority}/ HTTP/1.1`, `Host: ${authority}`, field)
}

async function expectAccepted(host: string, holder: Holder): Promise<void> {
  origin.present(holder)
  expect((await ask(host)).status).toBe(200)
  expect(origin.received.toString('latin1')).toContain(`Bearer ${VALUE}`)
}

async function expectUnproven(host: string, holder: Holder): Promise<void> {
  origin.present(holder)
  const answer = await ask(host)
  expect(verdict(answer)).toEqual([502, 'upstream_tls'])
  expect(origin.dials).toBe(1)
  expect(origin.received).toHaveLength(0)
  const { decision, reason } = await outcome(rig, { requestId: answer.requestId ?? '' })
  expect({ decision, reason }).toEqual({ decision: 'failed', reason: 'upstream_tls' })
}

const dns = (...names: readonly string[]): readonly AltName[] => names.map((name) => ['dns', name] as const)
const API = dns('api.test')

describe('the chain', () => {
  it('B02 that is sound, with an intermediate, is accepted: the control for all that follow', async () => {
    await expectAccepted('api.test', forge.issue({ names: API }))
    const issuer = forge.issue({ commonName: 'intermediate', ca: true })
    await expectAccepted('api.test', forge.issue({ issuer, names: API }))
  })

  it.each<[string, () => Holder]>([
    ['expired', () => forge.issue({ names: API, from: -30, until: -1 })],
    ['not yet valid', () => forge.issue({ names: API, from: 1 })],
    ['self-signed', () => selfSigned('api.test', API)],
    ['below an unknown root', () => forge.issue({ issuer: selfSigned('unknown root'), names: API })],
    [
      'below an unknown root of the trusted root’s name',
      () => forge.issue({ issuer: selfSigned('test root'), names: API }),
    ],
    [
      'without its intermediate',
      () => {
        const issuer = { ...forge.issue({ commonName: 'missing', ca: true }), chain: '' }
        return forge.issue({ issuer, names: API })
      },
    ],
    [
      'below an expired intermediate',
      () => forge.issue({ issuer: forge.issue({ commonName: 'old', ca: true, from: -30, until: -1 }), names: API }),
    ],
    [
      'issued by a leaf',
      () => forge.issue({ issuer: forge.issue({ commonName: 'evil.test', names: dns('evil.test') }), names: API }),
    ],
    ['signed with SHA-1', () => forge.issue({ names: API, digest: 'sha1' })],
    ['for another name', () => forge.issue({ names: dns('evil.test') })],
    ['for TLS clients', () => forge.issue({ names: API, usages: [CLIENT_AUTH] })],
    ['for code signing', () => forge.issue({ names: API, usages: ['1.3.6.1.5.5.7.3.3'] })],
  ])('B02 that is %s is answered 502, and no byte of the request is sent', async (_what, holder) => {
    await expectUnproven('api.test', holder())
  })

  it('B04 without extended key usages is for any purpose (RFC 5280 4.2.1.12) and accepted', async () => {
    await expectAccepted('api.test', forge.issue({ names: API, usages: null }))
  })
})

describe('the name', () => {
  it.each<[string, readonly AltName[] | null]>([
    ['no subject alternative name', null],
    [
      'alternative names of other kinds alone',
      [
        ['email', 'api.test'],
        ['uri', 'https://api.test/'],
      ],
    ],
    ['another alternative name', dns('evil.test')],
  ])('B03 in the common name counts for nothing next to %s', async (_what, names) => {
    await expectUnproven('api.test', forge.issue({ commonName: 'api.test', names }))
  })

  it.each<[string, string]>([
    ['*.wild.test', 'a.wild.test'],
    ['*.WILD.test', 'a.wild.test'],
    ['API.test', 'api.test'],
    ['*.github.io', 'x.github.io'],
  ])('B04 %s stands for %s', async (name, host) => {
    await expectAccepted(host, forge.issue({ names: dns(name) }))
  })

  it.each<[string, string]>([
    ['*.wild.test', 'a.b.wild.test'],
    ['*.wild.test', 'wild.test'],
    ['a*.wild.test', 'ab.wild.test'],
    ['*b.wild.test', 'ab.wild.test'],
    ['a*b.wild.test', 'ab.wild.test'],
    ['a.*.wild.test', 'a.b.wild.test'],
    ['*.*.wild.test', 'a.b.wild.test'],
    ['**.wild.test', 'a.wild.test'],
    ['*.test', 'api.test'],
    ['*.co.uk', 'x.co.uk'],
    ['*', 'api.test'],
    ['*.', 'api.test'],
    ['.test', 'api.test'],
    ['.api.test', 'api.test'],
    ['api.test.', 'api.test'],
    ['', 'api.test'],
    ['api.test\0.evil.test', 'api.test'],
    ['api.test evil.test', 'api.test'],
    ['api.te\xadst', 'api.test'],
  ])('B04 %j does not stand for %s', async (name, host) => {
    await expectUnproven(host, forge.issue({ names: dns(name) }))
  })

  it.each<AltName>([
    ['dns', 'evil.test, DNS:api.test'],
    ['dns', 'x, DNS:api.test, y'],
    ['dns', 'x", DNS:api.test, "y'],
    ['uri', 'https://evil.test/, DNS:api.test, y'],
    ['email', 'x, DNS:api.test, y'],
    ['uri', 'x\0, DNS:api.test, \0y'],
  ])('B04 a %s name that is written like a list, %j, is one name', async (kind, name) => {
    await expectUnproven('api.test', forge.issue({ names: [[kind, name]] }))
  })

  it('B06 is asked for by server name, though an address is dialled', async () => {
    await expectAccepted('api.test', forge.issue({ names: API }))
    expect(origin.handshakes.map((each) => each.servername)).toEqual(['api.test'])
  })

  it('B06 is not proved by a certificate for the address', async () => {
    await expectUnproven('api.test', forge.issue({ names: [['ip', '127.0.0.1']] }))
  })

  it('B06 of an address is proved by that address alone, and sent as no server name', async () => {
    await expectAccepted('127.0.0.1', forge.issue({ names: [['ip', '127.0.0.1']] }))
    expect(origin.handshakes.map((each) => each.servername)).toEqual([null])
    for (const names of [dns('127.0.0.1'), dns('api.test'), [['ip', '127.0.0.2']] as const, null]) {
      await expectUnproven('127.0.0.1', forge.issue({ commonName: '127.0.0.1', names }))
    }
  })
})

describe('our own authority', () => {
  it('B08 is no root for upstreams: its leaf is answered 502, and no byte of the request is sent', async () => {
    const issuer = await ownAuthority(rig.dataDir)
    await expectUnproven('api.test', forge.issue({ issuer, names: API }))
  })
})
