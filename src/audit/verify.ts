/**
 * Verifies the audit log from the outside: its own reading of the tables and of the checkpoints' second copy, nothing
 * of the code that wrote them. Memory is constant, and other work gets its turn between pages.
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

class Verification {
  readonly db: DatabaseSync
  readonly #hashAt: StatementSync
  readonly #lastSeq: StatementSync
  #events = 0
  #writers = 0
  #checkpoints = 0
  #firstBad: Bad | null = null

  constructor(databaseFile: string) {
    try {
      this.db = new DatabaseSync(databaseFile, { readOnly: true, timeout: 5000 })
      this.#hashAt = this.db.prepare('SELECT hash FROM audit_events WHERE writer = ? AND seq = ?')
      this.#lastSeq = this.db.prepare('SELECT max(seq) AS seq FROM audit_events WHERE writer = ?')
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
      writers: this.#writers,
      checkpoints: this.#checkpoints,
      firstBad: this.#firstBad,
    }
  }

  hasCheckpoints(): boolean {
    return this.db.prepare('SELECT 1 FROM audit_checkpoints LIMIT 1').get() !== undefined
  }

  async chains(): Promise<void> {
    const next = this.db.prepare('SELECT min(writer) AS writer FROM audit_events WHERE writer > ?')
    for (let writer = text(next.get(''), 'writer'); writer !== null; writer = text(next.get(writer), 'writer')) {
      this.#writers += 1
      await this.#chain(writer)
    }
  }

  async #chain(writer: string): Promise<void> {
    const page = this.db.prepare(
      `SELECT seq, body, hash FROM audit_events WHERE writer = ? AND seq > ? ORDER BY seq LIMIT ${PAGE}`,
    )
    let previous = '0'.repeat(64)
    let seq = 0
    for (;;) {
      const rows = page.all(writer, seq)
      if (rows.length === 0) return
      for (const row of rows) {
        this.#events += 1
        const reason = linkFault(row, { writer, seq: seq + 1, previous })
        if (reason !== null) this.#bad({ writer, seq: seq + 1, reason })
        // Only the first fault matters; the walk goes on from what stands there, to count the rest.
        seq = Number(row['seq'])
        previous = String(row['hash'])
      }
      await pause()
    }
  }

  async checkpoints(key: KeyObject, points: AsyncIterable<Checkpoint> | Iterable<Checkpoint>): Promise<void> {
    const keyId = keyIdOf(key)
    for await (const point of points) {
      this.#checkpoints += 1
      const fault = this.#checkpointFault(point, key, keyId)
      if (fault !== null) this.#bad(fault)
      if (this.#checkpoints % 20 === 0) await pause()
    }
  }

  #checkpointFault(point: Checkpoint, key: KeyObject, keyId: string): Bad | null {
    const { writer, seq } = point
    if (point.keyId !== keyId) return { writer, seq, reason: `the checkpoint at ${seq} names another key` }
    if (!verify(null, checkpointText(point), key, Buffer.from(point.signature, 'base64'))) {
      return { writer, seq, reason: `the checkpoint at ${seq} has a wrong signature` }
    }
    const found = text(this.#hashAt.get(writer, seq), 'hash')
    if (found === point.hash) return null
    if (found !== null)
      return { writer, seq, reason: `events up to ${seq} are not those the checkpoint at ${seq} signs` }
    const last = Number(this.#lastSeq.get(writer)?.['seq'] ?? 0)
    if (last === 0) return { writer, seq: 1, reason: `the whole chain is missing: a checkpoint signs ${seq} events` }
    const reason = `the chain was cut: its last event is ${last}, and a checkpoint signs ${seq}`
    return { writer, seq: Math.min(last + 1, seq), reason }
  }

  #bad(bad: Bad): void {
    this.#firstBad ??= bad
  }
}

/** Why a row does not continue its chain, or null. */
function linkFault(row: Row, at: { writer: string; seq: number; previous: string }): string | null {
  const seq = Number(row['seq'])
  const body = String(row['body'])
  if (seq !== at.seq) return `missing: the next event is ${seq}`
  if (hash('sha256', `${at.previous}\n${body}`) !== row['hash']) return 'its body or hash was changed'
  const inside = parsed(body)
  if (inside?.['writer'] !== at.writer) return 'its body names another writer'
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
