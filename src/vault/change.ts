/**
 * Every control-plane change is recorded first, durably, and made only then; when it cannot be recorded nothing changes.
 *
 * The record cannot be written inside the change's transaction: the log has its own connection, and SQLite one writer. So a
 * change is planned and checked, recorded, then made; if making it fails after all, a second record `<action>.failed` says so.
 */
import type { Transaction } from 'kysely'
import type { ChangeEvent } from '../core/audit-event.ts'
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { AuditAppender, Clock, Principal } from '../core/ports.ts'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import { isUniqueViolation } from './sqlite-dialect.ts'

/** One change that was checked and may be made. */
export interface Change<T> {
  readonly action: string
  readonly target: ChangeEvent['target']
  /** Names of the fields that change, never their contents. */
  readonly fields: readonly string[]
  /** Makes it. May run again after another writer was in the way, so it depends on nothing but the transaction. */
  apply(trx: Transaction<Schema>): Promise<T>
}

/** When a change is made, in both forms that are stored. */
export interface Moment {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** ISO 8601. */
  readonly time: string
}

export interface ChangesOptions {
  readonly database: Database
  readonly audit: AuditAppender
  readonly clock: Clock
}

/** Makes changes one at a time, each with its record. */
export class Changes {
  readonly #database: Database
  readonly #audit: AuditAppender
  readonly #clock: Clock

  constructor(options: ChangesOptions) {
    this.#database = options.database
    this.#audit = options.audit
    this.#clock = options.clock
  }

  /** `plan` checks and throws what is wrong, or gives the change. */
  async make<T>(principal: Principal, plan: (moment: Moment) => Promise<Change<T>>): Promise<T> {
    return await this.#database.serially(async () => {
      const moment = momentOf(this.#clock)
      const change = await plan(moment)
      const { target, action } = change
      await this.#audit.append([changeEvent(principal, target, action, change.fields, moment)])
      try {
        return await this.#database.change(async (trx) => await change.apply(trx))
      } catch (error) {
        const failed = changeEvent(principal, target, `${action}.failed`, [], moment)
        // The change's own failure is what the caller must hear of; a log that fails as well says so at the next append.
        await this.#audit.append([failed]).catch(() => undefined)
        throw isUniqueViolation(error) ? alreadyThere(target) : error
      }
    })
  }
}

/** The record of something a principal does or is refused. */
export function changeEvent(
  principal: Pick<Principal, 'kind' | 'name' | 'workspaceId'>,
  target: ChangeEvent['target'],
  action: string,
  fields: readonly string[],
  { now, time }: Moment,
): ChangeEvent {
  return {
    kind: 'change',
    id: uuidv7(now),
    time,
    workspace: principal.workspaceId,
    principal: principalLabel(principal),
    action,
    target,
    fields,
  }
}

export function momentOf(clock: Clock): Moment {
  const now = clock()
  return { now, time: new Date(now).toISOString() }
}

/** How the log and `createdBy` name a principal: `admin`, `system`, `token:<name>`, `agent:<name>`. */
export function principalLabel(principal: Pick<Principal, 'kind' | 'name'>): string {
  switch (principal.kind) {
    case 'api_key':
      return `token:${principal.name}`
    case 'agent':
      return `agent:${principal.name}`
    default:
      return principal.name
  }
}

/** The name is taken by a live one. */
export function alreadyThere(target: { readonly kind: string; readonly name: string }): CoatcheckError {
  return new CoatcheckError(
    'conflict',
    `There is a ${target.kind} ${target.name} already.`,
    'Choose another name, or change the one that is there.',
  )
}

/** Missing and foreign alike. */
export function notFound(kind: string): CoatcheckError {
  return new CoatcheckError(
    'not_found',
    `There is no such ${kind}.`,
    `List what there is to see its names: the ${kind} may be deleted, elsewhere, or not yours to see.`,
  )
}

/** For an update that found its row gone or changed between the check and the transaction. */
export function changedMeanwhile(kind: string): CoatcheckError {
  return new CoatcheckError(
    'conflict',
    `The ${kind} was changed by someone else at the same time.`,
    'Look at it and try again.',
  )
}
