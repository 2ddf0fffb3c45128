/** Reads one secret many times at once on a data directory that others use too; says how many reads gave the value. */
import { openVault } from './open-vault.ts'

const [dir, ref, reads] = process.argv.slice(2)
if (dir === undefined || ref === undefined || reads === undefined)
  throw new Error('usage: reveal-worker DIR SECRET READS')
const vault = await openVault({ dir })
process.stdout.write('ready\n')
await new Promise((resolve) => process.stdin.once('data', resolve))
const outcomes = await Promise.allSettled(
  Array.from({ length: Number(reads) }, async () => await vault.reveals.reveal(vault.owner, ref)),
)
const codes = outcomes.map((each) => (each.status === 'fulfilled' ? 'value' : (each.reason as { code: string }).code))
const count = (code: string) => codes.filter((each) => each === code).length
process.stdout.write(`${JSON.stringify({ value: count('value'), gone: count('gone') })}\n`)
await vault.close()
process.exit(0)
