/**
 * Contract: a secret of type aws takes a credential pair and nothing else, signs and is never put anywhere, has a
 * placeholder pair that outlives rotation, and gives a sandbox the variables that AWS's clients read.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NewSecret } from '../../src/core/ports.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { openVault } from './open-vault.ts'

const ID = 'AKIAREALREALREALREAL'
const KEY = 'realrealrealreal/realrealrealreal+realre'
const TOKEN = 'FwoGZXIvYXdzEReal//////////wEaDReal='
const PAIR = /^XCOAT[A-Z2-7]{15}:[A-Za-z0-9]{40}$/

let vault: Awaited<ReturnType<typeof openVault>>
beforeEach(async () => {
  vault = await openVault()
})
afterEach(async () => {
  await vault.remove()
})

async function create(input: Partial<NewSecret> = {}) {
  const value = SecretValue.fromText(`${ID}:${KEY}`)
  return (await vault.secrets.create(vault.owner, { name: 'prod/aws', type: 'aws', value, ...input })).secret
}

const refusal = async (work: Promise<unknown>) =>
  await work.then(
    () => 'accepted',
    (error: unknown) => (error as { code?: string }).code,
  )

describe('a pair is taken', () => {
  it.each([
    ['as text', `${ID}:${KEY}`],
    ['as text with a line break at the end', `${ID}:${KEY}\n`],
    ['as text with a session token', `${ID}:${KEY}:${TOKEN}`],
    [
      'as aws sts prints it',
      JSON.stringify({ AccessKeyId: ID, SecretAccessKey: KEY, SessionToken: TOKEN, Version: 1 }),
    ],
    ['as JSON without a session token', JSON.stringify({ AccessKeyId: ID, SecretAccessKey: KEY })],
    ['with an access key id of another service', `minioadmin:${KEY}`],
  ])('%s', async (_name, text) => {
    const secret = await create({ value: SecretValue.fromText(text) })
    expect(secret).toMatchObject({ type: 'aws', placements: ['aws-sigv4'], hint: null })
    expect(secret.placeholder).toMatch(PAIR)
    expect(JSON.stringify(secret)).not.toContain(ID)
  })
})

describe('refused is', () => {
  it.each([
    ['half a pair', ID],
    ['a short secret access key', `${ID}:short`],
    ['an access key id with a slash', `a/b:${KEY}`],
    ['a blank in it', `${ID}:${KEY} x`],
    ['too many parts', `${ID}:${KEY}:${TOKEN}:more`],
    ['JSON of something else', '{"key":"value"}'],
    ['JSON that is cut', '{"AccessKeyId":'],
    ['a placeholder pair', `XCOAT${'A'.repeat(15)}:${KEY}`],
  ])('a value that is %s', async (_name, text) => {
    const work = create({ value: SecretValue.fromText(text) })
    expect(await refusal(work)).toBe('invalid_input')
    await expect(work).rejects.not.toThrow(text)
  })

  it('a dress, a placement that would put it somewhere, and signing with any other type', async () => {
    const inputs: Partial<NewSecret>[] = [
      { dress: 'AKIA' },
      { placements: ['header:authorization'] },
      { placements: ['aws-sigv4', 'basic'] },
      { type: 'generic', placements: ['aws-sigv4'] },
    ]
    for (const input of inputs) expect(await refusal(create(input))).toBe('invalid_input')
  })

  it('to become another type, or to be put where it is not', async () => {
    await create()
    const other = { name: 'other', value: SecretValue.fromText(`${ID}:${KEY}`) }
    await vault.secrets.create(vault.owner, other)
    const { secrets, owner: principal } = vault
    expect(await refusal(secrets.update(principal, 'prod/aws', { type: 'generic' }))).toBe('invalid_input')
    expect(await refusal(secrets.update(principal, 'prod/aws', { placements: ['basic'] }))).toBe('invalid_input')
    expect(await refusal(secrets.update(principal, 'other', { type: 'aws' }))).toBe('invalid_input')
    expect(await refusal(secrets.generate(principal, 'prod/aws', {}))).toBe('invalid_input')
  })
})

it('the placeholder pair stays when the pair is rotated, and no two secrets have one', async () => {
  const { placeholder } = await create()
  const value = SecretValue.fromText(`${ID}:${KEY}:${TOKEN}`)
  const { secret } = await vault.secrets.update(vault.owner, 'prod/aws', { value })
  expect(secret).toMatchObject({ placeholder, version: 2 })
  const other = await create({ name: 'other' })
  const [id = '', key = ''] = placeholder.split(':')
  expect(other.placeholder).not.toContain(id)
  expect(other.placeholder).not.toContain(key)
})

describe('a mount', () => {
  async function mounted(env: string) {
    const { placeholder } = await create()
    const { sandbox } = await vault.sandboxes.create(vault.owner, { name: 'box', mounts: { [env]: 'prod/aws' } })
    return { sandbox, halves: placeholder.split(':') }
  }

  it.each(['AWS', 'AWS_ACCESS_KEY_ID'])('as %s gives the variables of AWS, the session token empty', async (env) => {
    const { sandbox, halves } = await mounted(env)
    const [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY] = halves
    expect(sandbox.env).toEqual({ AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: '' })
    expect(sandbox.mounts).toEqual({ [env]: 'prod/aws' })
  })

  it('has its own prefix, for a second pair', async () => {
    const { sandbox } = await mounted('BACKUP')
    expect(Object.keys(sandbox.env)).toEqual([
      'BACKUP_ACCESS_KEY_ID',
      'BACKUP_SECRET_ACCESS_KEY',
      'BACKUP_SESSION_TOKEN',
    ])
  })

  it('is found by its access key id, whole', async () => {
    const { sandbox, halves } = await mounted('AWS')
    const [id = ''] = halves
    expect(await vault.reader.find(sandbox, id)).toMatchObject({ name: 'prod/aws', placeholder: halves.join(':') })
    for (const text of [id.slice(0, -1), id.toLowerCase(), halves.join(':')]) {
      expect(await vault.reader.find(sandbox, text)).toBeUndefined()
    }
  })

  it('may not give a variable that another one gives', async () => {
    await create()
    const work = (mounts: Record<string, string>) => vault.sandboxes.create(vault.owner, { name: 'box', mounts })
    expect(await refusal(work({ AWS: 'prod/aws', AWS_ACCESS_KEY_ID: 'prod/aws' }))).toBe('invalid_input')
  })
})

it('a runner resolves a mount into the same variables, with the real pair', async () => {
  const value = SecretValue.fromText(`${ID}:${KEY}:${TOKEN}`)
  await create({ value })
  const mounts = { AWS: 'prod/aws' }
  await vault.sandboxes.create(vault.owner, { name: 'box', mounts })
  const resolved = await vault.reveals.resolve({ ...vault.owner, role: 'runner' }, 'box')
  expect(resolved.map(({ env, value: each }) => [env, each.reveal().toString()])).toEqual([
    ['AWS_ACCESS_KEY_ID', ID],
    ['AWS_SECRET_ACCESS_KEY', KEY],
    ['AWS_SESSION_TOKEN', TOKEN],
  ])
})
