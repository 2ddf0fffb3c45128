/** A value is shown to who may read it, after it was recorded, exactly as often as it may be, and never once it should not be. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { openVault, type Vault } from './open-vault.ts'

const worker = fileURLToPath(new URL('reveal-worker.ts', import.meta.url))
let vault: Vault

beforeEach(async () => {
  vault = await openVault()
})

afterEach(async () => {
  await vault.remove()
})

const value = (text = 'a value that is long') => SecretValue.fromText(text)
const readable = { name: 'key', value: value(), readPolicy: 'permission' } as const

async function read(ref = 'key', version?: number): Promise<string> {
  const revealed = await vault.reveals.reveal(vault.owner, ref, version === undefined ? {} : { version })
  return revealed.value.reveal().toString()
}

/** How many reads gave the value and how many were refused, in another process. */
async function readElsewhere(ref: string, reads: number): Promise<{ value: number; gone: number }> {
  const child = spawn(process.execPath, [worker, vault.dir, ref, String(reads)], { stdio: ['pipe', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (printed === '') child.stdin.write('go\n')
    printed += text
  })
  await once(child, 'close')
  return JSON.parse(printed.split('\n')[1] ?? '') as { value: number; gone: number }
}

describe('a value that is shown', () => {
  it('is kept out of log lines from then on, and so are the halves of a pair', async () => {
    await vault.secrets.create(vault.owner, readable)
    await read()
    const pair = value('AKIAEXAMPLE012345678:wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00')
    await vault.secrets.create(vault.owner, { ...readable, name: 'pair', type: 'aws', value: pair })
    await read('pair')
    expect(vault.watched.map((each) => each.reveal().toString())).toEqual([
      'a value that is long',
      'AKIAEXAMPLE012345678:wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00',
      'wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00',
    ])
  })

  it('is none when the read was refused', async () => {
    await vault.secrets.create(vault.owner, { ...readable, readPolicy: 'never' })
    await expect(read()).rejects.toMatchObject({ code: 'forbidden' })
    expect(vault.watched).toEqual([])
  })
})

describe('the exact count', () => {
  it.each([1, 100])(
    'H07: gives the value %i times in 1,000 reads at once from two processes',
    async (limit) => {
      const { secret } = await vault.secrets.create(vault.owner, { ...readable, maxAccessCount: limit })
      const halves = await Promise.all([readElsewhere(secret.id, 500), readElsewhere(secret.id, 500)])
      const sum = (of: 'value' | 'gone') => halves.reduce((total, half) => total + half[of], 0)
      expect({ value: sum('value'), gone: sum('gone') }).toEqual({ value: limit, gone: 1000 - limit })
      expect(await vault.secrets.get(vault.owner, 'key')).toMatchObject({ accessCount: limit, state: 'exhausted' })
    },
    120_000,
  )

  it('counts releases too when the secret says so, from one budget with reads, and tells the proxy at once', async () => {
    await vault.secrets.create(vault.owner, { ...readable, maxAccessCount: 3, countUses: true })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'key' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    const found = await vault.reader.find(identity, sandbox.env['KEY'] ?? '')
    if (found === undefined) throw new Error('not mounted')
    expect(await read()).toBe('a value that is long')
    const opened = await Promise.allSettled(Array.from({ length: 50 }, async () => await vault.reader.open(found)))
    expect(opened.filter((each) => each.status === 'fulfilled')).toHaveLength(2)
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    expect(await vault.reader.find(identity, sandbox.env['KEY'] ?? '')).toMatchObject({ state: 'exhausted' })
  })

  it('does not count releases otherwise', async () => {
    await vault.secrets.create(vault.owner, { ...readable, maxAccessCount: 1 })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'key' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    const found = await vault.reader.find(identity, sandbox.env['KEY'] ?? '')
    if (found === undefined) throw new Error('not mounted')
    for (let time = 0; time < 5; time++) await vault.reader.open(found)
    expect(await read()).toBe('a value that is long')
  })

  it('begins anew with each version', async () => {
    await vault.secrets.create(vault.owner, { ...readable, maxAccessCount: 1 })
    await read()
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    await vault.secrets.update(vault.owner, 'key', { value: value('the second value') })
    expect(await read()).toBe('the second value')
    await expect(read('key', 1)).rejects.toMatchObject({ code: 'gone' })
  })
})

describe('the order', () => {
  it('records before it counts, and counts before it shows', async () => {
    await vault.secrets.create(vault.owner, { ...readable, maxAccessCount: 2 })
    await read()
    expect(vault.audit.actions.at(-1)).toBe('secret.read')
    vault.audit.refusal = new Error('the log is full')
    await expect(read()).rejects.toThrow('the log is full')
    vault.audit.refusal = null
    expect(await vault.secrets.get(vault.owner, 'key')).toMatchObject({ accessCount: 1 })
    expect(JSON.stringify(vault.audit.events)).not.toContain('a value that')
  })
})

describe('a refused read', () => {
  it('is forbidden by a read policy of never, which is never loosened', async () => {
    await vault.secrets.create(vault.owner, { name: 'sealed', value: value() })
    await expect(read('sealed')).rejects.toMatchObject({ code: 'forbidden' })
    expect(vault.audit.actions.at(-1)).toBe('secret.read.denied')
    const loosen = vault.secrets.update(vault.owner, 'sealed', { readPolicy: 'permission' })
    await expect(loosen).rejects.toMatchObject({ code: 'conflict' })
    await vault.secrets.put(vault.owner, 'sealed', { value: value(), readPolicy: 'permission' })
    await expect(read('sealed')).rejects.toMatchObject({ code: 'forbidden' })
    await vault.secrets.create(vault.owner, readable)
    await vault.secrets.update(vault.owner, 'key', { readPolicy: 'never' })
    await expect(read()).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('is gone for what is disabled, expired or deleted, and comes back where that is undone', async () => {
    await vault.secrets.create(vault.owner, readable)
    await vault.secrets.disableVersion(vault.owner, 'key', 1)
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    await vault.secrets.enableVersion(vault.owner, 'key', 1)
    await vault.secrets.softDelete(vault.owner, 'key')
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    await vault.secrets.revive(vault.owner, 'key')
    await vault.secrets.update(vault.owner, 'key', { expiresAt: '2030-01-01T01:00:00Z' })
    expect(await read()).toBe('a value that is long')
    vault.time.now += 3_600_000
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    await vault.secrets.delete(vault.owner, 'key')
    await expect(read()).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('a version', () => {
  it('is read by its number, and is not found by one it does not have', async () => {
    await vault.secrets.create(vault.owner, readable)
    await vault.secrets.update(vault.owner, 'key', { value: value('the second value') })
    expect([await read('key', 1), await read('key', 2), await read()]).toEqual([
      'a value that is long',
      'the second value',
      'the second value',
    ])
    await expect(read('key', 3)).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('a clock that is set back', () => {
  it('H10: revives nothing, neither in this process nor after a restart', async () => {
    await vault.secrets.create(vault.owner, { ...readable, expiresAt: '2030-01-01T01:00:00Z' })
    const { sandbox, token } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { KEY: 'key' } })
    const identity = (await vault.sandboxes.authenticate('box', token)) as SandboxIdentity
    const placeholder = sandbox.env['KEY'] ?? ''
    expect((await vault.reader.find(identity, placeholder))?.expiresAt).toBeGreaterThan(vault.time.now)
    const before = vault.time.now
    vault.time.now += 3_600_001
    await vault.database.noteTime()
    vault.time.now = before
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    expect((await vault.reader.find(identity, placeholder))?.expiresAt).toBe(0)
    await vault.close()
    vault = await openVault({ dir: vault.dir, clock: vault.time })
    await expect(read()).rejects.toMatchObject({ code: 'gone' })
    expect((await vault.reader.find(identity, placeholder))?.expiresAt).toBe(0)
    expect(await vault.secrets.get(vault.owner, 'key')).toMatchObject({ state: 'expired' })
  })
})

describe('a runner', () => {
  it('gets the values of its own sandbox, of no other, and nothing else', async () => {
    await vault.secrets.create(vault.owner, { name: 'key', value: value() })
    const one = await vault.sandboxes.create(vault.owner, { name: 'one', mounts: { KEY: 'key' } })
    await vault.sandboxes.create(vault.owner, { name: 'two', mounts: { KEY: 'key' } })
    const { secret } = await vault.tokens.create(vault.owner, { name: 'r', role: 'runner', sandboxId: one.sandbox.id })
    expect(secret).toMatch(/^crt_/)
    expect(await vault.tokens.authenticate(secret)).toBeUndefined()
    const runner = await vault.tokens.authenticate(secret, 'runner')
    if (runner === undefined) throw new Error('not recognised')
    const [mount, ...rest] = await vault.reveals.resolve(runner, 'one')
    expect(rest).toEqual([])
    expect([mount?.env, mount?.value.reveal().toString()]).toEqual(['KEY', 'a value that is long'])
    await expect(vault.reveals.resolve(runner, 'two')).rejects.toMatchObject({ code: 'not_found' })
    await expect(vault.reveals.resolve(vault.owner, 'one')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(vault.secrets.get(runner, 'key')).rejects.toMatchObject({ code: 'not_found' })
    await expect(vault.sandboxes.list(runner, { limit: 1, cursor: null })).rejects.toMatchObject({ code: 'forbidden' })
  })
})
