/** Contract: the key is created once, complete and private; what is there but wrong is refused and left alone. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSigningKey } from '../../src/audit/signing-key.ts'
import { newPlace } from './setting.ts'

test('the first opening creates a private and a public file and nothing else; the second uses them', async () => {
  const { dataDir } = newPlace()
  const first = await openSigningKey(dataDir)
  expect(readdirSync(dataDir).filter((name) => name.startsWith('audit'))).toEqual([
    'audit-key.pem',
    'audit-key.pub.pem',
  ])
  expect(statSync(join(dataDir, 'audit-key.pem')).mode & 0o777).toBe(0o600)
  expect(createPublicKey(readFileSync(join(dataDir, 'audit-key.pub.pem'))).equals(createPublicKey(first))).toBe(true)
  expect((await openSigningKey(dataDir)).equals(first)).toBe(true)
})

test('openings at the same moment agree on one key', async () => {
  const { dataDir } = newPlace()
  const keys = await Promise.all(Array.from({ length: 8 }, () => openSigningKey(dataDir)))
  for (const key of keys) expect(key.equals(keys[0] as (typeof keys)[0])).toBe(true)
})

const refused: readonly { what: string; prepare: (file: string) => void }[] = [
  { what: 'open to other users', prepare: (file) => chmodSync(file, 0o644) },
  { what: 'empty', prepare: (file) => writeFileSync(file, '') },
  { what: 'cut short', prepare: (file) => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 60)) },
  {
    what: 'of another kind',
    prepare: (file) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    },
  },
  {
    what: 'not the public file’s',
    prepare: (file) => {
      const { privateKey } = generateKeyPairSync('ed25519')
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    },
  },
]

for (const { what, prepare } of refused) {
  test(`a key file that is ${what} is refused and not replaced`, async () => {
    const { dataDir } = newPlace()
    await openSigningKey(dataDir)
    const file = join(dataDir, 'audit-key.pem')
    prepare(file)
    const before = readFileSync(file)
    await expect(openSigningKey(dataDir)).rejects.toMatchObject({ code: 'keyring_unusable' })
    expect(readFileSync(file)).toEqual(before)
  })
}

test('a directory in the key file’s place is refused', async () => {
  const { dataDir } = newPlace()
  mkdirSync(join(dataDir, 'audit-key.pem'), { mode: 0o700 })
  await expect(openSigningKey(dataDir)).rejects.toMatchObject({ code: 'keyring_unusable' })
})
