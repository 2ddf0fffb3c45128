/** No value is in any file of the data directory, at any time of its life; a deleted one's keys are gone too. */
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { rotateKeyring } from '../../src/vault/key-rotation.ts'
import { openVault, type Vault } from './open-vault.ts'

let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

/** The canary raw, in both hexes, reversed, and in base64 at its three alignments without the edges they share. */
function forms(canary: string): readonly Buffer[] {
  const hex = Buffer.from(canary).toString('hex')
  const base64 = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), Buffer.from(canary)]).toString('base64')
    return text.slice(shift === 0 ? 0 : 4, -4)
  })
  return [canary, hex, hex.toUpperCase(), canary.split('').reverse().join(''), ...base64].map((text) =>
    Buffer.from(text),
  )
}

async function filesHolding(needles: readonly Uint8Array[]): Promise<readonly string[]> {
  const holding: string[] = []
  for (const name of await readdir(vault.dir)) {
    const bytes = await readFile(join(vault.dir, name))
    if (needles.some((needle) => bytes.includes(needle))) holding.push(name)
  }
  return holding
}

it('holds after creation, rotation of value and key, and deletion', async () => {
  const canaries = Array.from({ length: 6 }, () => `CNRY-${randomBytes(24).toString('hex')}`)
  const everything = canaries.flatMap(forms)
  for (const [at, canary] of canaries.entries()) {
    const value = SecretValue.fromText(canary)
    if (at % 2 === 0) await vault.secrets.create(vault.owner, { name: `s${at}`, value, type: 'note' })
    else await vault.secrets.update(vault.owner, `s${at - 1}`, { value })
    expect(await filesHolding(everything)).toEqual([])
  }
  await rotateKeyring(vault, vault.owner)
  expect(await filesHolding(everything)).toEqual([])
  await vault.secrets.delete(vault.owner, 's0')
  expect(await filesHolding(everything)).toEqual([])
  expect(JSON.stringify(vault.audit.events)).not.toContain('CNRY')
})

it('H12: nothing of a deleted secret`s sealed value or wrapped keys is left in the database or its log', async () => {
  const { secret } = await vault.secrets.create(vault.owner, {
    name: 'gone',
    value: SecretValue.fromText('some value, long'),
  })
  await vault.secrets.create(vault.owner, { name: 'kept', value: SecretValue.fromText('some value, long') })
  await rotateKeyring(vault, vault.owner)
  const sealed = async (id: string) =>
    (
      await vault.database.query(
        async (db) => await db.selectFrom('secret_versions').selectAll().where('secret_id', '=', id).execute(),
      )
    ).flatMap((row) => [row.ciphertext, row.wrapped_key].filter((blob) => blob !== null))
  const gone = await sealed(secret.id)
  const kept = await sealed((await vault.secrets.get(vault.owner, 'kept')).id)
  expect(gone).toHaveLength(2)
  expect(await filesHolding(gone)).not.toEqual([])
  await vault.secrets.delete(vault.owner, 'gone')
  expect(await filesHolding(gone)).toEqual([])
  expect(await filesHolding(kept)).toEqual(['coatcheck.db'])
})
