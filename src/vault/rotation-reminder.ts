/** Says once in the log, with `secret.rotation_due`, that a secret's current version is due; again only after the next one is. */
import type { AuditAppender, Clock } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { changeEvent, momentOf } from './change.ts'
import type { Database } from './database.ts'
import { targetOf } from './secret-rows.ts'

const EVERY_MS = 60_000
/** Events per transaction. */
const BATCH = 200

export interface ReminderOptions {
  readonly database: Database
  readonly audit: AuditAppender
  readonly clock: Clock
}

export class RotationReminder {
  readonly #options: ReminderOptions
  #timer: NodeJS.Timeout | null = null

  constructor(options: ReminderOptions) {
    this.#options = options
  }

  /** Looks every minute, and notes the time for `Database.latest`. Keeps no process alive. */
  start(): void {
    this.#timer ??= setInterval(() => {
      // What fails now is tried again in a minute.
      this.check().catch(() => undefined)
      this.#options.database.noteTime().catch(() => undefined)
    }, EVERY_MS).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** How many were found due. Recorded first: a crash in between repeats a reminder and loses none. */
  async check(): Promise<number> {
    const { database, audit, clock } = this.#options
    const moment = momentOf(clock)
    const due = await database.query(
      async (db) =>
        await db
          .selectFrom('secrets')
          .innerJoin('scopes', 'scopes.id', 'secrets.scope_id')
          .select(['secrets.id', 'secrets.name', 'secrets.scope_id', 'rotate_at', 'scopes.kind', 'scopes.parent_id'])
          .where('rotate_at', 'is not', null)
          .where('rotate_at', '<=', new Date(database.latest()).toISOString())
          .where('rotation_reminded', '=', 0)
          .where('secrets.deleted_at', 'is', null)
          .limit(BATCH)
          .execute(),
    )
    if (due.length === 0) return 0
    await audit.append(
      due.map((row) => {
        // An event belongs to a workspace; a vault's to the one it is in.
        const workspaceId = row.kind === 'vault' ? (row.parent_id ?? row.scope_id) : row.scope_id
        return changeEvent(systemIn(workspaceId), targetOf(row), 'secret.rotation_due', ['rotationPolicy'], moment)
      }),
    )
    await database.transaction(async (trx) => {
      for (const { id, rotate_at } of due) {
        await trx
          .updateTable('secrets')
          .set({ rotation_reminded: 1 })
          .where('id', '=', id)
          .where('rotate_at', '=', rotate_at)
          .execute()
      }
    })
    return due.length
  }
}

function systemIn(workspaceId: string): Pick<Principal, 'kind' | 'name' | 'workspaceId'> {
  return { kind: 'system', name: 'system', workspaceId }
}
