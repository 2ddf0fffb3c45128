/** Account secrets appear in every workspace until it has one of the same name, and again once that one is gone. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Principal } from '../../src/core/principal.ts'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { openVault, type Vault } from './open-vault.ts'

const page = { limit: 200, cursor: null }
let vault: Vault
let account: Principal
let workspace: Principal

beforeEach(async () => {
  vault = await openVault()
  account = await vault.workspaces.enterAccount(vault.owner)
  workspace = vault.owner
})

afterEach(async () => {
  await vault.remove()
})

type Step =
  | 'account'
  | 'own'
  | 'expire own'
  | 'disable own'
  | 'delete own'
  | 'destroy own'
  | 'revive own'
  | 'destroy account'

const steps: Readonly<Record<Step, () => Promise<unknown>>> = {
  account: async () => await create(account, 'value of the account'),
  own: async () => await create(workspace, 'value of the workspace'),
  'expire own': async () => {
    await vault.secrets.update(workspace, 'key', { expiresAt: '2030-01-01T01:00:00Z' })
    vault.time.now += 7_200_000
  },
  'disable own': async () => await vault.secrets.disableVersion(workspace, 'key', 1),
  'delete own': async () => await vault.secrets.softDelete(workspace, 'key'),
  'destroy own': async () => await vault.secrets.delete(workspace, 'key'),
  'revive own': async () => await vault.secrets.revive(workspace, 'key'),
  'destroy account': async () => await vault.secrets.delete(account, 'key'),
}

async function create(principal: Principal, text: string) {
  return await vault.secrets.create(principal, { name: 'key', value: SecretValue.fromText(text) })
}

/** What a sandbox that mounts `key` by name gets: a value, why not, or nothing. */
async function released(sandbox: SandboxIdentity, placeholder: string): Promise<string> {
  const found = await vault.reader.find(sandbox, placeholder)
  if (found === undefined) return 'nothing'
  if (found.state !== 'current') return found.state
  if (found.expiresAt !== null && found.expiresAt <= vault.time.now) return 'expired'
  return (await vault.reader.open(found)).reveal().toString()
}

const TABLE: readonly { readonly after: readonly Step[]; readonly shown: string; readonly released: string }[] = [
  { after: ['account'], shown: 'inherited', released: 'value of the account' },
  { after: ['own'], shown: 'own', released: 'value of the workspace' },
  { after: ['account', 'own'], shown: 'own', released: 'value of the workspace' },
  { after: ['own', 'account'], shown: 'own', released: 'value of the workspace' },
  { after: ['account', 'own', 'destroy own'], shown: 'inherited', released: 'value of the account' },
  { after: ['account', 'own', 'delete own'], shown: 'inherited', released: 'value of the account' },
  { after: ['account', 'own', 'delete own', 'revive own'], shown: 'own', released: 'value of the workspace' },
  { after: ['account', 'own', 'destroy account'], shown: 'own', released: 'value of the workspace' },
  { after: ['account', 'own', 'expire own'], shown: 'own', released: 'expired' },
  { after: ['account', 'own', 'disable own'], shown: 'own', released: 'disabled' },
  { after: ['own', 'delete own'], shown: 'gone', released: 'nothing' },
  { after: ['own', 'destroy own'], shown: 'not_found', released: 'nothing' },
  { after: ['account', 'destroy account'], shown: 'not_found', released: 'nothing' },
]

describe('what a workspace sees and a sandbox gets', () => {
  it.each(TABLE)('after $after: shown $shown, released $released', async ({ after, shown, released: wanted }) => {
    const [first = 'own', ...rest] = after
    await steps[first]()
    const mounts = { KEY: 'key' }
    const { sandbox, token } = await vault.sandboxes.create(workspace, { name: 'box', mounts })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    const held = sandbox.env['KEY'] ?? ''
    for (const step of rest) await steps[step]()
    const seen = await vault.secrets
      .get(workspace, 'key')
      .then((secret) => (secret.inherited ? 'inherited' : 'own'))
      .catch((error: { code: string }) => error.code)
    expect(seen).toBe(shown)
    const listed = (await vault.secrets.list(workspace, page)).items.map((each) =>
      each.inherited ? 'inherited' : 'own',
    )
    expect(listed).toEqual(['inherited', 'own'].includes(shown) ? [shown] : [])
    expect(await released(identity, held)).toBe(wanted)
    const now = (await vault.sandboxes.get(workspace, 'box')).env['KEY']
    if (now !== undefined) expect(await released(identity, now)).toBe(wanted)
  })
})

