/** Rotates the keyring, and values between, until it is killed; says so after each. */
import { SecretValue } from '../../src/core/secret.ts'
import { rotateKeyring } from '../../src/vault/key-rotation.ts'
import { openVault } from './open-vault.ts'

const [dir] = process.argv.slice(2)
if (dir === undefined) throw new Error('usage: rotation-worker DIR')
const vault = await openVault({ dir })
for (let round = 0; ; round++) {
  await rotateKeyring(vault, vault.owner)
  process.stdout.write('rotated\n')
  const value = SecretValue.fromText(`value of n${round % 10}`)
  await vault.secrets.update(vault.owner, `n${round % 10}`, { value })
  process.stdout.write('changed\n')
}
