/** API tokens are shown once, checked on every call, and end when revoked or expired; the admin token is a private file. */
import { chmod, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const firstPage = { limit: 200, cursor: null }
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

describe('an API token', () => {
  it('stands for its own principal in its workspace', async () => {
    const { token, secret } = await vault.tokens.create(vault.owner, { name: 'ci', role: 'admin' })
    expect(secret).toMatch(/^cct_[A-Za-z0-9_-]{43}$/)
    const principal = await vault.tokens.authenticate(secret)
    expect(principal).toMatchObject({ kind: 'api_key', name: 'ci', workspaceId: vault.owner.workspaceId })
    expect((await vault.tokens.list(vault.owner, firstPage)).items).toEqual([
      { ...token, lastUsedAt: '2030-01-01T00:00:00.000Z' },
    ])
    if (principal === undefined) throw new Error('not recognised')
    await vault.tokens.create(principal, { name: 'by-ci' })
    expect(vault.audit.events.at(-1)).toMatchObject({ principal: 'token:ci', action: 'token.create' })
    expect(JSON.stringify(vault.audit.events)).not.toContain(secret.slice(4))
  })

  it('is not accepted when unknown, malformed, expired or revoked, nor a sandbox`s', async () => {
    const expiring = await vault.tokens.create(vault.owner, { name: 'short', expiresAt: '2030-01-01T01:00:00Z' })
    const revoked = await vault.tokens.create(vault.owner, { name: 'ended' })
    const sandbox = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: {} })
    expect(await vault.tokens.authenticate(expiring.secret)).toBeDefined()
    await vault.tokens.revoke(vault.owner, 'ended')
    vault.time.now += 3_600_000
    const wrong = [
      expiring.secret,
      revoked.secret,
      sandbox.token,
      sandbox.token.replace('cst_', 'cct_'),
      `cct_${'A'.repeat(43)}`,
      `${expiring.secret}x`,
      '',
    ]
    for (const token of wrong) expect(await vault.tokens.authenticate(token)).toBeUndefined()
    expect(await vault.sandboxes.authenticate('one', expiring.secret)).toBeUndefined()
  })

  it('notes its last use at most once a minute', async () => {
    const { secret } = await vault.tokens.create(vault.owner, { name: 'ci' })
    const lastUse = async () => (await vault.tokens.list(vault.owner, firstPage)).items[0]?.lastUsedAt
    expect(await lastUse()).toBeNull()
    await vault.tokens.authenticate(secret)
    vault.time.now += 59_000
    await vault.tokens.authenticate(secret)
    expect(await lastUse()).toBe('2030-01-01T00:00:00.000Z')
    vault.time.now += 1_000
    await vault.tokens.authenticate(secret)
    expect(await lastUse()).toBe('2030-01-01T00:01:00.000Z')
  })

  it('is listed and revoked in its own workspace only', async () => {
    const { token } = await vault.tokens.create(vault.owner, { name: 'ci' })
    const stranger = await foreignPrincipal(vault.database)
    expect((await vault.tokens.list(stranger, firstPage)).items).toEqual([])
    for (const key of [token.id, 'ci', 'missing']) {
      await expect(vault.tokens.revoke(stranger, key)).rejects.toMatchObject({ code: 'not_found' })
    }
    await expect(vault.tokens.create(vault.owner, { name: 'ci' })).rejects.toMatchObject({ code: 'conflict' })
    await vault.tokens.revoke(vault.owner, token.id)
    expect((await vault.tokens.create(vault.owner, { name: 'ci' })).token.id).not.toBe(token.id)
  })
})

describe('the admin token', () => {
  it('is made once, privately, and stands for admin in the default workspace', async () => {
    const first = await vault.tokens.ensureAdminToken(vault.dir)
    expect(first.created).toBe(true)
    expect((await stat(first.path)).mode & 0o777).toBe(0o600)
    const text = await readFile(first.path, 'utf8')
    expect(await vault.tokens.ensureAdminToken(vault.dir)).toEqual({ path: first.path, created: false })
    expect(await readFile(first.path, 'utf8')).toBe(text)
    expect(await vault.tokens.authenticate(text.trim())).toMatchObject({
      kind: 'user',
      name: 'admin',
      workspaceId: vault.owner.workspaceId,
    })
    expect(vault.audit.actions).toEqual(['token.create'])
    await expect(vault.tokens.revoke(vault.owner, 'admin')).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('is renewed by deleting its file, which ends the old one', async () => {
    const { path } = await vault.tokens.ensureAdminToken(vault.dir)
    const old = (await readFile(path, 'utf8')).trim()
    await unlink(path)
    expect((await vault.tokens.ensureAdminToken(vault.dir)).created).toBe(true)
    expect(await vault.tokens.authenticate(old)).toBeUndefined()
    expect(await vault.tokens.authenticate((await readFile(path, 'utf8')).trim())).toBeDefined()
    expect((await vault.tokens.list(vault.owner, firstPage)).items.map((token) => token.name)).toEqual(['admin'])
  })

  it('is refused, and left as it is, when others can read its file or it holds something else', async () => {
    const { path } = await vault.tokens.ensureAdminToken(vault.dir)
    const text = await readFile(path, 'utf8')
    await chmod(path, 0o640)
    await expect(vault.tokens.ensureAdminToken(vault.dir)).rejects.toMatchObject({ code: 'config_invalid' })
    expect(await readFile(path, 'utf8')).toBe(text)
    await chmod(path, 0o600)
    await writeFile(path, 'hunter2\n')
    const refusal = vault.tokens.ensureAdminToken(vault.dir)
    await expect(refusal).rejects.toMatchObject({ code: 'config_invalid' })
    await expect(refusal).rejects.not.toThrow(/hunter2/)
    expect(await readFile(path, 'utf8')).toBe('hunter2\n')
  })

  it('is one and the same for two processes that start together', async () => {
    const other = await openVault({ dir: vault.dir })
    const both = await Promise.all([vault, other].map(async (each) => await each.tokens.ensureAdminToken(vault.dir)))
    expect(both.filter((each) => each.created)).toHaveLength(1)
    const text = (await readFile(both[0]?.path ?? '', 'utf8')).trim()
    expect(await vault.tokens.authenticate(text)).toBeDefined()
    expect(await other.tokens.authenticate(text)).toBeDefined()
    await other.close()
  })
})
