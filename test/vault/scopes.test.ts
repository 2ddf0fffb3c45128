/** A credential reaches its own scope and those below, with its role and no more; all else is as if it were not there. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TOKEN_PREFIXES } from '../../src/core/ports.ts'
import type { Principal, Role } from '../../src/core/principal.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { openVault, type Vault } from './open-vault.ts'

const page = { limit: 200, cursor: null }
const value = () => SecretValue.fromText('a value that is long')
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

async function bearer(
  input: Parameters<typeof vault.tokens.create>[1],
  by: Principal = vault.owner,
): Promise<Principal> {
  const { secret } = await vault.tokens.create(by, input)
  const principal = await vault.tokens.authenticate(secret)
  if (principal === undefined) throw new Error('not recognised')
  return principal
}

describe('scopes', () => {
  it('are created, found by id, name and external key, listed and entered', async () => {
    const made = await vault.workspaces.create(vault.owner, { name: 'Team A', externalKey: 'stack-uid-1' })
    for (const ref of [made.id, 'Team A', 'stack-uid-1']) {
      expect(await vault.workspaces.get(vault.owner, ref)).toEqual(made)
    }
    expect((await vault.workspaces.list(vault.owner, page)).items.map((each) => each.name)).toEqual([
      'Team A',
      'default',
    ])
    const inside = await vault.workspaces.enter(vault.owner, 'stack-uid-1')
    await vault.secrets.create(inside, { name: 'key', value: value() })
    await expect(vault.secrets.get(vault.owner, 'key')).rejects.toMatchObject({ code: 'not_found' })
    for (const taken of [{ name: 'Team A' }, { name: 'Team B', externalKey: 'stack-uid-1' }]) {
      await expect(vault.workspaces.create(vault.owner, taken)).rejects.toMatchObject({ code: 'conflict' })
    }
  })

  it('are deleted with everything in them, and the default one is kept', async () => {
    await vault.workspaces.create(vault.owner, { name: 'gone' })
    const inside = await vault.workspaces.enter(vault.owner, 'gone')
    const { secret } = await vault.tokens.create(inside, { name: 'inner' })
    await vault.vaults.create(inside, { name: 'agents' })
    const agents = await vault.vaults.enter(inside, 'agents')
    await vault.secrets.create(inside, { name: 'key', value: value() })
    await vault.secrets.create(agents, { name: 'key', value: value() })
    const box = await vault.sandboxes.create(inside, { name: 'box', mounts: { KEY: 'key' } })
    await vault.workspaces.delete(vault.owner, 'gone')
    expect(await vault.tokens.authenticate(secret)).toBeUndefined()
    expect(await vault.sandboxes.authenticate('box', box.token)).toBeUndefined()
    await expect(vault.workspaces.enter(vault.owner, 'gone')).rejects.toMatchObject({ code: 'not_found' })
    const left = await vault.database.query(
      async (db) =>
        await db.selectFrom('secret_versions').select('ciphertext').where('ciphertext', 'is not', null).execute(),
    )
    expect(left).toEqual([])
    await expect(vault.workspaces.delete(vault.owner, 'default')).rejects.toMatchObject({ code: 'conflict' })
  })

  it('beyond a credential are not found, whether they are there or not', async () => {
    await vault.workspaces.create(vault.owner, { name: 'other' })
    const other = await vault.workspaces.enter(vault.owner, 'other')
    await vault.vaults.create(other, { name: 'theirs' })
    const limited = await bearer({ name: 'limited', role: 'admin' })
    for (const ref of ['other', other.workspaceId, 'no-such', '00000000-0000-7000-8000-000000000000']) {
      await expect(vault.workspaces.enter(limited, ref)).rejects.toMatchObject({ code: 'not_found' })
    }
    await expect(vault.vaults.get(limited, 'theirs')).rejects.toMatchObject({ code: 'not_found' })
    await expect(vault.workspaces.enterAccount(limited)).rejects.toMatchObject({ code: 'not_found' })
    await expect(vault.workspaces.create(limited, { name: 'mine' })).rejects.toMatchObject({ code: 'not_found' })
    expect((await vault.workspaces.list(limited, page)).items.map((each) => each.name)).toEqual(['default'])
    const wider = vault.tokens.create(limited, { name: 'wider', scopeId: limited.accountId })
    await expect(wider).rejects.toMatchObject({ code: 'not_found' })
  })

  it('can be a vault only, and then nothing else is seen', async () => {
    const { id } = await vault.vaults.create(vault.owner, { name: 'agents' })
    await vault.secrets.create(vault.owner, { name: 'outside', value: value() })
    const agent = await bearer({ name: 'inside', role: 'member', scopeId: id })
    expect(agent.scopeId).toBe(id)
    await vault.secrets.create(agent, { name: 'inside', value: value() })
    expect((await vault.secrets.list(agent, page)).items.map((each) => each.name)).toEqual(['inside'])
    await expect(vault.workspaces.enter(agent, 'default')).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('tokens', () => {
  it.each(TOKEN_PREFIXES)('may begin with %s', async (prefix) => {
    const { token, secret } = await vault.tokens.create(vault.owner, { name: 'foreign', prefix })
    expect(secret).toMatch(new RegExp(`^${prefix}[A-Za-z0-9_-]{43}$`))
    const principal = await vault.tokens.authenticate(secret)
    const role = { pub_: 'viewer', ocv_: 'agent' }[prefix as string] ?? 'member'
    expect([principal?.role, token.role, token.prefix]).toEqual([role, role, prefix])
    expect(await vault.tokens.authenticate(secret, 'runner')).toBeUndefined()
  })

  it('of kind pub_ are never more than viewers, and no token is more than whom it speaks for', async () => {
    const wide = vault.tokens.create(vault.owner, { name: 'wide', prefix: 'pub_', role: 'admin' })
    await expect(wide).rejects.toMatchObject({ code: 'invalid_input' })
    const agent = await vault.principals.create(vault.owner, { kind: 'agent', name: 'Bob', role: 'agent' })
    const more = vault.tokens.create(vault.owner, { name: 'more', principalId: agent.id, role: 'admin' })
    await expect(more).rejects.toMatchObject({ code: 'invalid_input' })
    const bob = await bearer({ name: 'bob', principalId: agent.id, prefix: 'ocv_' })
    expect(bob).toMatchObject({ id: agent.id, kind: 'agent', role: 'agent', name: 'Bob' })
    await vault.principals.delete(vault.owner, agent.id)
    expect((await vault.tokens.list(vault.owner, page)).items).toEqual([])
  })

  it.each<[Role, readonly string[]]>([
    ['admin', ['tokens', 'policies', 'workspaces', 'principals', 'settings', 'sandboxes']],
    ['member', ['sandboxes']],
    ['viewer', []],
    ['agent', []],
  ])('of the role %s change only %j', async (role, changes) => {
    const who = await bearer({ name: 'who', role, scopeId: vault.owner.accountId })
    const attempts: Record<string, () => Promise<unknown>> = {
      tokens: async () => await vault.tokens.create(who, { name: 'x' }),
      policies: async () => await vault.policies.create(who, { path: '**', permissions: ['read'] }),
      workspaces: async () => await vault.workspaces.create(who, { name: 'x' }),
      principals: async () => await vault.principals.create(who, { kind: 'agent', name: 'x', role: 'agent' }),
      settings: async () => await vault.settings.update(who, { onDenied: 'withhold' }),
      sandboxes: async () => await vault.sandboxes.create(who, { name: 'x', mounts: {} }),
    }
    const done: string[] = []
    for (const [name, attempt] of Object.entries(attempts)) {
      await attempt().then(
        () => done.push(name),
        (error: unknown) => expect(error).toMatchObject({ code: 'forbidden' }),
      )
    }
    expect(done).toEqual(changes)
  })
})

describe('policies', () => {
  it('give an agent some paths, take some from a member, and hide the rest from both', async () => {
    for (const name of ['prod/a', 'prod/b', 'dev/a']) {
      await vault.secrets.create(vault.owner, { name, value: value(), readPolicy: 'permission' })
    }
    const agent = await bearer({ name: 'agent', role: 'agent' })
    const member = await bearer({ name: 'member' })
    expect((await vault.secrets.list(agent, { ...page, total: true })).total).toBe(0)
    await vault.policies.create(vault.owner, { path: 'prod/*', permissions: ['list', 'read'], principalId: agent.id })
    await vault.policies.create(vault.owner, { path: 'prod/b', permissions: ['list', 'read'], effect: 'deny' })
    const names = async (who: Principal) =>
      (await vault.secrets.list(who, { limit: 1, cursor: null, total: true })).items.map((each) => each.name)
    expect(await names(agent)).toEqual(['prod/a'])
    expect((await vault.secrets.list(member, page)).items.map((each) => each.name)).toEqual(['dev/a', 'prod/a'])
    expect((await vault.reveals.reveal(agent, 'prod/a')).value.reveal().toString()).toBe('a value that is long')
    for (const ref of ['prod/b', 'dev/a', 'no-such']) {
      await expect(vault.reveals.reveal(agent, ref)).rejects.toMatchObject({ code: 'not_found' })
    }
    await expect(vault.reveals.reveal(member, 'prod/a')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(vault.secrets.update(agent, 'prod/a', { description: 'x' })).rejects.toMatchObject({
      code: 'forbidden',
    })
    const hidden = vault.sandboxes.create(member, { name: 'box', mounts: { KEY: 'prod/b' } })
    await expect(hidden).rejects.toMatchObject({ code: 'invalid_input' })
  })

  it('are listed, replaced and deleted in their own scope, and end by themselves', async () => {
    const made = await vault.policies.create(vault.owner, {
      path: 'a/**',
      permissions: ['read'],
      expiresAt: '2030-01-01T01:00:00Z',
      conditions: { ip: '10.0.0.0/8' },
    })
    expect((await vault.policies.list(vault.owner, page)).items).toEqual([made])
    const replaced = await vault.policies.replace(vault.owner, made.id, { path: 'b/**', permissions: ['list', 'use'] })
    expect(replaced).toMatchObject({ id: made.id, path: 'b/**', expiresAt: null, conditions: {} })
    await vault.workspaces.create(vault.owner, { name: 'other' })
    const other = await vault.workspaces.enter(vault.owner, 'other')
    await expect(vault.policies.get(other, made.id)).rejects.toMatchObject({ code: 'not_found' })
    await vault.policies.delete(vault.owner, made.id)
    await expect(vault.policies.get(vault.owner, made.id)).rejects.toMatchObject({ code: 'not_found' })
    for (const bad of [{ path: 'a b ' }, { permissions: [] }, { priority: 1.5 }, { effect: 'maybe' as 'deny' }]) {
      const create = vault.policies.create(vault.owner, { path: 'a', permissions: ['read'], ...bad })
      await expect(create).rejects.toMatchObject({ code: 'invalid_input' })
    }
  })
})

describe('settings of a workspace', () => {
  it('come before the server`s, for secrets and for the proxy, at once', async () => {
    expect(await vault.settings.settingsOf(vault.owner.workspaceId)).toMatchObject({ onDenied: null })
    await vault.settings.update(vault.owner, { requireHosts: true, onDenied: 'withhold', placements: ['header:*'] })
    expect(await vault.settings.settingsOf(vault.owner.workspaceId)).toEqual({
      requireHosts: true,
      onDenied: 'withhold',
      inBody: null,
      placements: ['header:*'],
    })
    expect(vault.settings.settingsOf(vault.owner.workspaceId)).not.toBeInstanceOf(Promise)
    await expect(vault.secrets.create(vault.owner, { name: 'any', value: value() })).rejects.toMatchObject({
      code: 'invalid_input',
    })
    const made = await vault.secrets.create(vault.owner, { name: 'some', value: value(), hosts: ['a.example.com'] })
    expect(made.secret.placements).toEqual(['header:*'])
    await vault.settings.update(vault.owner, { requireHosts: null })
    await vault.secrets.create(vault.owner, { name: 'any', value: value() })
  })
})
