/** Contract: merged trust holds every certificate once and nothing else, and Java reads its form of it as trust anchors. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { javaTrustStore, trustBundle } from '../../src/authority/trust-store.ts'
import { createdAuthority, has, openAt, run, temporaryDirectory } from './setting.ts'

const ROOTS = rootCertificates.slice(0, 5)
const MARK = '-----BEGIN CERTIFICATE-----'

const fingerprints = (bundle: string) =>
  bundle
    .split(/(?=-----BEGIN)/)
    .filter((block) => block.startsWith(MARK))
    .map((block) => new X509Certificate(block).fingerprint256)

async function authorityPem(): Promise<string> {
  return (await openAt(await createdAuthority())).certificatePem
}

describe('a bundle', () => {
  it("holds the authority's certificate and the system's, each once", async () => {
    const own = await authorityPem()
    const bundle = trustBundle(own, `${ROOTS.join('\n')}\n${own}\n${ROOTS[0]}`)
    expect(fingerprints(bundle)).toEqual([own, ...ROOTS].map((text) => new X509Certificate(text).fingerprint256))
  })

  it('has clean lines whatever the line ends, comments and final newlines of its parts', async () => {
    const own = await authorityPem()
    const messy = `# a comment\r\n${ROOTS.map((root) => root.replaceAll('\n', '\r\n')).join('\r\nLabel: x\r\n')}`
    const bundle = trustBundle(own.trimEnd(), messy)
    expect(bundle).toBe(trustBundle(own, ROOTS.join('\n')))
    for (const line of bundle.trimEnd().split('\n'))
      expect(line).toMatch(/^(-----(BEGIN|END) CERTIFICATE-----|.{1,64})$/)
    expect(bundle.endsWith('-----END CERTIFICATE-----\n')).toBe(true)
    expect(bundle).not.toMatch(/\r|comment|Label/)
  })

  it('leaves out a private key that stands in one of the files, and what is no certificate', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' })
    const own = await authorityPem()
    const junk = `${MARK}\nAAAA\n-----END CERTIFICATE-----\n`
    expect(trustBundle(own, key + junk + ROOTS[0])).toBe(trustBundle(own, ROOTS[0] ?? ''))
  })

  it('is the authority alone where a system has no certificates', async () => {
    const own = await authorityPem()
    expect(trustBundle(own, '')).toBe(own)
  })

  it.skipIf(!has('openssl', 'version'))('makes leaves verify with OpenSSL (skipped without openssl)', async () => {
    const dir = await createdAuthority()
    const authority = await openAt(dir)
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await writeFile(join(dir, 'bundle.pem'), trustBundle(authority.certificatePem, ROOTS.join('\n')))
    await writeFile(join(dir, 'leaf.pem'), authority.issue('api.test', publicKey).pem)
    const at = String(Date.parse('2026-11-20T12:00:00Z') / 1000)
    const args = ['verify', '-x509_strict', '-attime', at, '-CAfile', join(dir, 'bundle.pem'), join(dir, 'leaf.pem')]
    expect(await run('openssl', args)).toMatchObject({ code: 0 })
  })
})

describe('a Java trust store', () => {
  it.skipIf(!has('keytool', '-help'))('lists its entries as trust anchors (skipped without keytool)', async () => {
    const dir = await temporaryDirectory()
    const own = await authorityPem()
    await writeFile(join(dir, 'trust.p12'), javaTrustStore([own, ROOTS.join('\n')], 'changeit'))
    const list = (password: string) =>
      run('keytool', ['-J-Duser.language=en', '-list', '-keystore', join(dir, 'trust.p12'), '-storepass', password])
    const { code, stdout } = await list('changeit')
    expect(code).toBe(0)
    expect(stdout.match(/trustedCertEntry/g)).toHaveLength(6)
    expect(stdout).toContain(new X509Certificate(own).fingerprint256)
    expect((await list('changeit2')).stdout).toMatch(/Integrity check failed|password was incorrect/)
  })

  it.skipIf(!has('openssl', 'version'))('passes the integrity check of OpenSSL (skipped without openssl)', async () => {
    const dir = await temporaryDirectory()
    const path = join(dir, 'trust.p12')
    const store = javaTrustStore([ROOTS.join('\n')], 'changeit')
    const read = (password: string) =>
      run('openssl', ['pkcs12', '-in', path, '-nokeys', '-out', join(dir, 'out.pem'), '-passin', `pass:${password}`])
    await writeFile(path, store)
    expect(await read('changeit')).toMatchObject({ code: 0 })
    expect(fingerprints(await readFile(join(dir, 'out.pem'), 'utf8'))).toHaveLength(5)
    expect((await read('other')).code).not.toBe(0)
    store[200] = store.readUInt8(200) ^ 1
    await writeFile(path, store)
    expect((await read('changeit')).code).not.toBe(0)
  })
})
