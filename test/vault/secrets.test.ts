/** Secrets are created, changed, rotated and destroyed in their own workspace only, each change recorded first. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ChangeEvent } from '../../src/core/audit-event.ts'
import { CoatcheckError } from '../../src/core/errors.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { foreignPrincipal, openVault, type Vault } from './open-vault.ts'

const value = (text = 'a long enough value') => SecretValue.fromText(text)
const firstPage = { limit: 200, cursor: null }
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

describe('creating', () => {
  it('gives a placeholder, the stored form of everything else, and never the value', async () => {
    const { secret, warnings } = await vault.secrets.create(vault.owner, {
      name: 'prod/stripe',
      value: value('sk_live_0123456789abcdef'),
      hosts: ['API.Stripe.com.', 'api.stripe.com'],
      placements: ['header:X-Api-Key', 'query:key'],
      dress: 'sk_live_',
      labels: { team: 'pay', env: 'prod' },
      expiresAt: '2031-01-01T01:00:00+01:00',
    })
    expect(secret).toMatchObject({
      name: 'prod/stripe',
      workspaceId: vault.owner.workspaceId,
      hosts: ['api.stripe.com'],
      placements: ['header:x-api-key', 'query:key'],
      labels: { env: 'prod', team: 'pay' },
      hint: '••••cdef',
      version: 1,
      expiresAt: '2031-01-01T00:00:00.000Z',
      createdBy: 'system',
      createdAt: '2030-01-01T00:00:00.000Z',
      allowPlaintext: false,
      description: null,
      type: 'generic',
    })
    expect(secret.placeholder).toMatch(/^sk_live_xcoat_[0-9a-hjkmnp-tv-z]{26}$/)
    expect(warnings).toEqual([])
    expect(JSON.stringify([secret, vault.audit.events])).not.toContain('0123456789')
    expect(await vault.secrets.get(vault.owner, 'prod/stripe')).toEqual(secret)
    expect(await vault.secrets.get(vault.owner, secret.id)).toEqual(secret)
  })

  it('warns of a short value, of missing hosts and of a name in mixed scripts', async () => {
    const { warnings } = await vault.secrets.create(vault.owner, { name: 'short', value: value('short') })
    expect(warnings.join(' ')).toMatch(/not masked.*any host/)
    const mixed = await vault.secrets.create(vault.owner, { name: 'mixed', value: value(), hosts: ['аpi.example.com'] })
    expect(mixed.secret.hosts?.[0]).toMatch(/^xn--/)
    expect(mixed.warnings.join(' ')).toMatch(/mixes scripts/)
  })

  it('refuses a name that a live secret has with conflict', async () => {
    await vault.secrets.create(vault.owner, { name: 'twice', value: value() })
    await expect(vault.secrets.create(vault.owner, { name: 'twice', value: value() })).rejects.toMatchObject({
      code: 'conflict',
    })
    const both = await Promise.allSettled(
      ['race', 'race'].map(async (name) => await vault.secrets.create(vault.owner, { name, value: value() })),
    )
    expect(both.map((each) => each.status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it.each([
    ['an empty host list', { hosts: [] }],
    ['a public suffix', { hosts: ['*.co.uk'] }],
    ['no placements', { placements: [] }],
    ['an unknown placement', { placements: ['cookie'] }],
    ['a dress that is not one', { dress: 'a b' }],
    ['a past expiry', { expiresAt: '2001-01-01T00:00:00Z' }],
    ['a value with a line break', { value: value('a\nb') }],
    ['a value with a placeholder', { value: value('xcoat_00000000000000000000000000') }],
    ['a type that is none', { type: 'toString' as 'generic' }],
  ])('refuses %s, records nothing and stores nothing', async (_, part) => {
    const create = vault.secrets.create(vault.owner, { name: 'bad', value: value(), ...part })
    await expect(create).rejects.toMatchObject({ code: 'invalid_input' })
    expect(vault.audit.events).toEqual([])
    expect((await vault.secrets.list(vault.owner, firstPage)).items).toEqual([])
  })

  it('demands hosts where the workspace does, at creation and afterwards', async () => {
    const strict = await openVault({ policy: { requireHosts: true } })
    const create = strict.secrets.create(strict.owner, { name: 'any', value: value() })
    await expect(create).rejects.toMatchObject({ code: 'invalid_input' })
    await strict.secrets.create(strict.owner, { name: 'some', value: value(), hosts: ['a.example.com'] })
    const clear = strict.secrets.update(strict.owner, 'some', { hosts: null })
    await expect(clear).rejects.toMatchObject({ code: 'invalid_input' })
    await strict.remove()
  })
})

describe('changing', () => {
  it('adds a version for a value, keeps the placeholder and lists the versions newest first', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'turning', value: value('first value, 1111') })
    vault.time.now += 5_000
    const rotated = await vault.secrets.update(vault.owner, 'turning', { value: value('second value, 2222') })
    expect(rotated.secret).toMatchObject({
      placeholder: secret.placeholder,
      version: 2,
      hint: '••••2222',
      updatedAt: '2030-01-01T00:00:05.000Z',
    })
    expect(await vault.secrets.versions(vault.owner, secret.id)).toMatchObject([
      { version: 2, createdAt: '2030-01-01T00:00:05.000Z', createdBy: 'system', disabledAt: null },
      { version: 1, createdAt: '2030-01-01T00:00:00.000Z', createdBy: 'system', disabledAt: null },
    ])
  })

  it('leaves out what the patch leaves out and clears what it sets to null', async () => {
    const input = { name: 'kept', value: value(), description: 'old', hosts: ['a.example.com'], labels: { a: '1' } }
    const before = await vault.secrets.create(vault.owner, { ...input, expiresAt: '2031-01-01T00:00:00Z' })
    const { secret } = await vault.secrets.update(vault.owner, 'kept', {
      description: null,
      expiresAt: null,
      hosts: null,
    })
    expect(secret).toEqual({ ...before.secret, description: null, expiresAt: null, hosts: null })
    expect((await vault.secrets.update(vault.owner, 'kept', {})).secret).toEqual(secret)
  })

  it('refuses placements that do not suit the value that is there', async () => {
    const secret = { name: 'pem', value: value('line\nline'), placements: ['query:pem'] }
    await vault.secrets.create(vault.owner, secret)
    const update = vault.secrets.update(vault.owner, 'pem', { placements: ['header:x-pem'] })
    await expect(update).rejects.toMatchObject({ code: 'invalid_input' })
    const both = await vault.secrets.update(vault.owner, 'pem', { placements: ['header:x-pem'], value: value('flat') })
    expect(both.secret.placements).toEqual(['header:x-pem'])
  })

  it('gives each of many rotations at once its own version', async () => {
    await vault.secrets.create(vault.owner, { name: 'busy', value: value() })
    await Promise.all(
      Array.from({ length: 20 }, async () => await vault.secrets.update(vault.owner, 'busy', { value: value() })),
    )
    const versions = await vault.secrets.versions(vault.owner, 'busy')
    expect(versions.map((each) => each.version)).toEqual(Array.from({ length: 21 }, (_, at) => 21 - at))
  })
})

describe('deleting', () => {
  it('destroys every version, frees the name and leaves a tombstone whose placeholder is never used again', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'gone', value: value() })
    await vault.secrets.update(vault.owner, 'gone', { value: value() })
    await vault.sandboxes.create(vault.owner, { name: 'holder', mounts: { KEY: 'gone' } })
    await vault.secrets.delete(vault.owner, 'gone')
    for (const key of ['gone', secret.id]) {
      await expect(vault.secrets.get(vault.owner, key)).rejects.toMatchObject({ code: 'not_found' })
      await expect(vault.secrets.delete(vault.owner, key)).rejects.toMatchObject({ code: 'not_found' })
    }
    const versions = await vault.database.query(
      async (db) => await db.selectFrom('secret_versions').select(['ciphertext', 'wrapped_key']).execute(),
    )
    expect(versions).toEqual([
      { ciphertext: null, wrapped_key: null },
      { ciphertext: null, wrapped_key: null },
    ])
    expect((await vault.sandboxes.get(vault.owner, 'holder')).mounts).toEqual({})
    const again = await vault.secrets.create(vault.owner, { name: 'gone', value: value() })
    expect(again.secret.id).not.toBe(secret.id)
    expect(again.secret.placeholder).not.toBe(secret.placeholder)
    expect((await vault.sandboxes.get(vault.owner, 'holder')).mounts).toEqual({})
  })
})

describe('listing', () => {
  it('pages through every secret once, in the order of their names', async () => {
    const names = ['b', 'a', 'c/2', 'c/1', 'd'].sort()
    for (const name of names) await vault.secrets.create(vault.owner, { name, value: value() })
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof vault.secrets.list>> = await vault.secrets.list(vault.owner, {
        limit: 2,
        cursor,
      })
      seen.push(...page.items.map((secret) => secret.name))
      cursor = page.nextCursor
    } while (cursor !== null)
    expect(seen).toEqual(names)
  })

  it('filters by a part of the name and by label, exactly', async () => {
    await vault.secrets.create(vault.owner, { name: 'prod/a', value: value(), labels: { env: 'prod', x: '1' } })
    await vault.secrets.create(vault.owner, { name: 'test/a', value: value(), labels: { env: 'prod-2' } })
    await vault.secrets.create(vault.owner, { name: 'trap', value: value(), labels: { note: '"env":"prod"' } })
    const names = async (filter: { name?: string; label?: string }) =>
      (await vault.secrets.list(vault.owner, { ...firstPage, ...filter })).items.map((secret) => secret.name)
    expect(await names({ name: '/a' })).toEqual(['prod/a', 'test/a'])
    expect(await names({ name: '%' })).toEqual([])
    expect(await names({ label: 'env=prod' })).toEqual(['prod/a'])
    expect(await names({ label: 'env' })).toEqual(['prod/a', 'test/a'])
    expect(await names({ label: 'env', name: 'prod' })).toEqual(['prod/a'])
    expect(await names({ label: "' OR 1=1 --" })).toEqual([])
  })

  it.each([
    { limit: 0, cursor: null },
    { limit: 201, cursor: null },
    { limit: 1.5, cursor: null },
    { limit: 1, cursor: '' },
    { limit: 1, cursor: '$$' },
  ])('refuses the page %o', async (page) => {
    await expect(vault.secrets.list(vault.owner, page)).rejects.toMatchObject({ code: 'invalid_input' })
  })
})

describe('another workspace', () => {
  it('finds a foreign secret as little as a missing one, by any verb', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'mine', value: value() })
    const stranger = await foreignPrincipal(vault.database)
    const attempts = (key: string) => [
      vault.secrets.get(stranger, key),
      vault.secrets.update(stranger, key, { description: 'x' }),
      vault.secrets.update(stranger, key, { value: value() }),
      vault.secrets.update(stranger, key, {}),
      vault.secrets.delete(stranger, key),
      vault.secrets.versions(stranger, key),
    ]
    const answers = async (key: string) =>
      (await Promise.allSettled(attempts(key))).map((each) => {
        const error = (each as PromiseRejectedResult).reason as CoatcheckError
        return [error.code, error.message, error.hint]
      })
    const foreign = await answers(secret.id)
    expect(foreign.map(([code]) => code)).toEqual(Array.from({ length: 6 }, () => 'not_found'))
    expect(await answers('mine')).toEqual(foreign)
    expect(await answers('01890a5d-ac96-774b-bcce-b302099a8057')).toEqual(foreign)
    expect((await vault.secrets.list(stranger, firstPage)).items).toEqual([])
    expect((await vault.secrets.create(stranger, { name: 'mine', value: value() })).secret.id).not.toBe(secret.id)
    expect((await vault.secrets.get(vault.owner, 'mine')).version).toBe(1)
  })
})

describe('the record', () => {
  it('names who, what and which fields, before the change, and never their contents', async () => {
    await vault.secrets.create(vault.owner, { name: 'logged', value: value('canary-canary'), hosts: ['a.example.com'] })
    await vault.secrets.update(vault.owner, 'logged', { value: value('canary-canary-2'), description: 'canary' })
    await vault.secrets.update(vault.owner, 'logged', { hosts: null })
    await vault.secrets.delete(vault.owner, 'logged')
    const events = vault.audit.events as ChangeEvent[]
    expect(events.map((event) => [event.action, event.fields])).toEqual([
      ['secret.create', ['name', 'value', 'hosts']],
      ['secret.rotate', ['value', 'description']],
      ['secret.update', ['hosts']],
      ['secret.delete', []],
    ])
    for (const event of events) {
      expect(event).toMatchObject({ kind: 'change', principal: 'system', workspace: vault.owner.workspaceId })
      expect(event.target).toMatchObject({ kind: 'secret', name: 'logged' })
    }
    expect(JSON.stringify(events)).not.toContain('canary')
  })

  it('when it cannot be written nothing changes', async () => {
    const { secret } = await vault.secrets.create(vault.owner, { name: 'stays', value: value() })
    vault.audit.refusal = new CoatcheckError('audit_unavailable', 'The log is full.', 'Make room.')
    const attempts = [
      vault.secrets.create(vault.owner, { name: 'new', value: value() }),
      vault.secrets.update(vault.owner, 'stays', { value: value() }),
      vault.secrets.delete(vault.owner, 'stays'),
    ]
    for (const each of await Promise.allSettled(attempts)) {
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'audit_unavailable' } })
    }
    expect((await vault.secrets.list(vault.owner, firstPage)).items).toEqual([secret])
  })

  it('says so when a recorded change failed after all', async () => {
    const other = await openVault({ dir: vault.dir })
    const append = vault.audit.append.bind(vault.audit)
    vault.audit.append = async (events) => {
      await append(events)
      if ((events[0] as ChangeEvent).action === 'secret.create') {
        await other.secrets.create(other.owner, { name: 'race', value: value() })
      }
    }
    const lost = vault.secrets.create(vault.owner, { name: 'race', value: value() })
    await expect(lost).rejects.toMatchObject({ code: 'conflict' })
    expect(vault.audit.actions).toEqual(['secret.create', 'secret.create.failed'])
    await other.close()
  })
})
