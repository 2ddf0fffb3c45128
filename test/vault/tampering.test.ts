/** What was sealed opens in its own place only, and with one key at any moment of a rotation that is cut off. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { rewrapAll } from '../../src/vault/key-rotation.ts'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const ROUNDS = 12
const SECRETS = 250
const worker = fileURLToPath(new URL('rotation-worker.ts', import.meta.url))
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

async function versions() {
  return await vault.database.query(
    async (db) =>
      await db
        .selectFrom('secret_versions')
        .innerJoin('secrets', 'secrets.id', 'secret_versions.secret_id')
        .select(['secret_id', 'version', 'scope_id', 'name', 'ciphertext', 'wrapped_key', 'key_id'])
        .execute(),
  )
}

it('J15: refuses and records a value that was moved between secrets, versions or workspaces', async () => {
  const stranger = await foreignPrincipal(vault.database)
  for (const [who, name] of [
    [vault.owner, 'one'],
    [vault.owner, 'two'],
    [stranger, 'one'],
  ] as const) {
    const value = SecretValue.fromText(`the value of ${name} there`)
    await vault.secrets.create(who, { name, value, readPolicy: 'permission' })
  }
  const { secret } = await vault.secrets.update(vault.owner, 'one', { value: SecretValue.fromText('the second value') })
  const rows = await versions()
  const mine = rows.find((row) => row.secret_id === secret.id && row.version === 2)
  for (const other of rows.filter((row) => row !== mine)) {
    for (const parts of [
      { ciphertext: other.ciphertext },
      { wrapped_key: other.wrapped_key },
      { ciphertext: other.ciphertext, wrapped_key: other.wrapped_key, key_id: other.key_id },
    ]) {
      await write(secret.id, 2, parts)
      await expect(vault.reveals.reveal(vault.owner, 'one')).rejects.toMatchObject({ code: 'store_unavailable' })
      expect(vault.audit.actions.at(-1)).toBe('secret.read.failed')
      await write(secret.id, 2, { ciphertext: mine?.ciphertext, wrapped_key: mine?.wrapped_key })
    }
  }
  expect((await vault.reveals.reveal(vault.owner, 'one')).value.reveal().toString()).toBe('the second value')
})

async function write(id: string, version: number, parts: object): Promise<void> {
  await vault.database.transaction(
    async (trx) =>
      await trx
        .updateTable('secret_versions')
        .set(parts)
        .where('secret_id', '=', id)
        .where('version', '=', version)
        .execute(),
  )
}

/** Kills the worker after so many lines and a little more. */
async function killedRotation(dir: string, round: number): Promise<number> {
  const child = spawn(process.execPath, [worker, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  let lines = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    lines += text.split('\n').length - 1
    if (lines > round % 4) setTimeout(() => child.kill('SIGKILL'), (round * 7) % 30)
  })
  await once(child, 'close')
  return lines
}

it(`J12: leaves every value readable with the one key its row names after ${ROUNDS} kills, and rewrapping goes on`, async () => {
  for (let at = 0; at < SECRETS; at++) {
    await vault.secrets.create(vault.owner, { name: `n${at}`, value: SecretValue.fromText(`value of n${at}`) })
  }
  await vault.close()
  let rotations = 0
  for (let round = 0; round < ROUNDS; round++) rotations += await killedRotation(vault.dir, round)
  expect(rotations).toBeGreaterThan(ROUNDS)
  vault = await openVault({ dir: vault.dir })
  for (const row of await versions()) {
    const sealed = { ciphertext: row.ciphertext ?? Buffer.alloc(0), wrappedKey: row.wrapped_key ?? Buffer.alloc(0) }
    const context = { workspaceId: row.scope_id, secretId: row.secret_id, version: row.version }
    const value = vault.sealer.open({ ...sealed, keyId: row.key_id }, context)
    expect(value.reveal().toString()).toBe(`value of ${row.name}`)
  }
  await rewrapAll(vault)
  expect(new Set((await versions()).map((row) => row.key_id))).toEqual(new Set([vault.keyring.currentId]))
}, 120_000)
