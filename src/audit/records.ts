/**
 * Reads the audit log for people: a principal sees its own workspace's events, newest first, and `system` also those
 * of no workspace (callers that were never identified).
 *
 * The log is read a page of rows at a time with pauses between, so that no question, however rare its answers, holds
 * up an exchange. The cursor is the place of the last row shown; rows only ever come after it.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import type { StoredAuditEvent } from '../core/audit-event.ts'
import { CoatcheckError } from '../core/errors.ts'
import type { AuditFilter, AuditReader, Page, PageRequest, Principal, VerifyReport } from '../core/ports.ts'
import type { Checkpoint } from './checkpoint.ts'
import { verifyAudit } from './verify.ts'

/** Rows looked at between two pauses. */
const SPAN = 1000
/** Events of one look ahead. */
const FOLLOWED = 200
const pause = promisify(setImmediate)

export class AuditRecords implements AuditReader {
  readonly #place: { readonly databaseFile: string; readonly dataDir: string }
  readonly #db: DatabaseSync

  /** Throws `database_unusable`. */
  constructor(place: { readonly databaseFile: string; readonly dataDir: string }) {
    this.#place = place
    try {
      this.#db = new DatabaseSync(place.databaseFile, { readOnly: true, timeout: 5000 })
    } catch (cause) {
      throw new CoatcheckError('database_unusable', 'The audit log cannot be read.', 'Check the database file.', {
        cause,
      })
    }
  }

  async list(principal: Principal, request: PageRequest & AuditFilter): Promise<Page<StoredAuditEvent>> {
    const { where, parameters } = conditionOf(principal, request)
    const select = this.#db.prepare(
      `SELECT id, body, lower(hex(hash)) AS hash FROM audit_events
       WHERE id < :below AND id >= :from AND ${where} ORDER BY id DESC LIMIT :limit`,
    )
    const found = await collect(select, parameters, this.#start(request.cursor), request.limit + 1)
    const shown = found.slice(0, request.limit)
    const last = shown.at(-1)
    return {
      items: shown.map(eventIn),
      nextCursor: found.length > shown.length && last !== undefined ? cursorOf(last.id) : null,
    }
  }

