/**
 * Verifies the audit log from the outside: its own reading of the tables and of the checkpoints' second copy, nothing
 * of the code that wrote them. Events are read once, in the order they were written, all chains together; memory grows by
 * one number for 256 of them. Other work gets its turn between pages.
 *
 * Found: an event edited, inserted, removed or moved; a chain shorter than, or other than, any checkpoint says; a
 * checkpoint nobody signed. Not found: a tail that no checkpoint covers yet (an unfinished tail after a crash looks the
 * same), and a log whose checkpoints were removed everywhere: keep the shipped ones elsewhere.
 */
import type { KeyObject } from 'node:crypto'
import { createPublicKey, hash, verify } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { StatementSync } from 'node:sqlite'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { CoatcheckError } from '../core/errors.ts'
import type { VerifyReport } from '../core/ports.ts'
import type { Checkpoint } from './checkpoint.ts'
import { CHECKPOINT_FILE, checkpointText, keyIdOf } from './checkpoint.ts'
import { readPublicKey } from './signing-key.ts'

export interface VerifyOptions {
  readonly databaseFile: string
  readonly dataDir: string
  /** PEM, from a place of your own. Default: the data directory's. */
  readonly publicKey?: string
}

type Bad = NonNullable<VerifyReport['firstBad']>

/** Rows read at once: about a millisecond of work. */
const PAGE = 200
/** A chain's place is noted once for so many events. */
const MARKED = 256
const GENESIS = '0'.repeat(64)
const pause = promisify(setImmediate)

/** Walks every chain, then every checkpoint. Throws when the log cannot be read at all; all else is in the report. */
export async function verifyAudit(options: VerifyOptions): Promise<VerifyReport> {
  const verification = new Verification(options.databaseFile)
  try {
    await verification.chains()
    const file = join(options.dataDir, CHECKPOINT_FILE)
    if (verification.hasCheckpoints() || existsSync(file)) {
      const key =
        options.publicKey === undefined ? await readPublicKey(options.dataDir) : createPublicKey(options.publicKey)
      await verification.checkpoints(key, storedCheckpoints(verification.db))
      await verification.checkpoints(key, copiedCheckpoints(file))
    }
    return verification.report()
  } finally {
    verification.db.close()
  }
}

/** One writer's chain, as far as it was read. */
interface Chain {
  readonly name: string
  seq: number
  hash: string
  /** Where its events 1, 257, 513 … stand, as ids. */
  readonly marks: number[]
}

class Verification {
  readonly db: DatabaseSync
  readonly #chains = new Map<string, Chain>()
  readonly #hashBetween: StatementSync
  /** Id of the last event that was walked over; what is written meanwhile stands after it. */
  #end = Number.MIN_SAFE_INTEGER
  #events = 0
  #checkpoints = 0
  #firstBad: Bad | null = null

