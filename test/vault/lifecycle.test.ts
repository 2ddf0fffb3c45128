/** A secret is put, renamed, disabled, deleted and revived with its placeholder and its history; nothing is undone unseen. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const value = (text = 'a value that is long') => SecretValue.fromText(text)
const page = { limit: 200, cursor: null }
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

describe('putting', () => {
  it('creates, then adds versions, keeps the placeholder, and unsets what a put leaves out', async () => {
    const first = await vault.secrets.put(vault.owner, 'api-keys/openai', {
      value: value(),
      type: 'api_key',
      metadata: { vendor: 'openai' },
      expiresAt: '2031-01-01T00:00:00Z',
      maxAccessCount: 5,
      readPolicy: 'permission',
      hosts: ['api.openai.com'],
    })
    expect(first).toMatchObject({ outcome: 'created', secret: { version: 1, maxAccessCount: 5 } })
    const second = await vault.secrets.put(vault.owner, 'api-keys/openai', { value: value('the second value') })
    expect(second.outcome).toBe('replaced')
    expect(second.secret).toMatchObject({
      version: 2,
      type: 'api_key',
      metadata: {},
      expiresAt: null,
      maxAccessCount: null,
      readPolicy: 'permission',
      hosts: ['api.openai.com'],
      placeholder: first.secret.placeholder,
    })
    expect(await vault.secrets.version(vault.owner, 'api-keys/openai', 1)).toMatchObject({
      metadata: { vendor: 'openai' },
      expiresAt: '2031-01-01T00:00:00.000Z',
      maxAccessCount: 5,
    })
  })

  it('revives a softly deleted one with its next version', async () => {
    const { secret } = await vault.secrets.put(vault.owner, 'key', { value: value() })
    await vault.secrets.softDelete(vault.owner, 'key')
    const again = await vault.secrets.put(vault.owner, 'key', { value: value('the second value') })
    expect(again).toMatchObject({
      outcome: 'revived',
      secret: { id: secret.id, version: 2, placeholder: secret.placeholder, deletedAt: null },
    })
    expect(vault.audit.actions).toEqual(['secret.create', 'secret.delete', 'secret.revive'])
  })

  it('begins anew after the old one was destroyed', async () => {
    const { secret } = await vault.secrets.put(vault.owner, 'key', { value: value() })
    await vault.secrets.delete(vault.owner, 'key')
    const again = await vault.secrets.put(vault.owner, 'key', { value: value() })
    expect(again).toMatchObject({ outcome: 'created', secret: { version: 1 } })
    expect(again.secret.placeholder).not.toBe(secret.placeholder)
  })

  it('generates a value that nobody has seen, and keeps what is there', async () => {
    const made = await vault.secrets.generate(vault.owner, 'made', { length: 40, charset: 'alphanumeric' })
    expect(made.secret.hint).toMatch(/^••••[A-Za-z0-9]{4}$/)
    await vault.secrets.update(vault.owner, 'made', { metadata: { a: 1 }, expiresAt: '2031-01-01T00:00:00Z' })
    const again = await vault.secrets.generate(vault.owner, 'made', {})
    expect(again.secret).toMatchObject({ version: 2, metadata: { a: 1 }, expiresAt: '2031-01-01T00:00:00.000Z' })
    await expect(vault.secrets.generate(vault.owner, 'made', { length: 7 })).rejects.toMatchObject({
      code: 'invalid_input',
    })
  })
})

describe('changing', () => {
  it('refuses a write that was meant for another version', async () => {
    await vault.secrets.create(vault.owner, { name: 'key', value: value() })
    await vault.secrets.update(vault.owner, 'key', { value: value() }, { ifVersion: 1 })
    const late = vault.secrets.update(vault.owner, 'key', { value: value() }, { ifVersion: 1 })
    await expect(late).rejects.toMatchObject({ code: 'conflict' })
    expect((await vault.secrets.get(vault.owner, 'key')).version).toBe(2)
  })

  it('renames, mounts included, and refuses a name that is taken', async () => {
    await vault.secrets.create(vault.owner, { name: 'old', value: value() })
    await vault.secrets.create(vault.owner, { name: 'taken', value: value() })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'old' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    await vault.secrets.update(vault.owner, 'old', { name: 'new' })
    expect((await vault.sandboxes.get(vault.owner, 'box')).mounts).toEqual({ KEY: 'new' })
    expect((await vault.reader.find(identity, sandbox.env['KEY'] ?? ''))?.name).toBe('new')
    await expect(vault.secrets.update(vault.owner, 'new', { name: 'taken' })).rejects.toMatchObject({
      code: 'conflict',
    })
  })

  it('finds by external id, which is unique among live ones', async () => {
    await vault.secrets.create(vault.owner, { name: 'one', value: value(), externalId: 'ext-1' })
    expect((await vault.secrets.getByExternalId(vault.owner, 'ext-1')).name).toBe('one')
    const second = vault.secrets.create(vault.owner, { name: 'two', value: value(), externalId: 'ext-1' })
    await expect(second).rejects.toMatchObject({ code: 'conflict' })
    await expect(vault.secrets.getByExternalId(vault.owner, 'ext-2')).rejects.toMatchObject({ code: 'not_found' })
    await vault.secrets.delete(vault.owner, 'one')
    await vault.secrets.create(vault.owner, { name: 'two', value: value(), externalId: 'ext-1' })
  })

  it.each([
    ['metadata that is no object', { metadata: [] as unknown as Record<string, unknown> }],
    ['metadata that is too deep', { metadata: JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) as object }],
    ['metadata that is too large', { metadata: { a: 'x'.repeat(16_384) } }],
    ['the value in the metadata', { metadata: { note: 'it is a value that is long!' } }],
    ['the value in the description', { description: 'a value that is long' }],
    ['a budget of nothing', { maxAccessCount: 0 }],
    ['an external id with a line break', { externalId: 'a\nb' }],
    ['a rotation every half day', { rotationPolicy: { everyDays: 0.5 } }],
  ])('refuses %s', async (_, part) => {
    const create = vault.secrets.create(vault.owner, { name: 'bad', value: value(), ...(part as object) })
    await expect(create).rejects.toMatchObject({ code: 'invalid_input' })
    expect(vault.audit.events).toEqual([])
  })
})

describe('deleting softly', () => {
  it('hides it, frees its name, keeps its mounts, releases nothing, and is undone by reviving', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'key', value: value() })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'key' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    await vault.secrets.softDelete(vault.owner, 'key')
    for (const ref of ['key', secret.id]) {
      await expect(vault.secrets.get(vault.owner, ref)).rejects.toMatchObject({ code: 'gone' })
    }
    expect((await vault.secrets.list(vault.owner, page)).items).toEqual([])
    expect((await vault.secrets.list(vault.owner, { ...page, deleted: true })).items).toMatchObject([
      { id: secret.id, state: 'deleted' },
    ])
    expect(await vault.reader.find(identity, sandbox.env['KEY'] ?? '')).toBeUndefined()
    await vault.secrets.revive(vault.owner, 'key')
    expect(await vault.reader.find(identity, sandbox.env['KEY'] ?? '')).toMatchObject({ name: 'key' })
    await vault.secrets.softDelete(vault.owner, 'key')
    await vault.secrets.create(vault.owner, { name: 'key', value: value() })
    await expect(vault.secrets.revive(vault.owner, secret.id)).rejects.toMatchObject({ code: 'conflict' })
    await vault.secrets.delete(vault.owner, secret.id)
    await expect(vault.secrets.revive(vault.owner, secret.id)).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('listing', () => {
  it('takes all filters together', async () => {
    const stranger = await foreignPrincipal(vault.database)
    const make = async (name: string, part: object) =>
      await vault.secrets.create(vault.owner, { name, value: value(), ...part })
    await make('prod/a', { labels: { env: 'prod', team: 'pay' }, type: 'api_key', description: 'Stripe LIVE' })
    await make('prod/b', { labels: { env: 'prod' }, type: 'password', externalId: 'ext-9' })
    await make('dev/a', { labels: { env: 'dev', team: 'pay' } })
    await vault.secrets.create(stranger, { name: 'prod/theirs', value: value() })
    const names = async (filter: object) =>
      (await vault.secrets.list(vault.owner, { ...page, ...filter })).items.map((each) => each.name).join(' ')
    expect(await names({ prefix: 'prod/' })).toBe('prod/a prod/b')
    expect(await names({ name: '/a' })).toBe('dev/a prod/a')
    expect(await names({ query: 'stripe live' })).toBe('prod/a')
    expect(await names({ query: 'EXT-9' })).toBe('prod/b')
    expect(await names({ labels: { env: 'prod', team: 'pay' } })).toBe('prod/a')
    expect(await names({ label: 'team', labels: { env: 'dev' } })).toBe('dev/a')
    expect(await names({ type: 'password' })).toBe('prod/b')
    expect(await names({ labels: { env: 'pro' } })).toBe('')
    expect(await names({ prefix: "'; DROP TABLE secrets; --" })).toBe('')
    await expect(names({ sort: 'value' })).rejects.toMatchObject({ code: 'invalid_input' })
  })
})

describe('using', () => {
  it('is noted within a second, and reported when it is long ago', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'used', value: value() })
    await vault.secrets.create(vault.owner, { name: 'idle', value: value() })
    vault.time.now += 10 * 86_400_000
    vault.usage.used(secret.id, vault.time.now)
    vault.usage.used(secret.id, vault.time.now - 1000)
    await vault.usage.flush()
    expect((await vault.secrets.get(vault.owner, 'used')).lastUsedAt).toBe('2030-01-11T00:00:00.000Z')
    const { items } = await vault.reports.unused(vault.owner, { ...page, since: '2030-01-05T00:00:00Z' })
    expect(items.map((each) => [each.secret.name, each.days])).toEqual([['idle', 10]])
  })

  it('does not undo a change that was made meanwhile', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'key', value: value() })
    vault.usage.used(secret.id, vault.time.now + 5)
    await Promise.all([vault.usage.flush(), vault.secrets.update(vault.owner, 'key', { description: 'new' })])
    expect(await vault.secrets.get(vault.owner, 'key')).toMatchObject({
      description: 'new',
      lastUsedAt: '2030-01-01T00:00:00.005Z',
    })
  })
})

describe('a rotation policy', () => {
  it('is due after its days, is said once, and begins again with the next version', async () => {
    await vault.secrets.create(vault.owner, { name: 'key', value: value(), rotationPolicy: { everyDays: 30 } })
    expect(await vault.reminder.check()).toBe(0)
    vault.time.now += 30 * 86_400_000
    expect((await vault.reports.rotationDue(vault.owner, page)).items.map((each) => each.name)).toEqual(['key'])
    expect([await vault.reminder.check(), await vault.reminder.check()]).toEqual([1, 0])
    expect(vault.audit.events.at(-1)).toMatchObject({
      action: 'secret.rotation_due',
      workspace: vault.owner.workspaceId,
      target: { name: 'key' },
    })
    const { secret } = await vault.secrets.update(vault.owner, 'key', { value: value('the second value') })
    expect(secret.rotateAt).toBe('2030-03-02T00:00:00.000Z')
    expect((await vault.reports.rotationDue(vault.owner, page)).items).toEqual([])
    vault.time.now += 30 * 86_400_000
    expect(await vault.reminder.check()).toBe(1)
  })

  it('H08: gives old or new whole values while it turns, and only the new one once the change is made', async () => {
    await vault.secrets.create(vault.owner, { name: 'key', value: value('value number 0') })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'key' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    const open = async () => {
      const found = await vault.reader.find(identity, sandbox.env['KEY'] ?? '')
      if (found === undefined) throw new Error('not mounted')
      return { version: found.version, text: (await vault.reader.open(found)).reveal().toString() }
    }
    for (let round = 1; round <= 100; round++) {
      const inFlight = await vault.reader.find(identity, sandbox.env['KEY'] ?? '')
      const turning = vault.secrets.update(vault.owner, 'key', { value: value(`value number ${round}`) })
      const during = await Promise.all(Array.from({ length: 20 }, open))
      for (const { version, text } of during) expect(text).toBe(`value number ${version - 1}`)
      await turning
      expect(await open()).toEqual({ version: round + 1, text: `value number ${round}` })
      if (inFlight === undefined) throw new Error('not mounted')
      expect((await vault.reader.open(inFlight)).reveal().toString()).toBe(`value number ${round - 1}`)
    }
  })
})
