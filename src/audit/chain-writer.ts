/**
 * One writer's chain in the database: numbers, links and inserts events, one transaction per call. A call that throws
 * left the chain where it was, or, when nobody can tell (I/O errors), says so by `lost`: that connection writes no more,
 * because a failed fsync must not be followed by one that seems to succeed.
 *
 * hash = SHA-256(previous hash + '\n' + body), the first previous hash being 64 zeros.
 */
import type { KeyObject } from 'node:crypto'
import { hash } from 'node:crypto'
import { appendFileSync, statSync } from 'node:fs'
import type { StatementSync } from 'node:sqlite'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import type { Checkpoint } from './checkpoint.ts'
import { checkpointLine, keyIdOf, signCheckpoint } from './checkpoint.ts'
import { bodyOf } from './event-group.ts'

export interface ChainWriterOptions {
  readonly databaseFile: string
  readonly checkpointFile: string
  readonly writer: string
  readonly durability: 'full' | 'process'
  /** How long a lock held by another connection is waited for. */
  readonly busyTimeoutMs: number
  readonly key: KeyObject
  /** Set when the chain before this one was lost. */
  readonly afterLoss: boolean
}

/** What became durable. */
export interface Written {
  /** Number of the first event. */
  readonly first: number
  /** One line, if one was asked for. */
  readonly checkpoint: string | null
  /** Why the checkpoint's second copy could not be written, or null. */
  readonly checkpointFailure: string | null
}

/** The end of the chain. */
interface Head {
  /** Number of the chain in the database; null before its first event. */
  readonly writer: number | null
  readonly seq: number
  readonly hash: string
}

/** Thrown by `append`. `lost`: use a new connection and a new chain. */
export class ChainWriteError extends Error {
  readonly lost: boolean

  constructor(message: string, lost: boolean, cause: unknown) {
    super(message, { cause })
    this.name = 'ChainWriteError'
    this.lost = lost
  }
}

const GENESIS = '0'.repeat(64)
/** Pages of the write-ahead log that are copied at once into the database: whoever releases meanwhile waits for it. */
const COPIED_PAGES = 250
/** Rows per insert statement: a tenth less CPU than one by one. */
const ROWS = 8
/** SQLite result codes after which a rolled back transaction changed nothing: busy, locked, read-only, full, constraint. */
const REFUSALS: ReadonlySet<number> = new Set([5, 6, 8, 13, 19])

export class ChainWriter {
  readonly #options: ChainWriterOptions
  readonly #keyId: string
  readonly #db: DatabaseSync
  readonly #file: { readonly dev: number; readonly ino: number }
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #insertWriter: StatementSync
  readonly #insertRow: StatementSync
  readonly #insertRows: StatementSync
  readonly #insertCheckpoint: StatementSync
  #head: Head = { writer: null, seq: 0, hash: GENESIS }

