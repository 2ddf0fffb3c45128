/** Contract: a leaf is what the strictest verifiers ask for, and its only name is a canonical host. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { randomSerial } from '../../src/authority/certificate.ts'
import { encode, integer } from '../../src/authority/der.ts'
import { has, NOW, openAt, run, temporaryDirectory } from './setting.ts'

const DAY = 86_400_000
const HOUR = 3_600_000
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const HAS_OPENSSL = has('openssl', 'version')

const leafFor = (authority: Authority, host: string) => new X509Certificate(authority.issue(host, publicKey).pem)

describe('the name of a leaf', () => {
  let authority: Authority
  beforeEach(async () => {
    authority = await openAt(await temporaryDirectory())
  })

  it.each([
    ['api.example.com', 'DNS:api.example.com'],
    ['localhost', 'DNS:localhost'],
    ['a_b.example.com', 'DNS:a_b.example.com'],
    ['xn--bcher-kva.example', 'DNS:xn--bcher-kva.example'],
    [`${`${'a'.repeat(63)}.`.repeat(3)}${'b'.repeat(61)}`, `DNS:${`${'a'.repeat(63)}.`.repeat(3)}${'b'.repeat(61)}`],
    ['127.0.0.1', 'IP Address:127.0.0.1'],
    ['0.0.0.0', 'IP Address:0.0.0.0'],
    ['2001:db8::1', 'IP Address:2001:DB8:0:0:0:0:0:1'],
    ['::', 'IP Address:0:0:0:0:0:0:0:0'],
    ['::ffff:192.0.2.1', 'IP Address:0:0:0:0:0:FFFF:C000:201'],
  ])('%s is its subjectAltName and stands nowhere else', (host, subjectAltName) => {
    const leaf = leafFor(authority, host)
    expect(leaf.subjectAltName).toBe(subjectAltName)
    // Node gives no text for an empty subject.
    expect(leaf.subject).toBeFalsy()
    expect(isIP(host) > 0 ? leaf.checkIP(host) : leaf.checkHost(host)).toBe(host)
  })

  it.each([
    ['nothing', ''],
    ['a wildcard', '*.example.com'],
    ['a wildcard alone', '*'],
    ['a NUL', 'good.test\0.evil.test'],
    ['a newline', 'good.test\nevil.test'],
    ['a carriage return', 'good.test\r'],
    ['a second name', 'good.test,DNS:evil.test'],
    ['a distinguished name', 'CN=good.test,O=evil'],
    ['a slash', 'good.test/evil'],
    ['a space', 'good test'],
    ['upper case', 'Good.test'],
    ['a trailing dot', 'good.test.'],
    ['an empty label', 'good..test'],
    ['a leading hyphen', '-good.test'],
    ['a trailing hyphen', 'good-.test'],
    ['a label of 64', `${'a'.repeat(64)}.test`],
    ['254 characters', `${'a.'.repeat(126)}aa`],
    ['255 and more', 'a'.repeat(300)],
    ['a byte beyond ASCII', 'gööd.test'],
    ['a unicode dot', 'good\u3002test'],
    ['an escape', 'good%2etest'],
    ['a port', 'good.test:443'],
    ['user information', 'user@good.test'],
    ['brackets', '[2001:db8::1]'],
    ['a zone', 'fe80::1%eth0'],
    ['an IPv6 address in another spelling', '2001:0db8::1'],
    ['IPv4 in another spelling', '127.0.0.01'],
    ['IPv4 of two parts', '127.1'],
    ['IPv4 in hexadecimal', '0x7f.1'],
    ['a CIDR range', '10.0.0.0/8'],
    ['a broken A-label', 'xn--zzzzzz--.test'],
  ])('is never %s', (_what, host) => {
    expect(() => authority.issue(host, publicKey)).toThrow(expect.objectContaining({ code: 'invalid_host' }))
  })

  it('is exactly what was asked for, or the request is refused without repeating it', () => {
    const anything = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.domain(), fc.ipV4(), fc.ipV6())
    fc.assert(
      fc.property(anything, (host) => {
        try {
          const leaf = leafFor(authority, host)
          if (leaf.subjectAltName?.startsWith('DNS:')) expect(leaf.subjectAltName).toBe(`DNS:${host}`)
          else expect(leaf.checkIP(host)).toBe(host)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_host', message: 'No certificate can be made for this host.' })
        }
      }),
    )
  })
})

describe('the life of a leaf', () => {
  it('begins an hour ago and lasts 199 days', async () => {
    const { notBefore, notAfter, pem } = (await openAt(await temporaryDirectory())).issue('api.test', publicKey)
    expect(notBefore).toBe(NOW - HOUR)
    expect(notAfter - notBefore).toBe(199 * DAY)
    const leaf = new X509Certificate(pem)
    expect([leaf.validFromDate.getTime(), leaf.validToDate.getTime()]).toEqual([notBefore, notAfter])
  })

  it('never exceeds that of the authority', async () => {
    let now = NOW
    const authority = await Authority.open({ dir: await temporaryDirectory(), clock: () => now })
    now = authority.notAfter.getTime() - 10 * DAY
    expect(leafFor(authority, 'api.test').validToDate).toEqual(authority.notAfter)
  })
})

describe('serials', () => {
  it('are positive, minimal, at most 20 octets and all different, 5,000 times', () => {
    const serials = Array.from({ length: 5000 }, randomSerial)
    for (const serial of serials) {
      expect(serial.length).toBeLessThanOrEqual(20)
      expect(serial.readUInt8(0)).toBeGreaterThan(0)
      expect(serial.readUInt8(0)).toBeLessThan(0x80)
      expect(encode(integer(serial))).toEqual(Buffer.concat([Buffer.from([0x02, serial.length]), serial]))
    }
    expect(new Set(serials.map((serial) => serial.toString('hex'))).size).toBe(5000)
  })

  it('are fresh for every leaf of the same host', async () => {
    const authority = await openAt(await temporaryDirectory())
    expect(leafFor(authority, 'api.test').serialNumber).not.toBe(leafFor(authority, 'api.test').serialNumber)
  })
})

describe.skipIf(!HAS_OPENSSL)('OpenSSL (skipped where there is no openssl program)', () => {
  async function written(host: string, nameConstraints: readonly string[] | null = null) {
    const dir = await temporaryDirectory()
    const authority = await Authority.open({ dir, clock: Date.now, nameConstraints })
    const leaf = join(dir, 'leaf.pem')
    await writeFile(leaf, authority.issue(host, publicKey).pem)
    return { authority: join(dir, 'authority.cert.pem'), leaf }
  }

  const verify = (files: { authority: string; leaf: string }, ...more: string[]) =>
    run('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', files.authority, ...more, files.leaf])

  it('verifies a leaf for a hostname strictly', async () => {
    const files = await written('api.example.com')
    expect(await verify(files, '-verify_hostname', 'api.example.com')).toMatchObject({ code: 0 })
    expect((await verify(files, '-verify_hostname', 'other.example.com')).code).not.toBe(0)
  })

  it.each(['192.0.2.7', '2001:db8::7'])('verifies a leaf for %s strictly', async (address) => {
    const files = await written(address)
    expect(await verify(files, '-verify_ip', address)).toMatchObject({ code: 0 })
    expect((await verify(files, '-verify_ip', '192.0.2.8')).code).not.toBe(0)
  })

  it('shows a leaf with an empty subject, critical name and only what a server needs', async () => {
    const { leaf, authority } = await written('api.example.com')
    const { stdout } = await run('openssl', ['x509', '-in', leaf, '-noout', '-text'])
    expect(stdout).toMatch(/Version: 3 /)
    expect(stdout).toMatch(/Subject: *\n/)
    expect(stdout).toMatch(/ASN1 OID: prime256v1/)
    expect(stdout).toMatch(/Signature Algorithm: ecdsa-with-SHA256/)
    expect(stdout).toMatch(/Key Usage: critical\s+Digital Signature\n/)
    expect(stdout).toMatch(/Extended Key Usage: \s+TLS Web Server Authentication\n/)
    expect(stdout).toMatch(/Subject Alternative Name: critical\s+DNS:api\.example\.com\n/)
    const issuer = await run('openssl', ['x509', '-in', authority, '-noout', '-text'])
    const keyIdentifier = /Subject Key Identifier: \s+([0-9A-F:]+)/.exec(issuer.stdout)?.[1]
    expect(/Authority Key Identifier: \s+([0-9A-F:]+)/.exec(stdout)?.[1]).toBe(keyIdentifier)
  })

  it('shows an authority that signs leaves and nothing else', async () => {
    const { authority } = await written('api.example.com')
    const { stdout } = await run('openssl', ['x509', '-in', authority, '-noout', '-text'])
    expect(stdout).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/)
    expect(stdout).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
    expect(stdout).toMatch(/Subject Key Identifier/)
    expect(stdout).not.toMatch(/Name Constraints/)
  })

  it('holds a confined authority to its names', async () => {
    const confined = ['example.com', '*.example.org']
    expect(await verify(await written('api.example.com', confined))).toMatchObject({ code: 0 })
    expect(await verify(await written('example.org', confined))).toMatchObject({ code: 0 })
    for (const host of ['example.net', 'notexample.com', '192.0.2.7', '2001:db8::7']) {
      expect((await verify(await written(host, confined))).stderr).toMatch(/(permitted|excluded) subtree violation/)
    }
  })
})
