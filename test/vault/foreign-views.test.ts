/** What adapters of foreign contracts ask of the vault: names they can spell, and whether a value may be read before trying. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { NAME_FORMS, type NameForm } from '../../src/core/secret-name.ts'
import { openVault, type Vault } from './open-vault.ts'

let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

const NAMES = ['API_KEY', 'api-key', 'a.b', 'a/b', '9lives', '_x', 'DB-URL', 'OpenAI key', 'clé', 'ｋｅｙ']
const page = { limit: 200, cursor: null }

async function create(name: string, rest: object = {}): Promise<void> {
  await vault.secrets.create(vault.owner, { name, value: SecretValue.fromText('a value that is long'), ...rest })
}

describe('names of a form', () => {
  it.each<readonly [NameForm, readonly string[]]>([
    ['flat', ['API_KEY', 'DB-URL', '_x', 'api-key']],
    ['capitals', ['API_KEY', 'DB-URL']],
    ['variable', ['API_KEY', '_x']],
    ['path', ['9lives', 'API_KEY', 'DB-URL', '_x', 'a/b', 'api-key']],
  ])('%s lists and counts only those it can spell', async (form, names) => {
    for (const name of NAMES) await create(name)
    const { items, total } = await vault.secrets.list(vault.owner, { ...page, form, total: true })
    expect(items.map((secret) => secret.name)).toEqual(names)
    expect(total).toBe(names.length)
    expect(NAMES.filter((name) => NAME_FORMS[form].test(name)).sort()).toEqual(names)
  })
})

describe('asking before reading', () => {
  it('says yes where a read would give the value, and neither records nor counts', async () => {
    await create('key', { readPolicy: 'permission', maxAccessCount: 1 })
    const events = vault.audit.events.length
    expect(await vault.reveals.mayReveal(vault.owner, 'key')).toBe(true)
    expect(vault.audit.events).toHaveLength(events)
    expect(await vault.secrets.get(vault.owner, 'key')).toMatchObject({ accessCount: 0 })
  })

  it('says no for write-only and for used up values, and for who may not read', async () => {
    await create('never')
    await create('once', { readPolicy: 'permission', maxAccessCount: 1 })
    await vault.reveals.reveal(vault.owner, 'once')
    await create('key', { readPolicy: 'permission' })
    expect(await vault.reveals.mayReveal(vault.owner, 'never')).toBe(false)
    expect(await vault.reveals.mayReveal(vault.owner, 'once')).toBe(false)
    expect(await vault.reveals.mayReveal({ ...vault.owner, role: 'member' }, 'key')).toBe(false)
  })
})
