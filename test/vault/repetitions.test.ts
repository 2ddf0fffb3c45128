/** Contract: a key is known for 24 hours, in every process, by its caller, place and body; what is stored tells neither. */
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Claim, KeptAnswer, Repeatable } from '../../src/core/repetition.ts'
import { KeptRepetitions } from '../../src/vault/repetitions.ts'
import { openVault, type Vault } from './open-vault.ts'

const DAY_MS = 24 * 3_600_000
const ANSWER: KeptAnswer = { status: 201, type: 'application/json', body: '{"name":"what-was-made"}' }
let vault: Vault
let kept: KeptRepetitions

beforeEach(async () => {
  vault = await openVault()
  kept = new KeptRepetitions(vault)
})
afterEach(async () => await vault.remove())

const asked = (rest: Partial<Repeatable> = {}): Repeatable => ({
  principal: vault.owner,
  place: 'POST /v1/secrets',
  key: 'chosen-by-the-caller',
  body: '{"value":"what-was-sent"}',
  ...rest,
})
const first = async (rest: Partial<Repeatable> = {}) => (await kept.claim(asked(rest))) as Claim

describe('a key', () => {
  it('gives the answer again, to the same body alone', async () => {
    const claim = await first()
    expect(await kept.claim(asked())).toEqual({ what: 'open' })
    await kept.answered(claim, ANSWER)
    expect(await kept.claim(asked())).toEqual({ what: 'same', answer: ANSWER })
    expect(await kept.claim(asked({ body: '{}' }))).toEqual({ what: 'other' })
  })

  it('is of one caller, one scope and one place', async () => {
    await first()
    const others: readonly Partial<Repeatable>[] = [
      { principal: { ...vault.owner, id: 'another' } },
      { principal: { ...vault.owner, scopeId: 'another' } },
      { place: 'POST /v1/tokens' },
      { key: 'another' },
    ]
    for (const other of others) expect(await kept.claim(asked(other))).toHaveProperty('digest')
  })

  it('is free again when nothing was made, and after 24 hours', async () => {
    await kept.forget(await first())
    await kept.answered(await first(), null)
    expect(await kept.claim(asked())).toEqual({ what: 'once' })
    vault.time.now += DAY_MS - 1
    expect(await kept.claim(asked())).toEqual({ what: 'once' })
    vault.time.now += 1
    expect(await kept.claim(asked())).toHaveProperty('digest')
  })

  it('is claimed once by many at the same moment, through two connections', async () => {
    const other = await openVault({ dir: vault.dir, clock: vault.time })
    const there = new KeptRepetitions(other)
    const claims = await Promise.all(
      Array.from({ length: 20 }, async (_, at) => await (at % 2 === 0 ? kept : there).claim(asked())),
    )
    await other.close()
    expect(claims.filter((claim) => 'digest' in claim)).toHaveLength(1)
  })

  it('is known under a new key of the keyring', async () => {
    await kept.answered(await first(), ANSWER)
    await vault.keyring.addKey()
    expect(await kept.claim(asked())).toEqual({ what: 'same', answer: ANSWER })
  })
})

describe('what is stored', () => {
  it('is at most 10,000 of one principal, the newest', async () => {
    await first({ key: 'oldest' })
    await first({ principal: { ...vault.owner, id: 'another' } })
    const row = await vault.database.query(
      async (db) =>
        await db
          .selectFrom('repetitions')
          .selectAll()
          .where('principal_id', '=', vault.owner.id)
          .executeTakeFirstOrThrow(),
    )
    const rows = Array.from({ length: 9_999 }, (_, at) => ({ ...row, id: `r${at}`, at: row.at + 1 + at }))
    await vault.database.transaction(async (trx) => {
      for (let at = 0; at < rows.length; at += 1000) {
        await trx
          .insertInto('repetitions')
          .values(rows.slice(at, at + 1000))
          .execute()
      }
    })
    vault.time.now += 20_000
    await first({ key: 'newest' })
    const ids = await vault.database.query(async (db) => await db.selectFrom('repetitions').select('id').execute())
    expect(ids).toHaveLength(10_001)
    expect(ids.map(({ id }) => id)).not.toContain(row.id)
  })

  it('holds neither key, body nor answer', async () => {
    await kept.answered(await first(), ANSWER)
    await vault.database.truncateLog()
    const bytes = await readFile(vault.file)
    for (const text of ['chosen-by-the-caller', 'what-was-sent', 'what-was-made']) {
      expect(bytes.includes(text), text).toBe(false)
    }
  })
})
