/** Writes secrets until it is killed; says the name of each on stdout only when the store has said it is written. */
import { SecretValue } from '../../src/core/secret.ts'
import { openVault } from './open-vault.ts'

const [dir, round] = process.argv.slice(2)
if (dir === undefined || round === undefined) throw new Error('usage: crash-writer DIR ROUND')
const vault = await openVault({ dir })
for (let number = 0; ; number++) {
  const name = `r${round}/n${number}`
  await vault.secrets.create(vault.owner, { name, value: SecretValue.fromText(`value of ${name}`) })
  process.stdout.write(`${name}\n`)
  if (number % 3 === 0) {
    await vault.secrets.update(vault.owner, name, { value: SecretValue.fromText(`second value of ${name}`) })
    process.stdout.write(`${name} 2\n`)
  }
}
