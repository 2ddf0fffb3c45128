/** A keyring is created only when nothing was sealed yet; a wrong or damaged one refuses the start and stays as it is. */
import { chmod, readdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CoatcheckError } from '../../src/core/errors.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { rewrapAll, rotateKeyring } from '../../src/vault/key-rotation.ts'
import { openKeyring } from '../../src/vault/keyring.ts'
import { Sealer } from '../../src/vault/seal.ts'
import { openVault, type Vault } from './open-vault.ts'

let vault: Vault
let path: string

beforeEach(async () => {
  vault = await openVault()
  path = join(vault.dir, 'keyring.json')
})

afterEach(async () => {
  delete process.env['TEST_KEYRING']
  await vault.remove()
})

const context = { workspaceId: 'w', secretId: 's', version: 1 }
const reopen = async (source = 'file') => await openKeyring({ dir: vault.dir, source, database: vault.database })
const key = (fill: number) => Buffer.alloc(32, fill).toString('base64')

async function refusal(source?: string): Promise<CoatcheckError> {
  return (await reopen(source).then(
    () => expect.unreachable('the keyring was accepted'),
    (error: unknown) => error,
  )) as CoatcheckError
}

async function keyIds(): Promise<readonly (string | undefined)[]> {
  const rows = await vault.database.query(
    async (db) => await db.selectFrom('secret_versions').select('key_id').distinct().execute(),
  )
  return rows.map((row) => row.key_id)
}