  verify(): Promise<VerifyReport> {
    return verifyAudit(this.#place)
  }

  /** The place of the newest event: what comes later is after it. */
  latest(): string {
    return cursorOf(this.#start(null) - 1)
  }

  /** The oldest events after that place that match, at most 200, each with its own place, and the place to go on from. */
  async after(principal: Principal, place: string, filter: AuditFilter) {
    const { where, parameters } = conditionOf(principal, filter)
    const select = this.#db.prepare(
      `SELECT id, body, lower(hex(hash)) AS hash FROM audit_events
       WHERE id > :above AND id <= :to AND ${where} ORDER BY id LIMIT :limit`,
    )
    const newest = this.#start(null) - 1
    let above = placeOf(place)
    const found: Found[] = []
    while (above < newest && found.length < FOLLOWED) {
      const to = Math.min(above + SPAN, newest)
      const rows = select.all({ ...parameters, above, to, limit: FOLLOWED - found.length }).map(foundIn)
      found.push(...rows)
      above = found.length === FOLLOWED ? (rows.at(-1)?.id ?? to) : to
      await pause()
    }
    const events = found.map((each) => ({ place: cursorOf(each.id), event: eventIn(each) }))
    return { events, place: cursorOf(Math.max(above, 0)) }
  }

  /** Signed statements about the chains, newest first. */
  checkpoints({ limit, cursor }: PageRequest): Page<Checkpoint> {
    const below = cursor === null ? Number.MAX_SAFE_INTEGER : placeOf(cursor)
    const rows = this.#db
      .prepare(
        `SELECT rowid, writer, seq, time, hash, key_id AS keyId, signature FROM audit_checkpoints
         WHERE rowid < :below ORDER BY rowid DESC LIMIT :limit`,
      )
      .all({ below, limit: limit + 1 }) as unknown as readonly (Checkpoint & { readonly rowid: number })[]
    const shown = rows.slice(0, limit)
    const last = shown.at(-1)
    return {
      items: shown.map(checkpointIn),
      nextCursor: rows.length > limit && last !== undefined ? cursorOf(last.rowid) : null,
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #start(cursor: string | null): number {
    if (cursor !== null) return placeOf(cursor)
    const row = this.#db.prepare('SELECT max(id) AS last FROM audit_events').get()
    return Number(row?.['last'] ?? 0) + 1
  }
}

interface Found {
  readonly id: number
  readonly body: string
  readonly hash: string
}

async function collect(
  select: StatementSync,
  parameters: Record<string, SQLInputValue>,
  start: number,
  limit: number,
): Promise<Found[]> {
  const found: Found[] = []
  for (let below = start; below > 1 && found.length < limit; below -= SPAN) {
    const rows = select.all({ ...parameters, below, from: below - SPAN, limit: limit - found.length })
    found.push(...rows.map(foundIn))
    await pause()
  }
  return found
}

function foundIn(row: Readonly<Record<string, unknown>>): Found {
  return { id: Number(row['id']), body: String(row['body']), hash: String(row['hash']) }
}

function checkpointIn({ writer, seq, time, hash, keyId, signature }: Checkpoint): Checkpoint {
  return { writer, seq, time, hash, keyId, signature }
}

function eventIn({ body, hash }: Found): StoredAuditEvent {
  return { ...(JSON.parse(body) as StoredAuditEvent), hash }
}

/** Conditions on an event; sandboxes and secrets by id or by name. */
const CONDITIONS = {
  sandbox: `(:sandbox IN (${field('sandbox')}, ${field('sandboxId')}) OR ${target('sandbox')})`,
  secret: `(${target('secret')} OR EXISTS (SELECT 1 FROM json_each(body, '$.secrets')
    WHERE :secret IN (json_extract(value, '$.id'), json_extract(value, '$.name'))))`,
  host: `${field('host')} = :host`,
  decision: `${field('decision')} = :decision`,
  action: `${field('action')} = :action`,
  principal: `${field('principal')} = :principal`,
  since: `${field('time')} >= :since`,
  until: `${field('time')} <= :until`,
} as const

function field(name: string): string {
  return `json_extract(body, '$.${name}')`
}

/** A change of that very thing. */
function target(kind: 'sandbox' | 'secret'): string {
  return `(${field('target.kind')} = '${kind}'
    AND :${kind} IN (${field('target.id')}, ${field('target.name')}))`
}

function conditionOf(
  principal: Principal,
  filter: AuditFilter,
): { where: string; parameters: Record<string, SQLInputValue> } {
  const own = `${field('workspace')} = :workspace`
  const conditions: string[] = [principal.kind === 'system' ? `(${own} OR ${field('workspace')} IS NULL)` : own]
  const parameters: Record<string, SQLInputValue> = { workspace: principal.workspaceId }
  for (const name of Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[]) {
    const wanted = filter[name]
    if (wanted === undefined) continue
    conditions.push(CONDITIONS[name])
    // Names stand in events as they are kept: composed.
    parameters[name] = name === 'since' || name === 'until' ? timeOf(name, wanted) : wanted.normalize('NFC')
  }
  // A body that is no JSON was tampered with: verification names it, a list passes over it.
  return { where: `CASE WHEN json_valid(body) THEN ${conditions.join(' AND ')} ELSE 0 END`, parameters }
}

/** As events spell it, so that text compares as time does. */
function timeOf(name: string, text: string): string {
  const time = new Date(text)
  if (Number.isNaN(time.getTime())) throw invalid(`"${name}" is no ISO 8601 time.`)
  return time.toISOString()
}

function cursorOf(id: number): string {
  return Buffer.from(`r${id}`).toString('base64url')
}

function placeOf(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('latin1')
  if (!/^r\d{1,15}$/.test(text)) throw invalid('The cursor is not one of ours.')
  return Number(text.slice(1))
}

function invalid(message: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, 'Use a value as the API printed it.')
}
