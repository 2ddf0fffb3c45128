/**
 * Remembers creates by their idempotency keys: 24 hours, at most 10,000 for each principal, the oldest going first.
 *
 * A row's id is a digest of caller, place and key. The body's digest and the answer are sealed by the keyring, so that neither a value
 * can be guessed from the one nor a name read from the other.
 */
import { hash } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Claim, KeptAnswer, Repeatable, Repeated, Repetitions } from '../core/repetition.ts'
import { SecretValue } from '../core/secret.ts'
import { shownValue } from '../core/value-text.ts'
import type { Database } from './database.ts'
import type { RepetitionRow, Schema } from './schema.ts'
import type { Sealer } from './seal.ts'

const KEPT_MS = 24 * 3_600_000
const MAX_KEPT = 10_000

export interface RepetitionsOptions {
  readonly database: Database
  readonly sealer: Sealer
}

interface Known {
  readonly digest: string
  readonly answer: KeptAnswer | null
}

export class KeptRepetitions implements Repetitions {
  readonly #database: Database
  readonly #sealer: Sealer

  constructor({ database, sealer }: RepetitionsOptions) {
    this.#database = database
    this.#sealer = sealer
  }

  async claim({ principal, place, key, body }: Repeatable): Promise<Claim | Repeated> {
    const id = hash('sha256', JSON.stringify([principal.id, principal.scopeId, place, key]))
    const claim = { id, scopeId: principal.scopeId, digest: hash('sha256', body) }
    const now = this.#database.latest()
    const row = { ...this.#row(claim, 'open', null), id, principal_id: principal.id, scope_id: claim.scopeId, at: now }
    const before = await this.#database.transaction(async (trx) => {
      await dropOld(trx, principal.id, now)
      const before = await trx.selectFrom('repetitions').selectAll().where('id', '=', id).executeTakeFirst()
      if (before === undefined) await trx.insertInto('repetitions').values(row).execute()
      return before
    })
    return before === undefined ? claim : this.#repeated(before, claim)
  }

  async answered(claim: Claim, answer: KeptAnswer | null): Promise<void> {
    const columns = this.#row(claim, answer === null ? 'once' : 'kept', answer)
    await this.#database.transaction(
      async (trx) => await trx.updateTable('repetitions').set(columns).where('id', '=', claim.id).execute(),
    )
  }

  async forget({ id }: Claim): Promise<void> {
    await this.#database.transaction(async (trx) => await trx.deleteFrom('repetitions').where('id', '=', id).execute())
  }

  #row(claim: Claim, state: RepetitionRow['state'], answer: KeptAnswer | null) {
    const known: Known = { digest: claim.digest, answer }
    const sealed = this.#sealer.seal(SecretValue.fromText(JSON.stringify(known)), contextOf(claim))
    return { state, ciphertext: sealed.ciphertext, wrapped_key: sealed.wrappedKey, key_id: sealed.keyId }
  }

  #repeated(row: RepetitionRow, claim: Claim): Repeated {
    const sealed = { ciphertext: row.ciphertext, wrappedKey: row.wrapped_key, keyId: row.key_id }
    const { text } = shownValue(this.#sealer.open(sealed, contextOf(claim)))
    const { digest, answer } = JSON.parse(text) as Known
    if (digest !== claim.digest) return { what: 'other' }
    if (answer !== null) return { what: 'same', answer }
    return { what: row.state === 'once' ? 'once' : 'open' }
  }
}

async function dropOld(trx: Kysely<Schema>, principalId: string, now: number): Promise<void> {
  await trx
    .deleteFrom('repetitions')
    .where('at', '<=', now - KEPT_MS)
    .execute()
  await trx
    .deleteFrom('repetitions')
    .where('principal_id', '=', principalId)
    .where('at', '<=', (eb) =>
      eb
        .selectFrom('repetitions as newer')
        .select('newer.at')
        .where('newer.principal_id', '=', principalId)
        .orderBy('newer.at', 'desc')
        .limit(1)
        .offset(MAX_KEPT - 1),
    )
    .execute()
}

function contextOf({ id, scopeId }: Claim) {
  return { workspaceId: scopeId, secretId: `repetition ${id}`, version: 0 }
}
