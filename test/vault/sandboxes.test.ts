/** A sandbox is who its token says, until the token changes or the sandbox is deleted; it mounts secrets of its own workspace. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CoatcheckError } from '../../src/core/errors.ts'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const value = () => SecretValue.fromText('a long enough value')
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

async function identified(name: string, token: string): Promise<SandboxIdentity> {
  const identity = await vault.sandboxes.authenticate(name, token)
  if (identity === undefined) throw new Error('not recognised')
  return identity
}

describe('the token', () => {
  it('identifies the sandbox by name and by id, and nobody else', async () => {
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const other = await vault.sandboxes.create(vault.owner, { name: 'two', mounts: {} })
    expect(token).toMatch(/^cst_[A-Za-z0-9_-]{43}$/)
    expect(await vault.sandboxes.authenticate('one', token)).toMatchObject({
      id: sandbox.id,
      name: 'one',
      workspaceId: vault.owner.workspaceId,
    })
    expect((await vault.sandboxes.authenticate(sandbox.id, token))?.name).toBe('one')
    for (const [name, wrong] of [
      ['two', token],
      ['one', other.token],
      ['One', token],
      ['', token],
      ['one', ''],
      ['one', token.slice(0, -1)],
      ['one', `${token} `],
      ['one', token.replace('cst_', 'cct_')],
      ['missing', token],
    ] as const) {
      expect(await vault.sandboxes.authenticate(name, wrong), `${name} ${wrong}`).toBeUndefined()
    }
  })

  it('stops working at once when it is rotated, also for those who are identified by it', async () => {
    const first = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const identity = await identified('one', first.token)
    const bound = (await vault.sandboxes.byName('one')) as SandboxIdentity
    expect(await vault.sandboxes.isCurrent(identity)).toBe(true)
    const second = await vault.sandboxes.rotateToken(vault.owner, 'one')
    expect(await vault.sandboxes.authenticate('one', first.token)).toBeUndefined()
    expect(await vault.sandboxes.isCurrent(identity)).toBe(false)
    expect(await vault.sandboxes.isCurrent(bound)).toBe(true)
    expect(await vault.sandboxes.isCurrent(await identified('one', second.token))).toBe(true)
  })

  it('ends with the sandbox', async () => {
    const { token } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const identity = await identified('one', token)
    const bound = (await vault.sandboxes.byName('one')) as SandboxIdentity
    await vault.sandboxes.delete(vault.owner, 'one')
    expect(await vault.sandboxes.authenticate('one', token)).toBeUndefined()
    expect(await vault.sandboxes.byName('one')).toBeUndefined()
    expect(await vault.sandboxes.isCurrent(identity)).toBe(false)
    expect(await vault.sandboxes.isCurrent(bound)).toBe(false)
    const again = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    expect(await vault.sandboxes.isCurrent(identity)).toBe(false)
    expect(await vault.sandboxes.authenticate('one', again.token)).toBeDefined()
  })

  it('is answered without a promise once it is known to be current', async () => {
    const { token } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const identity = await identified('one', token)
    await vault.sandboxes.isCurrent(identity)
    expect(vault.sandboxes.isCurrent(identity)).toBe(true)
  })

  it('does not make an identity of somebody else`s making current', async () => {
    const { sandbox } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const forged = { id: sandbox.id, name: sandbox.name, workspaceId: sandbox.workspaceId }
    expect(await vault.sandboxes.isCurrent(forged)).toBe(false)
  })

  it('is nowhere in the database', async () => {
    const { token } = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const rows = await vault.database.query(async (db) => await db.selectFrom('sandboxes').selectAll().execute())
    expect(JSON.stringify(rows)).not.toContain(token.slice(4))
    expect(Buffer.from(rows[0]?.token_hash ?? []).toString('latin1')).not.toContain(token.slice(4))
    expect(JSON.stringify(vault.audit.events)).not.toContain(token.slice(4))
  })
})

describe('a listener bound by name', () => {
  it('gets nobody when two workspaces have a sandbox of that name', async () => {
    const mine = await vault.sandboxes.create(vault.owner, { name: 'same', mounts: {} })
    expect((await vault.sandboxes.byName('same'))?.id).toBe(mine.sandbox.id)
    await vault.sandboxes.create(await foreignPrincipal(vault.database), { name: 'same', mounts: {} })
    expect(await vault.sandboxes.byName('same')).toBeUndefined()
    expect((await vault.sandboxes.byName(mine.sandbox.id))?.id).toBe(mine.sandbox.id)
  })
})

describe('mounts', () => {
  it('give the placeholder of each secret under the name of an environment variable', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'prod/key', value: value(), dress: 'sk-' })
    const { sandbox } = await vault.sandboxes.create(vault.owner, {
      name: 'one',
      mounts: { SECOND: secret.id, FIRST: 'prod/key', ['__proto__']: 'prod/key' },
    })
    expect(Object.entries(sandbox.env)).toEqual([
      ['FIRST', secret.placeholder],
      ['SECOND', secret.placeholder],
      ['__proto__', secret.placeholder],
    ])
    expect(sandbox.mounts['SECOND']).toBe('prod/key')
    expect(await vault.sandboxes.get(vault.owner, 'one')).toEqual(sandbox)
    expect((await vault.sandboxes.list(vault.owner, { limit: 1, cursor: null })).items).toEqual([sandbox])
  })

  it('are replaced as a whole', async () => {
    for (const name of ['a', 'b']) await vault.secrets.create(vault.owner, { name, value: value() })
    await vault.sandboxes.create(vault.owner, { name: 'one', mounts: { A: 'a' } })
    expect((await vault.sandboxes.setMounts(vault.owner, 'one', { B: 'b' })).mounts).toEqual({ B: 'b' })
    expect((await vault.sandboxes.setMounts(vault.owner, 'one', {})).env).toEqual({})
  })

  it('of a secret that is not there, foreign or not, are refused by the same words, which name it', async () => {
    const stranger = await foreignPrincipal(vault.database)
    await vault.secrets.create(stranger, { name: 'theirs', value: value() })
    const mounting = async (secret: string) =>
      (await vault.sandboxes
        .create(vault.owner, { name: 'one', mounts: { KEY: secret } })
        .catch((error: unknown) => error)) as CoatcheckError
    const foreign = await mounting('theirs')
    expect(foreign).toMatchObject({ code: 'invalid_input' })
    expect(foreign.message).toContain('theirs (for KEY)')
    expect((await mounting('nobodys')).message).toBe(foreign.message.replace('theirs', 'nobodys'))
    expect((await mounting('sk-live value!')).message).not.toContain('sk-live')
    await expect(
      vault.sandboxes.create(vault.owner, { name: 'one', mounts: { '9X': 'theirs' } }),
    ).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(vault.sandboxes.get(vault.owner, 'one')).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('another workspace', () => {
  it('finds a foreign sandbox as little as a missing one, by any verb', async () => {
    const { sandbox } = await vault.sandboxes.create(vault.owner, { name: 'mine', mounts: {} })
    const stranger = await foreignPrincipal(vault.database)
    for (const key of ['mine', sandbox.id, 'missing']) {
      for (const attempt of [
        vault.sandboxes.get(stranger, key),
        vault.sandboxes.setMounts(stranger, key, {}),
        vault.sandboxes.rotateToken(stranger, key),
        vault.sandboxes.delete(stranger, key),
      ]) {
        await expect(attempt).rejects.toMatchObject({ code: 'not_found', message: 'There is no such sandbox.' })
      }
    }
    expect((await vault.sandboxes.list(stranger, { limit: 10, cursor: null })).items).toEqual([])
  })
})

describe('names and the record', () => {
  it('refuses a taken name and lets it go with the sandbox', async () => {
    await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    const again = () => vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    await expect(again()).rejects.toMatchObject({ code: 'conflict' })
    await vault.sandboxes.delete(vault.owner, 'one')
    expect((await again()).sandbox.name).toBe('one')
  })

  it('has one event per change', async () => {
    await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    await vault.sandboxes.setMounts(vault.owner, 'one', {})
    await vault.sandboxes.rotateToken(vault.owner, 'one')
    await vault.sandboxes.delete(vault.owner, 'one')
    expect(vault.audit.actions).toEqual(['sandbox.create', 'sandbox.mount', 'sandbox.rotate_token', 'sandbox.delete'])
  })
})
