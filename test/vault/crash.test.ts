/** A writer that is killed at any moment has lost nothing it said was written, and leaves a whole database behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { MountedSecret } from '../../src/core/secret.ts'
import { openVault, temporaryDirectory } from './open-vault.ts'

const ROUNDS = 20
const writer = fileURLToPath(new URL('crash-writer.ts', import.meta.url))
let root: string

beforeAll(async () => {
  root = await temporaryDirectory()
})

afterAll(async () => {
  await rm(root, { recursive: true, force: true })
})

/** The lines a writer printed before it was killed, after some of them. */
async function killedWriter(dir: string, round: number): Promise<readonly string[]> {
  const child = spawn(process.execPath, [writer, dir, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'] },
  })
  const killAfter = 1 + ((round * 37) % 60)
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text
    if (printed.split('\n').length > killAfter) child.kill('SIGKILL')
  })
  await once(child, 'close')
  return printed.split('\n').slice(0, -1)
}

it(`J01: loses nothing in ${ROUNDS} kills`, async () => {
  const dir = join(root, 'data')
  const acknowledged: string[] = []
  for (let round = 0; round < ROUNDS; round++) acknowledged.push(...(await killedWriter(dir, round)))
  expect(acknowledged.length).toBeGreaterThan(ROUNDS)
  const vault = await openVault({ dir })
  for (const line of acknowledged) {
    const [name = '', version] = line.split(' ')
    const secret = await vault.secrets.get(vault.owner, name)
    const opened = await vault.reader.open(secret as unknown as MountedSecret)
    const expected = secret.version === 2 ? `second value of ${name}` : `value of ${name}`
    expect(opened.reveal().toString()).toBe(expected)
    if (version !== undefined) expect(secret.version).toBe(2)
  }
  await vault.close()
  const raw = new DatabaseSync(join(dir, 'coatcheck.db'))
  expect(raw.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
  expect(raw.prepare('PRAGMA foreign_key_check').all()).toEqual([])
  raw.close()
}, 120_000)