  constructor(databaseFile: string) {
    try {
      this.db = new DatabaseSync(databaseFile, { readOnly: true, timeout: 5000 })
      this.#hashBetween = this.db.prepare(
        `SELECT lower(hex(hash)) AS hash FROM audit_events
         WHERE id BETWEEN ? AND ? AND seq = ? AND writer = (SELECT id FROM audit_writers WHERE name = ?) LIMIT 1`,
      )
    } catch (cause) {
      throw new CoatcheckError('database_unusable', 'The audit log cannot be read.', 'Check the database file.', {
        cause,
      })
    }
  }

  report(): VerifyReport {
    return {
      ok: this.#firstBad === null,
      events: this.#events,
      writers: this.#chains.size,
      checkpoints: this.#checkpoints,
      firstBad: this.#firstBad,
    }
  }

  hasCheckpoints(): boolean {
    return this.db.prepare('SELECT 1 FROM audit_checkpoints LIMIT 1').get() !== undefined
  }

  async chains(): Promise<void> {
    const page = this.db.prepare(
      `SELECT events.id, seq, body, lower(hex(hash)) AS hash, coalesce(name, writer) AS writer
       FROM audit_events AS events LEFT JOIN audit_writers ON audit_writers.id = writer
       WHERE events.id > ? ORDER BY events.id LIMIT ${PAGE}`,
    )
    for (;;) {
      const rows = page.all(this.#end)
      if (rows.length === 0) return
      for (const row of rows) this.#event(row)
      this.#end = Number(rows.at(-1)?.['id'])
      await pause()
    }
  }

  #event(row: Row): void {
    this.#events += 1
    const name = String(row['writer'])
    const chain = this.#chains.get(name) ?? { name, seq: 0, hash: GENESIS, marks: [] }
    this.#chains.set(name, chain)
    const reason = linkFault(row, chain)
    if (reason !== null) this.#firstBad ??= { writer: name, seq: chain.seq + 1, reason }
    if (chain.seq % MARKED === 0) chain.marks.push(Number(row['id']))
    // After a fault the walk goes on from what stands there, to count the rest.
    chain.seq = Number(row['seq'])
    chain.hash = String(row['hash'])
  }

  async checkpoints(key: KeyObject, points: AsyncIterable<Checkpoint> | Iterable<Checkpoint>): Promise<void> {
    const keyId = keyIdOf(key)
    for await (const point of points) {
      this.#checkpoints += 1
      // Only the first fault is told.
      this.#firstBad ??= this.#checkpointFault(point, key, keyId)
      if (this.#checkpoints % 20 === 0) await pause()
    }
  }

  #checkpointFault(point: Checkpoint, key: KeyObject, keyId: string): Bad | null {
    const { writer, seq } = point
    if (point.keyId !== keyId) return { writer, seq, reason: `the checkpoint at ${seq} names another key` }
    if (!verify(null, checkpointText(point), key, Buffer.from(point.signature, 'base64'))) {
      return { writer, seq, reason: `the checkpoint at ${seq} has a wrong signature` }
    }
    const found = this.#hashAt(writer, seq)
    if (found === point.hash) return null
    if (found !== null)
      return { writer, seq, reason: `events up to ${seq} are not those the checkpoint at ${seq} signs` }
    const last = this.#chains.get(writer)?.seq ?? 0
    if (last === 0) return { writer, seq: 1, reason: `the whole chain is missing: a checkpoint signs ${seq} events` }
    const reason = `the chain was cut: its last event is ${last}, and a checkpoint signs ${seq}`
    return { writer, seq: Math.min(last + 1, seq), reason }
  }

  #hashAt(writer: string, seq: number): string | null {
    const chain = this.#chains.get(writer)
    const mark = Math.floor((seq - 1) / MARKED)
    const marks = chain === undefined || seq > chain.seq ? [] : chain.marks.slice(mark, mark + 2)
    const [from = this.#end, to = Number.MAX_SAFE_INTEGER] = marks
    return text(this.#hashBetween.get(from, to, seq, writer), 'hash')
  }
}

/** Why a row does not continue its chain, or null. */
function linkFault(row: Row, chain: Chain): string | null {
  const seq = Number(row['seq'])
  const body = String(row['body'])
  if (seq !== chain.seq + 1) return `missing: the next event is ${seq}`
  if (hash('sha256', `${chain.hash}\n${body}`) !== row['hash']) return 'its body or hash was changed'
  const inside = parsed(body)
  if (inside?.['writer'] !== chain.name) return 'its body names another writer'
  if (inside['seq'] !== seq) return 'its body has another number'
  return null
}

type Row = Record<string, unknown>

function text(row: Row | undefined, column: string): string | null {
  const value = row?.[column]
  return typeof value === 'string' ? value : null
}

function parsed(json: string): Row | null {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Row) : null
  } catch {
    return null
  }
}

function* storedCheckpoints(db: DatabaseSync): Generator<Checkpoint> {
  const page = db.prepare(
    `SELECT rowid, writer, seq, time, hash, key_id AS keyId, signature FROM audit_checkpoints
     WHERE rowid > ? AND seq > 0 ORDER BY rowid LIMIT ${PAGE}`,
  )
  for (let after = 0; ; ) {
    const rows = page.all(after)
    if (rows.length === 0) return
    for (const row of rows) {
      after = Number(row['rowid'])
      yield checkpointOf(row)
    }
  }
}

/** Lines that are no JSON were cut short by a full disk or a crash: to garble one is no more than to delete it. */
async function* copiedCheckpoints(file: string): AsyncGenerator<Checkpoint> {
  if (!existsSync(file)) return
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    const row = parsed(line)
    if (row !== null) yield checkpointOf(row)
  }
}

function checkpointOf(row: Row): Checkpoint {
  return {
    writer: text(row, 'writer') ?? '',
    seq: Number(row['seq']),
    time: text(row, 'time') ?? '',
    hash: text(row, 'hash') ?? '',
    keyId: text(row, 'keyId') ?? '',
    signature: text(row, 'signature') ?? '',
  }
}
