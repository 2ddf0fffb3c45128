/** Contract: an authority is created once, when there is no trace of one, whatever else starts or dies meanwhile. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { link, mkdir, readdir, readFile, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { BACKDATED } from '../../src/authority/certificate.ts'
import { CERTIFICATE, contents, createdAuthority, KEY, NOW, openAt, run, temporaryDirectory, YEAR } from './setting.ts'

const mode = async (path: string) => (await stat(path)).mode & 0o777

describe('a first start', () => {
  it('creates a directory for the owner alone, with a key and a certificate only the owner can read', async () => {
    const dir = await createdAuthority()
    expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
    expect(await mode(dir)).toBe(0o700)
    expect(await mode(join(dir, KEY))).toBe(0o600)
    expect(await mode(join(dir, CERTIFICATE))).toBe(0o600)
  })

  it('makes a ten-year P-256 authority with a name of its own, dated back an hour', async () => {
    const [one, two] = [await createdAuthority(), await createdAuthority()]
    const certificate = new X509Certificate(await readFile(join(one, CERTIFICATE)))
    expect(certificate.subject).toMatch(/^CN=coatcheck authority [0-9a-f]{8}$/)
    expect(certificate.issuer).toBe(certificate.subject)
    expect(certificate.validFromDate.getTime()).toBe(NOW - BACKDATED)
    expect(certificate.validToDate.getTime() - NOW).toBeGreaterThan(9.9 * YEAR)
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
    expect(new X509Certificate(await readFile(join(two, CERTIFICATE))).subject).not.toBe(certificate.subject)
  })

  it('dates an authority that lasts beyond 2049 with GeneralizedTime', async () => {
    const dir = await temporaryDirectory()
    const authority = await openAt(dir, Date.parse('2045-06-01T00:00:00Z'))
    expect(authority.notAfter.toISOString()).toBe('2055-05-31T23:00:00.000Z')
  })

  it('exports the public certificate, readable by all, and says so when it cannot', async () => {
    const dir = await temporaryDirectory()
    const exportDir = join(dir, 'certs')
    const authority = await Authority.open({ dir, exportDir, clock: () => NOW })
    expect(await readFile(join(exportDir, 'coatcheck-ca.pem'), 'utf8')).toBe(authority.certificatePem)
    expect(await mode(join(exportDir, 'coatcheck-ca.pem'))).toBe(0o644)
    expect(await readdir(exportDir)).toEqual(['coatcheck-ca.pem'])
    expect(authority.warnings).toEqual([])

    const unexportable = await Authority.open({ dir, exportDir: join(dir, KEY, 'certs'), clock: () => NOW })
    expect(unexportable.warnings).toEqual([expect.stringContaining('could not be exported')])
    expect(unexportable.fingerprint).toBe(authority.fingerprint)
  })

  it('replaces an outdated export instead of writing through it', async () => {
    const dir = await temporaryDirectory()
    const exportDir = join(dir, 'certs')
    await mkdir(exportDir)
    await writeFile(join(dir, 'elsewhere'), 'untouched')
    await symlink(join(dir, 'elsewhere'), join(exportDir, 'coatcheck-ca.pem'))
    const { certificatePem } = await Authority.open({ dir, exportDir, clock: () => NOW })
    expect(await readFile(join(exportDir, 'coatcheck-ca.pem'), 'utf8')).toBe(certificatePem)
    expect(await readFile(join(dir, 'elsewhere'), 'utf8')).toBe('untouched')
  })

  it('cannot be told from the outside: printing an authority shows no key', async () => {
    const authority = await openAt(await temporaryDirectory())
    expect(JSON.stringify(authority)).not.toContain('PRIVATE')
    expect(Object.keys(authority).sort()).toEqual(['certificatePem', 'fingerprint', 'notAfter', 'warnings'])
  })
})

describe('a later start', () => {
  it('finds the same authority and changes nothing', async () => {
    const dir = await createdAuthority()
    const before = await contents(dir)
    const [one, two] = [await openAt(dir), await openAt(dir, NOW + YEAR)]
    expect(two.certificatePem).toBe(one.certificatePem)
    expect(two.fingerprint).toBe(new X509Certificate(one.certificatePem).fingerprint256)
    expect(await contents(dir)).toEqual(before)
  })

  it('warns when the authority is about to expire, and when the clock is behind it', async () => {
    const dir = await createdAuthority()
    expect((await openAt(dir, NOW + 9.9 * YEAR)).warnings).toEqual([expect.stringContaining('expires on 2036-')])
    expect((await openAt(dir, NOW - YEAR)).warnings).toEqual([expect.stringContaining('The clock is behind')])
  })

  it('stops issuing when the authority expires while running', async () => {
    let now = NOW
    const authority = await Authority.open({ dir: await temporaryDirectory(), clock: () => now })
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    now = authority.notAfter.getTime() - 1000
    expect(authority.issue('api.test', publicKey).notAfter).toBe(authority.notAfter.getTime())
    now = authority.notAfter.getTime()
    expect(() => authority.issue('api.test', publicKey)).toThrow(/expired/)
  })
})

describe('several starts at once', () => {
  it('end up with one authority within a process', async () => {
    for (let round = 0; round < 15; round++) {
      const dir = join(await temporaryDirectory(), 'data')
      const opened = await Promise.all(Array.from({ length: 12 }, () => openAt(dir)))
      expect(new Set(opened.map((authority) => authority.fingerprint)).size).toBe(1)
      expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
    }
  })

  it('end up with one authority among processes', async () => {
    const dir = join(await temporaryDirectory(), 'data')
    const url = new URL('../../src/authority/authority.ts', import.meta.url).href
    const script = `const { Authority } = await import(${JSON.stringify(url)})
      const { fingerprint } = await Authority.open({ dir: process.argv[1], clock: Date.now })
      process.stdout.write(fingerprint)`
    const starts = Array.from({ length: 4 }, () =>
      run(process.execPath, ['--no-warnings', '--input-type=module', '-e', script, dir]),
    )
    const outcomes = await Promise.all(starts)
    expect(outcomes.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      outcomes.map(() => ({ code: 0, stderr: '' })),
    )
    expect(new Set(outcomes.map(({ stdout }) => stdout)).size).toBe(1)
    expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
  })
})

describe('a first start that was killed', () => {
  it('before the key had its name is repeated, and its leftovers go', async () => {
    const dir = await createdAuthority()
    await link(join(dir, KEY), join(dir, `${KEY}.0123.new`))
    await link(join(dir, CERTIFICATE), join(dir, `${CERTIFICATE}.0123.new`))
    await unlink(join(dir, KEY))
    await unlink(join(dir, CERTIFICATE))
    await openAt(dir)
    expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
  })

  it('between key and certificate is finished with the certificate made then', async () => {
    const dir = await createdAuthority()
    const { fingerprint } = await openAt(dir)
    await link(join(dir, KEY), join(dir, `${KEY}.0123.new`))
    await link(join(dir, CERTIFICATE), join(dir, `${CERTIFICATE}.0123.new`))
    await unlink(join(dir, CERTIFICATE))
    expect((await openAt(dir)).fingerprint).toBe(fingerprint)
    expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
  })

  it('leaves other files alone', async () => {
    const dir = await createdAuthority()
    await writeFile(join(dir, 'coatcheck.db.new'), '')
    await writeFile(join(dir, `${KEY}.backup`), '')
    await openAt(dir)
    expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY, `${KEY}.backup`, 'coatcheck.db.new'].sort())
  })
})
