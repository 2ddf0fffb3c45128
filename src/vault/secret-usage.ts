/**
 * Remembers the last use of each secret and writes them down together within half a second, so that the hot path never waits.
 * What was not yet written when the process is killed is lost; the audit log has it.
 */
import { sql } from 'kysely'
import type { Log, SecretUsage } from '../core/ports.ts'
import type { Database } from './database.ts'

const FLUSH_MS = 500
/** Rows per transaction: others wait for at most this many. */
const BATCH = 500

export class UsageRecorder implements SecretUsage {
  readonly #database: Database
  readonly #log: Log | null
  #pending = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor(database: Database, log: Log | null = null) {
    this.#database = database
    this.#log = log
  }

  used(secretId: string, at: number): void {
    const known = this.#pending.get(secretId)
    if (known === undefined || known < at) this.#pending.set(secretId, at)
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS).unref()
  }

  /** Writes what is remembered. Never rejects: a use that cannot be written is logged and let go. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const pending = [...this.#pending]
    this.#pending = new Map()
    for (let at = 0; at < pending.length; at += BATCH) {
      await this.#write(pending.slice(at, at + BATCH)).catch((error: unknown) => {
        this.#log?.warn({ err: error, secrets: pending.length }, 'The last use of secrets could not be written.')
      })
    }
  }

  async #write(uses: readonly (readonly [string, number])[]): Promise<void> {
    await this.#database.transaction(async (trx) => {
      for (const [id, at] of uses) {
        const time = new Date(at).toISOString()
        await trx
          .updateTable('secrets')
          .set({
            last_used_at: sql<string>`max(coalesce(last_used_at, ''), ${time})`,
            idle_since: sql<string>`max(idle_since, ${time})`,
          })
          .where('id', '=', id)
          .execute()
      }
    })
  }
}