  /** Throws when the database is missing, unreadable or has no audit tables. */
  constructor(options: ChainWriterOptions) {
    this.#options = options
    this.#keyId = keyIdOf(options.key)
    const url = pathToFileURL(options.databaseFile)
    url.searchParams.set('mode', 'rw')
    this.#db = new DatabaseSync(url, { timeout: options.busyTimeoutMs })
    this.#db.exec('PRAGMA journal_mode = WAL')
    this.#db.exec(`PRAGMA synchronous = ${options.durability === 'full' ? 'FULL' : 'NORMAL'}`)
    this.#db.exec(`PRAGMA wal_autocheckpoint = ${COPIED_PAGES}`)
    if (options.afterLoss) this.#rewriteLog()
    this.#file = statSync(options.databaseFile)
    this.#begin = this.#db.prepare('BEGIN IMMEDIATE')
    this.#commit = this.#db.prepare('COMMIT')
    this.#insertWriter = this.#db.prepare('INSERT INTO audit_writers (name) VALUES (?)')
    this.#insertRow = this.#db.prepare(insertSql(1))
    this.#insertRows = this.#db.prepare(insertSql(ROWS))
    this.#insertCheckpoint = this.#db.prepare(
      'INSERT OR REPLACE INTO audit_checkpoints (writer, seq, time, hash, key_id, signature) VALUES (?, ?, ?, ?, ?, ?)',
    )
  }

  /**
   * Appends events (as `eventText` gives them) and, if asked, a checkpoint after them; both durable on return. With neither,
   * it proves that writing is possible. Throws ChainWriteError.
   */
  append(events: readonly string[], time: string, checkpoint: boolean): Written {
    let point: Checkpoint | null = null
    let head = this.#head
    try {
      this.#requireSameFile()
      this.#begin.run()
      head = this.#insert(this.#link(events), head)
      if (checkpoint && head.seq > 0) point = this.#insertPoint(head, time)
      else if (events.length === 0) this.#probe(time)
      this.#commit.run()
    } catch (cause) {
      throw this.#undo(cause)
    }
    const first = this.#head.seq + 1
    this.#head = head
    return { first, ...this.#copy(point) }
  }

  close(): void {
    this.#db.close()
  }

  /**
   * Pages whose fsync failed count as written to the kernel, and a later fsync of theirs would succeed without them.
   * Copying the write-ahead log into the database file writes them all anew.
   */
  #rewriteLog(): void {
    const result = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    if (result?.['busy'] !== 0) throw new Error('the write-ahead log is in use and cannot be rewritten')
  }

  /** Body and hash of each event, alternating. */
  #link(events: readonly string[]): string[] {
    const linked: string[] = []
    let { seq, hash: previous } = this.#head
    for (const event of events) {
      seq += 1
      const body = bodyOf(this.#options.writer, seq, event)
      previous = hash('sha256', `${previous}\n${body}`)
      linked.push(body, previous)
    }
    return linked
  }

  #insert(linked: readonly string[], head: Head): Head {
    const hash = linked.at(-1)
    if (hash === undefined) return head
    const writer = head.writer ?? Number(this.#insertWriter.run(this.#options.writer).lastInsertRowid)
    let { seq } = head
    let at = 0
    for (; at + 2 * ROWS <= linked.length; at += 2 * ROWS, seq += ROWS) {
      this.#insertRows.run(writer, seq + 1, ...linked.slice(at, at + 2 * ROWS))
    }
    for (; at < linked.length; at += 2, seq += 1) {
      this.#insertRow.run(writer, seq + 1, linked[at] as string, linked[at + 1] as string)
    }
    return { writer, seq, hash }
  }

  #insertPoint({ seq, hash }: Head, time: string): Checkpoint {
    const point = signCheckpoint(this.#options.key, this.#keyId, { writer: this.#options.writer, seq, hash, time })
    this.#insertCheckpoint.run(point.writer, point.seq, point.time, point.hash, point.keyId, point.signature)
    return point
  }

  /** Writes pages and leaves nothing: number 0 is no event's. */
  #probe(time: string): void {
    this.#insertCheckpoint.run(this.#options.writer, 0, time, '', '', '')
    this.#db.prepare('DELETE FROM audit_checkpoints WHERE writer = ? AND seq = 0').run(this.#options.writer)
  }

  /** A deleted or replaced file still takes writes, which nobody would ever find. */
  #requireSameFile(): void {
    const now = statSync(this.#options.databaseFile, { throwIfNoEntry: false })
    if (now?.ino !== this.#file.ino || now.dev !== this.#file.dev) throw new Error('the database file is gone')
  }

  #undo(cause: unknown): ChainWriteError {
    const message = cause instanceof Error ? cause.message : String(cause)
    const code = (cause as { errcode?: unknown }).errcode
    let lost = typeof code !== 'number' || !REFUSALS.has(code % 256)
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
    } catch {
      lost = true
    }
    return new ChainWriteError(message, lost, cause)
  }

  /** After the commit, never before: a copy must not know more than the database does. */
  #copy(point: Checkpoint | null): Pick<Written, 'checkpoint' | 'checkpointFailure'> {
    if (point === null) return { checkpoint: null, checkpointFailure: null }
    const checkpoint = checkpointLine(point)
    try {
      // The leading newline ends a line that a full disk may have cut short.
      appendFileSync(this.#options.checkpointFile, `\n${checkpoint}\n`, { mode: 0o600 })
      return { checkpoint, checkpointFailure: null }
    } catch (thrown) {
      return { checkpoint, checkpointFailure: thrown instanceof Error ? thrown.message : String(thrown) }
    }
  }
}

function insertSql(rows: number): string {
  const values = Array.from({ length: rows }, (_, row) => `(?1, ?2 + ${row}, ?${3 + 2 * row}, unhex(?${4 + 2 * row}))`)
  return `INSERT INTO audit_events (writer, seq, body, hash) VALUES ${values.join(', ')}`
}
