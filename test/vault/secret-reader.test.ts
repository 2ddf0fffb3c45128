/** The proxy sees what is mounted in the sandbox at hand, as it is now, and nothing else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { type MountedSecret, SecretValue } from '../../src/core/secret.ts'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const value = (text = 'a long enough value') => SecretValue.fromText(text)
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

async function sandbox(name: string, mounts: Record<string, string>): Promise<SandboxIdentity> {
  const { token } = await vault.sandboxes.create(vault.owner, { name, mounts })
  return (await vault.sandboxes.authenticate(name, token)) as SandboxIdentity
}

async function mounted(): Promise<{ identity: SandboxIdentity; token: string }> {
  const { secret } = await vault.secrets.create(vault.owner, {
    name: 'key',
    value: value('first value, long'),
    hosts: ['*.example.com'],
    placements: ['query:key'],
    dress: 'sk-',
    expiresAt: '2031-01-01T00:00:00Z',
  })
  return { identity: await sandbox('one', { KEY: 'key' }), token: secret.placeholder.slice(3) }
}

async function open(secret: MountedSecret | undefined): Promise<string> {
  if (secret === undefined) throw new Error('not found')
  return (await vault.reader.open(secret)).reveal().toString()
}

describe('finding', () => {
  it('gives a mounted secret with its hosts and placements ready to judge by', async () => {
    const { identity, token } = await mounted()
    const found = await vault.reader.find(identity, token)
    expect(found).toMatchObject({
      name: 'key',
      token,
      placeholder: `sk-${token}`,
      version: 1,
      placements: [{ kind: 'query', name: 'key' }],
      allowPlaintext: false,
      expiresAt: Date.parse('2031-01-01T00:00:00Z'),
      state: 'current',
      workspaceId: identity.workspaceId,
    })
    expect(found?.hosts.allows('api.example.com')).toBe(true)
    expect(found?.hosts.allows('example.org')).toBe(false)
    expect(await open(found)).toBe('first value, long')
  })

  it('finds nothing for unknown, foreign and not-mounted tokens alike', async () => {
    const { identity, token } = await mounted()
    const bare = await sandbox('bare', {})
    const stranger = await foreignPrincipal(vault.database)
    const theirs = await vault.secrets.create(stranger, { name: 'key', value: value() })
    for (const [who, what] of [
      [identity, 'xcoat_00000000000000000000000000'],
      [identity, theirs.secret.placeholder],
      [identity, `sk-${token}`],
      [bare, token],
      [{ ...identity, workspaceId: stranger.workspaceId }, token],
      [{ ...identity, id: 'x' }, token],
    ] as const) {
      expect(await vault.reader.find(who, what)).toBeUndefined()
    }
  })

  it('answers the second time without a promise, and never remembers what it did not find', async () => {
    const { identity, token } = await mounted()
    const found = await vault.reader.find(identity, token)
    expect(vault.reader.find(identity, token)).toBe(found)
    expect(vault.reader.find(identity, 'xcoat_x')).toBeInstanceOf(Promise)
    await vault.reader.find(identity, 'xcoat_x')
    expect(vault.reader.find(identity, 'xcoat_x')).toBeInstanceOf(Promise)
    const opened = await vault.reader.open(found as MountedSecret)
    expect(vault.reader.open(found as MountedSecret)).toBe(opened)
  })

  it('says when the current version is disabled', async () => {
    const { identity, token } = await mounted()
    const disabled_at = '2030-01-01T00:00:00.000Z'
    await vault.database.change(async (trx) => await trx.updateTable('secret_versions').set({ disabled_at }).execute())
    expect((await vault.reader.find(identity, token))?.state).toBe('disabled')
  })
})

describe('changes made by this process', () => {
  it('show at once: rotation, unmounting, deletion', async () => {
    const { identity, token } = await mounted()
    const before = await vault.reader.find(identity, token)
    await open(before)
    await vault.secrets.update(vault.owner, 'key', { value: value('second value, long') })
    const after = await vault.reader.find(identity, token)
    expect(after?.version).toBe(2)
    expect(await open(after)).toBe('second value, long')
    expect(await open(before)).toBe('first value, long')
    await vault.sandboxes.setMounts(vault.owner, 'one', {})
    expect(await vault.reader.find(identity, token)).toBeUndefined()
    await vault.sandboxes.setMounts(vault.owner, 'one', { KEY: 'key' })
    expect(await vault.reader.find(identity, token)).toBeDefined()
    await vault.secrets.delete(vault.owner, 'key')
    expect(await vault.reader.find(identity, token)).toBeUndefined()
    await expect(open(after)).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  it('never mixes versions while rotations and requests run together', async () => {
    const { identity, token } = await mounted()
    await vault.secrets.update(vault.owner, 'key', { value: value('value of version 2') })
    const requests = Array.from({ length: 300 }, async (_, at) => {
      if (at % 10 === 0) {
        await vault.secrets.update(vault.owner, 'key', { value: value(`value of version ${3 + at / 10}`) })
      }
      const found = await vault.reader.find(identity, token)
      expect(await open(found)).toBe(`value of version ${found?.version}`)
    })
    await Promise.all(requests)
  })
})

describe('changes made by another process', () => {
  it('show within 200 ms: a rotated token, a new value, a deletion', async () => {
    const { identity, token } = await mounted()
    const other = await openVault({ dir: vault.dir })
    expect((await vault.reader.find(identity, token))?.version).toBe(1)
    expect(await vault.sandboxes.isCurrent(identity)).toBe(true)
    await other.secrets.update(other.owner, 'key', { value: value('from elsewhere, long') })
    await other.sandboxes.rotateToken(other.owner, 'one')
    vault.time.now += 200
    const found = await vault.reader.find(identity, token)
    expect(found?.version).toBe(2)
    expect(await open(found)).toBe('from elsewhere, long')
    expect(await vault.sandboxes.isCurrent(identity)).toBe(false)
    await other.sandboxes.delete(other.owner, 'one')
    vault.time.now += 200
    expect(await vault.reader.find(identity, token)).toBeUndefined()
    await other.close()
  })

  it('show when the clock went back', async () => {
    const { identity, token } = await mounted()
    await vault.reader.find(identity, token)
    const other = await openVault({ dir: vault.dir })
    await other.secrets.delete(other.owner, 'key')
    vault.time.now -= 3_600_000
    expect(await vault.reader.find(identity, token)).toBeUndefined()
    await other.close()
  })
})

describe('opened values', () => {
  it('are let go after 60 seconds', async () => {
    const { identity, token } = await mounted()
    const found = (await vault.reader.find(identity, token)) as MountedSecret
    await vault.reader.open(found)
    vault.time.now += 59_000
    expect(vault.reader.open(found)).toBeInstanceOf(SecretValue)
    vault.time.now += 2_000
    expect(vault.reader.open(found)).toBeInstanceOf(Promise)
  })
})

describe('the hosts of all mounted secrets', () => {
  it('are those that some mounted secret allows, and change with the mounts', async () => {
    const { identity } = await mounted()
    expect(await vault.reader.anyMountedAllows(identity, 'a.example.com')).toBe(true)
    expect(vault.reader.anyMountedAllows(identity, 'example.org')).toBe(false)
    await vault.secrets.create(vault.owner, { name: 'anywhere', value: value() })
    expect(await vault.reader.anyMountedAllows(identity, 'example.org')).toBe(false)
    await vault.sandboxes.setMounts(vault.owner, 'one', { A: 'anywhere' })
    expect(await vault.reader.anyMountedAllows(identity, 'example.org')).toBe(true)
    await vault.sandboxes.setMounts(vault.owner, 'one', {})
    expect(await vault.reader.anyMountedAllows(identity, 'a.example.com')).toBe(false)
  })
})

describe('a store that is gone', () => {
  it('is store_unavailable, not an answer', async () => {
    const { identity, token } = await mounted()
    const elsewhere = await openVault({ dir: vault.dir })
    await elsewhere.close()
    const asking = async () => await elsewhere.reader.find(identity, token)
    await expect(asking()).rejects.toMatchObject({ code: 'store_unavailable' })
  })
})
