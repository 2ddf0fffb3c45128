/** What was sealed opens as it was, in its own place only, and not at all when one bit of it changed. */
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import type { Sealed } from '../../src/vault/seal.ts'
import { openVault, type Vault } from './open-vault.ts'

const context = { workspaceId: 'workspace', secretId: 'secret', version: 1 }
let vault: Vault

beforeAll(async () => {
  vault = await openVault()
})

afterAll(async () => {
  await vault.remove()
})

function flip(bytes: Uint8Array, bit: number): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
  return changed
}

function expectRefused(sealed: Sealed, where = context): void {
  expect(() => vault.sealer.open(sealed, where)).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
}

describe('sealing', () => {
  it('gives back any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const opened = vault.sealer.open(vault.sealer.seal(new SecretValue(bytes), context), context)
        expect(opened.reveal()).toEqual(Buffer.from(bytes))
      }),
    )
  })

  it('uses a data key and initialisation vectors of its own each time', () => {
    const seen = new Set<string>()
    for (let round = 0; round < 2_000; round++) {
      const sealed = vault.sealer.seal(SecretValue.fromText('same'), context)
      seen.add(Buffer.from(sealed.ciphertext).toString('hex'))
      seen.add(Buffer.from(sealed.ciphertext.subarray(1, 13)).toString('hex'))
      seen.add(Buffer.from(sealed.wrappedKey.subarray(1, 13)).toString('hex'))
    }
    expect(seen.size).toBe(6_000)
  })

  it('does not open after any one bit changed, in value or key', () => {
    const sealed = vault.sealer.seal(SecretValue.fromText('precious'), context)
    for (let bit = 0; bit < sealed.ciphertext.length * 8; bit++) {
      expectRefused({ ...sealed, ciphertext: flip(sealed.ciphertext, bit) })
    }
    for (let bit = 0; bit < sealed.wrappedKey.length * 8; bit++) {
      expectRefused({ ...sealed, wrappedKey: flip(sealed.wrappedKey, bit) })
    }
  })

  it('does not open truncated to any length, tags included', () => {
    const sealed = vault.sealer.seal(SecretValue.fromText('precious'), context)
    for (let length = 0; length < sealed.ciphertext.length; length++) {
      expectRefused({ ...sealed, ciphertext: sealed.ciphertext.subarray(0, length) })
    }
    for (let length = 0; length < sealed.wrappedKey.length; length++) {
      expectRefused({ ...sealed, wrappedKey: sealed.wrappedKey.subarray(0, length) })
    }
  })

  it('does not open elsewhere, however the parts of the place are cut', () => {
    const sealed = vault.sealer.seal(SecretValue.fromText('precious'), context)
    for (const where of [
      { ...context, workspaceId: 'other' },
      { ...context, secretId: 'other' },
      { ...context, version: 2 },
      { workspaceId: 'workspacesecret', secretId: '', version: 1 },
      { workspaceId: 'works', secretId: 'pacesecret', version: 1 },
      { workspaceId: 'workspace|secret', secretId: '1', version: 1 },
    ]) {
      expectRefused(sealed, where)
    }
    expectRefused({ ...sealed, keyId: '0000000000000000' })
  })
})

describe('rows that were swapped in the database', () => {
  it('do not open, whichever columns were swapped', async () => {
    for (const name of ['a', 'b']) {
      const value = SecretValue.fromText(`value of ${name}, long`)
      await vault.secrets.create(vault.owner, { name, value })
    }
    await vault.secrets.update(vault.owner, 'a', { value: SecretValue.fromText('value of a, newer') })
    const { token } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: { A: 'a', B: 'b' } })
    const sandbox = await vault.sandboxes.authenticate('one', token)
    const { placeholder } = await vault.secrets.get(vault.owner, 'a')
    if (sandbox === undefined) throw new Error('not recognised')
    const original = await vault.database.query(
      async (db) =>
        await db.selectFrom('secret_versions').selectAll().orderBy('secret_id').orderBy('version').execute(),
    )
    const target = original.findIndex((row) => row.version === 2)
    for (const columns of [['ciphertext', 'wrapped_key'], ['ciphertext'], ['wrapped_key']] as const) {
      for (const source of original.filter((_, at) => at !== target)) {
        const set = Object.fromEntries(columns.map((column) => [column, source[column]]))
        await vault.database.change(
          async (trx) => await trx.updateTable('secret_versions').set(set).where('version', '=', 2).execute(),
        )
        const found = await vault.reader.find(sandbox, placeholder)
        if (found === undefined) throw new Error('not found')
        const opening = async () => await vault.reader.open(found)
        await expect(opening()).rejects.toMatchObject({ code: 'store_unavailable' })
        const { ciphertext, wrapped_key } = original[target] ?? {}
        if (ciphertext === undefined || wrapped_key === undefined) throw new Error('no row')
        await vault.database.change(
          async (trx) =>
            await trx
              .updateTable('secret_versions')
              .set({ ciphertext, wrapped_key })
              .where('version', '=', 2)
              .execute(),
        )
        expect((await vault.reader.open(found)).reveal().toString()).toBe('value of a, newer')
      }
    }
  })
})