describe('an inherited secret', () => {
  it('is not changed, deleted or disabled from the workspace', async () => {
    const { secret } = await create(account, 'value of the account')
    for (const ref of ['key', secret.id]) {
      for (const attempt of [
        vault.secrets.update(workspace, ref, { description: 'x' }),
        vault.secrets.delete(workspace, ref),
        vault.secrets.softDelete(workspace, ref),
        vault.secrets.disableVersion(workspace, ref, 1),
      ]) {
        await expect(attempt).rejects.toMatchObject({ code: 'not_found' })
      }
    }
    expect(await vault.secrets.get(account, 'key')).toEqual({ ...secret, inherited: false })
    expect(await vault.secrets.get(workspace, secret.id)).toMatchObject({ inherited: true, scopeId: account.scopeId })
  })

  it('shows its value to the account`s own readers only, whatever the workspace says', async () => {
    const value = SecretValue.fromText('value of the account')
    await vault.secrets.create(account, { name: 'key', value, readPolicy: 'permission' })
    const { secret } = await vault.tokens.create(workspace, { name: 'limited', role: 'admin' })
    const limited = (await vault.tokens.authenticate(secret)) as Principal
    expect((await vault.reveals.reveal(workspace, 'key')).value.reveal().toString()).toBe('value of the account')
    await expect(vault.reveals.reveal(limited, 'key')).rejects.toMatchObject({ code: 'forbidden' })
    const policy = { path: '**', permissions: ['read'], priority: 1000, principalId: limited.id } as const
    await vault.policies.create(limited, policy)
    await expect(vault.reveals.reveal(limited, 'key')).rejects.toMatchObject({ code: 'forbidden' })
    await vault.policies.create(account, policy)
    expect((await vault.reveals.reveal(limited, 'key')).value.reveal().toString()).toBe('value of the account')
  })

  it('is merged into pages in every order, without the overridden ones, and counted', async () => {
    for (const [at, name] of ['d', 'a', 'c', 'b', 'e'].entries()) {
      vault.time.now += 1000
      await vault.secrets.create(at % 2 === 0 ? account : workspace, { name, value: SecretValue.fromText('v') })
    }
    vault.time.now += 1000
    await vault.secrets.create(workspace, { name: 'd', value: SecretValue.fromText('v') })
    const list = async (request: Parameters<typeof vault.secrets.list>[1]) => {
      const seen: string[] = []
      let cursor: string | null = null
      do {
        const { items, nextCursor } = await vault.secrets.list(workspace, { ...request, cursor, limit: 2 })
        seen.push(...items.map((each) => (each.inherited ? `${each.name}*` : each.name)))
        cursor = nextCursor
      } while (cursor !== null)
      return seen.join(' ')
    }
    expect(await list(page)).toBe('a b c* d e*')
    expect(await list({ ...page, order: 'desc' })).toBe('e* d c* b a')
    expect(await list({ ...page, sort: 'createdAt' })).toBe('a c* b e* d')
    expect(await list({ ...page, from: 'own' })).toBe('a b d')
    expect(await list({ ...page, from: 'inherited' })).toBe('c* e*')
    expect((await vault.secrets.list(workspace, { ...page, limit: 1, total: true })).total).toBe(5)
    const { nextCursor } = await vault.secrets.list(workspace, { ...page, limit: 1 })
    const elsewhere = vault.secrets.list(workspace, { ...page, cursor: nextCursor, order: 'desc' })
    await expect(elsewhere).rejects.toMatchObject({ code: 'invalid_input' })
  })

  it('is explained: which one wins, where it may go, and why the other does not', async () => {
    const above = await create(account, 'value of the account')
    const own = await vault.secrets.create(workspace, {
      name: 'key',
      value: SecretValue.fromText('value of the workspace'),
      hosts: ['api.example.com'],
    })
    await vault.secrets.create(workspace, { name: 'unmounted', value: SecretValue.fromText('v') })
    await vault.sandboxes.create(workspace, { name: 'box', mounts: { KEY: 'key' } })
    const report = await vault.reports.effective(workspace, 'box')
    expect(report.mounts).toMatchObject([
      {
        env: 'KEY',
        ref: 'key',
        secret: { id: own.secret.id, inherited: false },
        refusal: null,
        hosts: ['api.example.com'],
        placements: ['credential-headers'],
        others: [{ id: above.secret.id, why: 'overridden' }],
      },
    ])
    expect(report.notMounted.map((each) => each.name)).toEqual(['unmounted'])
    await vault.secrets.disableVersion(workspace, 'key', 1)
    expect((await vault.reports.effective(workspace, 'box')).mounts[0]?.refusal?.state).toBe('disabled')
  })
})

describe('a vault', () => {
  it('has its own secrets only, and a sandbox mounts them by id or vault path', async () => {
    await create(workspace, 'value of the workspace')
    await vault.vaults.create(workspace, { name: 'agents' })
    const inside = await vault.vaults.enter(workspace, 'agents')
    expect((await vault.secrets.list(inside, page)).items).toEqual([])
    const { secret } = await vault.secrets.create(inside, {
      name: 'key',
      value: SecretValue.fromText('value of the vault'),
    })
    await expect(vault.secrets.get(workspace, secret.id)).rejects.toMatchObject({ code: 'not_found' })
    const mounts = { A: 'key', B: secret.id, C: 'vault://agents/key' }
    const { sandbox, token } = await vault.sandboxes.create(workspace, { name: 'box', mounts })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    expect(sandbox.env['B']).toBe(sandbox.env['C'])
    expect(await released(identity, sandbox.env['A'] ?? '')).toBe('value of the workspace')
    expect(await released(identity, sandbox.env['B'] ?? '')).toBe('value of the vault')
    const missing = vault.sandboxes.setMounts(workspace, 'box', { X: 'vault://agents/none' })
    await expect(missing).rejects.toMatchObject({ code: 'invalid_input' })
  })
})