describe('the file', () => {
  it('is created once, 0600, and read afterwards', async () => {
    const before = await readFile(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const sealed = vault.sealer.seal(SecretValue.fromText('kept'), context)
    const again = new Sealer(await reopen())
    expect(again.open(sealed, context).reveal().toString()).toBe('kept')
    expect(await readFile(path)).toEqual(before)
  })

  it('is one and the same for openers that race, and leaves no temporary files', async () => {
    const fresh = await openVault()
    await unlink(join(fresh.dir, 'keyring.json'))
    await fresh.database.transaction(async (trx) => await trx.deleteFrom('key_checks').execute())
    const options = { dir: fresh.dir, source: 'file', database: fresh.database }
    const rings = await Promise.all(Array.from({ length: 8 }, async () => await openKeyring(options)))
    expect(new Set(rings.map((ring) => ring.currentId)).size).toBe(1)
    expect((await readdir(fresh.dir)).filter((name) => name.startsWith('keyring'))).toEqual(['keyring.json'])
    await fresh.remove()
  })

  const damages: readonly { what: string; says: RegExp; damage: (text: string) => string }[] = [
    { what: 'empty', says: /truncated/, damage: () => '' },
    { what: 'cut in half', says: /truncated/, damage: (text) => text.slice(0, text.length / 2) },
    { what: 'not an object', says: /truncated/, damage: () => 'null' },
    { what: 'of another version', says: /version/, damage: (text) => text.replace('"version": 1', '"version": 2') },
    { what: 'without keys', says: /no keys/, damage: (text) => text.replace(/"keys": \[[^\]]*\]/s, '"keys": []') },
    { what: 'with a shorter key', says: /32 bytes/, damage: (text) => text.replace(/"key": ".{4}/, '"key": "') },
    { what: 'with null for a key', says: /32 bytes/, damage: (text) => text.replace(/\{\s+"id"[^}]*\}/, 'null') },
    {
      what: 'with one changed key',
      says: /does not fit its id/,
      damage: (text) => text.replace(/"key": "(.)/, (_, first: string) => `"key": "${first === 'A' ? 'B' : 'A'}`),
    },
    {
      what: 'with a current key it lacks',
      says: /current/,
      damage: (text) => text.replace(/"current": "./, '"current": "x'),
    },
  ]
  for (const { what, says, damage } of damages) {
    it(`is refused when it is ${what}, and stays as it is`, async () => {
      const damaged = damage(await readFile(path, 'utf8'))
      await writeFile(path, damaged)
      const error = await refusal()
      expect(error.code).toBe('keyring_unusable')
      expect(error.message).toMatch(says)
      expect(error.message).toContain(path)
      const material = /"key": "([^"]{8})/.exec(damaged)?.[1] ?? key(0)
      expect(JSON.stringify([error.message, error.hint, String(error.cause)])).not.toContain(material)
      expect(await readFile(path, 'utf8')).toBe(damaged)
    })
  }

  it('is refused when other users can read it, whatever else is right', async () => {
    for (const mode of [0o640, 0o604, 0o660, 0o620]) {
      await chmod(path, mode)
      const error = await refusal()
      expect(error).toMatchObject({ code: 'keyring_unusable' })
      expect(error.message).toContain(`mode 0${mode.toString(8)}`)
    }
  })

  it('is refused when it is gone and the database needs it, and not replaced', async () => {
    await rename(path, `${path}.away`)
    const error = await refusal()
    expect(error).toMatchObject({ code: 'keyring_unusable' })
    expect(error.message).toContain(vault.file)
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
    await rename(`${path}.away`, path)
    await reopen()
  })

  it('is refused when it is another database`s, with both named', async () => {
    const other = await openVault()
    const theirs = await readFile(join(other.dir, 'keyring.json'))
    const ours = await readFile(path)
    await writeFile(path, theirs)
    const error = await refusal()
    expect(error.code).toBe('keyring_unusable')
    expect(error.message).toContain(path)
    expect(error.message).toContain(vault.file)
    expect(await readFile(path)).toEqual(theirs)
    await writeFile(path, ours)
    await reopen()
    await other.remove()
  })
})

describe('the environment', () => {
  it('gives the current key first and older ones after it', async () => {
    const fresh = await openVault()
    await fresh.database.transaction(async (trx) => await trx.deleteFrom('key_checks').execute())
    const options = { dir: fresh.dir, source: 'env:TEST_KEYRING', database: fresh.database }
    process.env['TEST_KEYRING'] = key(1)
    const old = await openKeyring(options)
    const sealed = new Sealer(old).seal(SecretValue.fromText('kept'), context)
    process.env['TEST_KEYRING'] = `${key(2)}, ${key(1)}`
    const both = await openKeyring(options)
    expect(both.currentId).not.toBe(old.currentId)
    expect(new Sealer(both).open(sealed, context).reveal().toString()).toBe('kept')
    expect(await both.addKey()).toBe(both.currentId)
    process.env['TEST_KEYRING'] = key(2)
    await expect(openKeyring(options)).rejects.toThrow(/does not belong/)
    await fresh.remove()
  })

  it.each([
    ['unset', undefined],
    ['empty', ''],
    ['not base64', 'correct horse battery staple'],
    ['too short', Buffer.alloc(31).toString('base64')],
    ['too long', Buffer.alloc(33).toString('base64')],
    ['a list with a hole', `${key(1)},`],
  ])('is refused when it is %s, without repeating it', async (_, text) => {
    if (text === undefined) delete process.env['TEST_KEYRING']
    else process.env['TEST_KEYRING'] = text
    const error = await refusal('env:TEST_KEYRING')
    expect(error.code).toBe('keyring_unusable')
    expect(error.message).toContain('TEST_KEYRING')
    if (text) expect(error.message + error.hint).not.toContain(text)
  })
})

describe('rotation', () => {
  const value = (text: string) => SecretValue.fromText(`${text}, long enough`)

  async function openAll(): Promise<readonly string[]> {
    const { items } = await vault.secrets.list(vault.owner, { limit: 200, cursor: null })
    return await Promise.all(
      items.map(async ({ id, workspaceId, version }) => {
        const secret = { id, workspaceId, version } as Parameters<typeof vault.reader.open>[0]
        return (await vault.reader.open(secret)).reveal().toString()
      }),
    )
  }

  beforeEach(async () => {
    for (const name of ['a', 'b', 'c']) await vault.secrets.create(vault.owner, { name, value: value(name) })
    await vault.secrets.update(vault.owner, 'a', { value: value('a2') })
  })

  const values = ['a2', 'b', 'c'].map((text) => `${text}, long enough`)

  it('wraps every data key, those of older versions too, with a new key, and is recorded', async () => {
    const before = vault.keyring.currentId
    const { keyId, rewrapped } = await rotateKeyring(vault, vault.owner)
    expect(rewrapped).toBe(4)
    expect(keyId).not.toBe(before)
    expect(await keyIds()).toEqual([keyId])
    expect(await openAll()).toEqual(values)
    expect(vault.audit.actions.at(-1)).toBe('keyring.rotate')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await reopen()).currentId).toBe(keyId)
  })

  it('goes on where a crash stopped it: every row opens at every moment', async () => {
    const newer = await vault.keyring.addKey()
    expect(await openAll()).toEqual(values)
    const [first] = await vault.database.query(
      async (db) => await db.selectFrom('secret_versions').selectAll().execute(),
    )
    if (first === undefined || first.ciphertext === null || first.wrapped_key === null) throw new Error('no row')
    const row = { ciphertext: first.ciphertext, wrappedKey: first.wrapped_key, keyId: first.key_id }
    const where = { workspaceId: vault.owner.workspaceId, secretId: first.secret_id, version: first.version }
    const moved = vault.sealer.rewrap(row, where)
    await vault.database.transaction(
      async (trx) =>
        await trx
          .updateTable('secret_versions')
          .set({ wrapped_key: moved.wrappedKey, key_id: moved.keyId })
          .where('secret_id', '=', first.secret_id)
          .where('version', '=', first.version)
          .execute(),
    )
    expect(await keyIds()).toHaveLength(2)
    const restarted = new Sealer(await reopen())
    expect(await rewrapAll({ database: vault.database, sealer: restarted })).toBe(3)
    expect(await keyIds()).toEqual([newer])
    expect(await rewrapAll({ database: vault.database, sealer: restarted })).toBe(0)
  })

  it('by another process is noticed by this one when it meets the new key', async () => {
    const other = await openVault({ dir: vault.dir })
    await rotateKeyring(other, other.owner)
    await other.secrets.update(other.owner, 'b', { value: value('b') })
    vault.time.now += 200
    expect(await openAll()).toEqual(values)
    await other.close()
  })

  it('by two processes at once keeps both new keys', async () => {
    const other = await openVault({ dir: vault.dir })
    const [mine, theirs] = await Promise.all([vault, other].map(async (each) => await each.keyring.addKey()))
    const ring = await reopen()
    expect(ring.key(mine ?? '')).toBeDefined()
    expect(ring.key(theirs ?? '')).toBeDefined()
    await other.close()
  })

  it('goes past a damaged row and then says how many there are', async () => {
    await vault.database.transaction(
      async (trx) =>
        await trx
          .updateTable('secret_versions')
          .set({ wrapped_key: Buffer.alloc(61) })
          .where('version', '=', 2)
          .execute(),
    )
    await expect(rotateKeyring(vault, vault.owner)).rejects.toThrow(/^1 stored values .* 3 others were rewrapped/)
  })

  it('that cannot be recorded does not happen', async () => {
    const before = await readFile(path)
    vault.audit.refusal = new Error('no')
    await expect(rotateKeyring(vault, vault.owner)).rejects.toThrow('no')
    expect(await readFile(path)).toEqual(before)
  })
})
