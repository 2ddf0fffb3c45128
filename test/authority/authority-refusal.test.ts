/** Contract: anything but a sound pair of files refuses to open, says why and what to do, and leaves every file as it is. */
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { publishPair } from '../../src/authority/authority-files.ts'
import { BACKDATED, extension, keyIdentifier, signCertificate } from '../../src/authority/certificate.ts'
import { boolean, octets, pem, sequence } from '../../src/authority/der.ts'
import { CERTIFICATE, contents, createdAuthority, KEY, NOW, openAt, temporaryDirectory, YEAR } from './setting.ts'

/** Opening fails as said, and the directory is afterwards what it was. */
async function expectRefusal(dir: string, what: RegExp, hint = /./, now = NOW): Promise<void> {
  const before = await contents(dir)
  await expect(openAt(dir, now)).rejects.toMatchObject({
    code: 'authority_unusable',
    message: expect.stringMatching(what) as string,
    hint: expect.stringMatching(hint) as string,
  })
  expect(await contents(dir)).toEqual(before)
}

describe('refused, with the files left as they are:', () => {
  it('a missing key', async () => {
    const dir = await createdAuthority()
    await unlink(join(dir, KEY))
    await expectRefusal(dir, /authority\.key\.pem is missing/, /backup/)
  })

  it('a missing certificate', async () => {
    const dir = await createdAuthority()
    await unlink(join(dir, CERTIFICATE))
    await expectRefusal(dir, /authority\.cert\.pem is missing/, /backup/)
  })

  it("a missing certificate of which only another key's is left behind", async () => {
    const [dir, other] = [await createdAuthority(), await createdAuthority()]
    await unlink(join(dir, CERTIFICATE))
    await writeFile(join(dir, `${CERTIFICATE}.0123.new`), await readFile(join(other, CERTIFICATE)))
    await expectRefusal(dir, /authority\.cert\.pem is missing/, /backup/)
  })

  it.each([KEY, CERTIFICATE])('an empty or truncated %s', async (file) => {
    const dir = await createdAuthority()
    const whole = await readFile(join(dir, file), 'utf8')
    for (const length of [0, 1, 27, Math.floor(whole.length / 2), whole.length - 30]) {
      await writeFile(join(dir, file), whole.slice(0, length))
      await expectRefusal(dir, /damaged/, /backup/)
    }
  })

  it.each([0o640, 0o604, 0o660, 0o644])('a key with mode %o, with the command that mends it', async (bad) => {
    const dir = await createdAuthority()
    await chmod(join(dir, KEY), bad)
    await expectRefusal(dir, /can be read by other users/, new RegExp(`^Run: chmod 600 '${join(dir, KEY)}'$`))
  })

  it.each([KEY, CERTIFICATE])('a directory, an endless file or a large one in place of %s', async (file) => {
    const dir = await createdAuthority()
    await rm(join(dir, file))
    await mkdir(join(dir, file), { mode: 0o700 })
    await expectRefusal(dir, /cannot be read|not a PEM file/)
    await rm(join(dir, file), { recursive: true })
    await symlink('/dev/zero', join(dir, file))
    await expect(openAt(dir)).rejects.toThrow(/not a PEM file/)
    await rm(join(dir, file))
    await writeFile(join(dir, file), 'x'.repeat(100_000), { mode: 0o600 })
    await expectRefusal(dir, /not a PEM file/)
  })

  it.skipIf(process.getuid?.() === 0)('a key this user cannot read (root can read every file)', async () => {
    const dir = await createdAuthority()
    await chmod(join(dir, KEY), 0o000)
    await expect(openAt(dir)).rejects.toThrow(/cannot be read \(EACCES\)/)
  })

  it('the key of another authority', async () => {
    const [dir, other] = [await createdAuthority(), await createdAuthority()]
    await writeFile(join(dir, KEY), await readFile(join(other, KEY)))
    await expectRefusal(dir, /does not belong/)
  })

  it('a key on another curve, and a key with a passphrase', async () => {
    const dir = await createdAuthority()
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    await writeFile(join(dir, KEY), privateKey.export({ format: 'pem', type: 'pkcs8' }))
    await expectRefusal(dir, /not a P-256 key/)
    const options = { format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'canary' } as const
    await writeFile(join(dir, KEY), privateKey.export(options))
    await expectRefusal(dir, /damaged/)
  })

  it('an authority that has expired', async () => {
    await expectRefusal(await createdAuthority(), /expired on 2036-/, /Check the clock/, NOW + 10.1 * YEAR)
  })

  it.each(['no authority at all', 'an authority whose names its leaves would not chain to'])('%s', async (kind) => {
    const dir = await temporaryDirectory()
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const isAuthority = kind !== 'no authority at all'
    const certificate = signCertificate(
      {
        issuer: 'made elsewhere',
        subject: isAuthority ? 'made elsewhere' : null,
        notBefore: NOW - BACKDATED,
        notAfter: NOW + YEAR,
        publicKey,
        extensions: isAuthority
          ? [
              extension('2.5.29.19', true, sequence(boolean(true))),
              extension('2.5.29.14', false, octets(keyIdentifier(publicKey).reverse())),
            ]
          : [],
      },
      privateKey,
    )
    await publishPair(dir, {
      keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      certificatePem: pem('CERTIFICATE', certificate),
    })
    await expectRefusal(dir, isAuthority ? /no leaf that clients would accept/ : /not the certificate of an authority/)
  })

  it.each([KEY, CERTIFICATE])('one flipped bit anywhere in %s, unless it changes nothing', async (file) => {
    const dir = await createdAuthority()
    const { fingerprint } = await openAt(dir)
    const whole = await readFile(join(dir, file))
    let refused = 0
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole)
      flipped[at] = flipped.readUInt8(at) ^ (1 << (at % 8))
      await writeFile(join(dir, file), flipped)
      const outcome = await openAt(dir).then(
        (authority) => authority.fingerprint,
        (error: { code: string }) => error.code,
      )
      expect(['authority_unusable', fingerprint]).toContain(outcome)
      expect((await readFile(join(dir, file))).equals(flipped)).toBe(true)
      if (outcome === 'authority_unusable') refused++
    }
    expect(refused).toBeGreaterThan(whole.length * 0.9)
  })
})

describe('name constraints', () => {
  const confined = (dir: string, nameConstraints: readonly string[] | null) =>
    Authority.open({ dir, clock: () => NOW, nameConstraints })

  it('are set at creation and demanded from then on', async () => {
    const dir = await temporaryDirectory()
    const { fingerprint } = await confined(dir, ['example.com', '*.example.org'])
    expect((await confined(dir, ['example.com', 'example.org'])).fingerprint).toBe(fingerprint)
    await expect(confined(dir, ['example.net'])).rejects.toThrow(/not made with the name constraints/)
    await expect(confined(await createdAuthority(), ['example.com'])).rejects.toThrow(
      /not made with the name constraints/,
    )
  })

  it.each([[[]], [['192.0.2.1']], [['https://example.com']], [['a.*.example.com']], [['EXAMPLE.com']], [['']]])(
    'that are not hostnames are refused before anything is created: %j',
    async (nameConstraints) => {
      const dir = await temporaryDirectory()
      await expect(confined(dir, nameConstraints)).rejects.toMatchObject({ code: 'config_invalid' })
      expect(await readdir(dir)).toEqual([])
    },
  )
})
