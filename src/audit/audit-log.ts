/**
 * The audit log: an append resolves when its events are durable, and only then. Whatever waits while one transaction
 * is being written goes into the next one, so thirty appends cost one fsync.
 *
 * When writing fails, everything that waits is refused with `audit_unavailable`, at once and without a retry (callers
 * release nothing then), `healthy` turns false, and a probe every second finds out when writing is possible again. A
 * refusal that changed nothing (disk full, lock held) goes on with the same chain. After an I/O error or the death of
 * the writer thread nobody knows what reached the disk: a new thread starts a new chain.
 */
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { AuditEvent } from '../core/audit-event.ts'
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import { isoTime } from '../core/iso-time.ts'
import type { AuditJournal, Clock, Log } from '../core/ports.ts'
import type { ChainWriterOptions, Written } from './chain-writer.ts'
import { CHECKPOINT_FILE } from './checkpoint.ts'
import { bodyOf, type EventGroup, eventText, newGroup } from './event-group.ts'
import { openSigningKey } from './signing-key.ts'
import type { AuditSink } from './sinks.ts'
import type { WriterReply } from './writer.ts'
import { WriterThread } from './writer-thread.ts'

export interface AuditLogOptions {
  /** SQLite file with the audit tables. */
  readonly databaseFile: string
  /** Where the signing key and the second copy of the checkpoints live. */
  readonly dataDir: string
  /** `full`: survives power loss; `process`: survives a killed process. */
  readonly durability: 'full' | 'process'
  readonly sinks: readonly AuditSink[]
  readonly clock: Clock
  readonly log: Log
  /** Default 5 s. */
  readonly busyTimeoutMs?: number
  /** Default every 1,000 events or 10 s. */
  readonly checkpointEvery?: { readonly events: number; readonly ms: number }
}

type ThreadData = Omit<ChainWriterOptions, 'writer' | 'afterLoss'>

/** About 1 s of the highest load: waiting longer helps nobody. */
const MAX_WAITING_EVENTS = 50_000
const MAX_WAITING_CHARACTERS = 64 * 1024 * 1024
const TICK_MS = 1000

/** Events nobody waits for go with the next commit, or after this time, or when so many came together. */
const NOTED_MS = 25
const NOTED_MANY = 256
/** A commit costs about as much for one event as for fifty: where this many callers are about, they are waited for. */
const CROWD = 4
const GATHER_MS = 2

const turnEnd = promisify(setImmediate)

export class AuditLog implements AuditJournal {
  /** Transactions written, and events in them. */
  readonly written = { commits: 0, events: 0 }
  readonly #options: AuditLogOptions
  readonly #threadData: ThreadData
  readonly #every: { readonly events: number; readonly ms: number }
  readonly #timer: NodeJS.Timeout
  #thread: WriterThread
  #waiting = newGroup()
  #running: Promise<void> = Promise.resolve()
  #busy = false
  /** Set while noted events wait for their time. */
  #noted: NodeJS.Timeout | null = null
  #flushing = false
  /** Callers of the last group, and those who came while it was written. */
  #expected = 0
  /** Set while a group waits for more callers. */
  #gathered: (() => void) | null = null
  #healthy = true
  #closed = false
  #sinceCheckpoint = 0
  #checkpointAt = performance.now()

  private constructor(options: AuditLogOptions, threadData: ThreadData, thread: WriterThread) {
    this.#options = options
    this.#threadData = threadData
    this.#thread = thread
    this.#every = options.checkpointEvery ?? { events: 1000, ms: 10_000 }
    this.#timer = setInterval(() => this.#tick(), Math.min(TICK_MS, this.#every.ms)).unref()
  }

  /** Throws `keyring_unusable` for the signing key, `database_unusable` when the tables cannot be written. */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const threadData = {
      databaseFile: options.databaseFile,
      checkpointFile: join(options.dataDir, CHECKPOINT_FILE),
      durability: options.durability,
      busyTimeoutMs: options.busyTimeoutMs ?? 5000,
      key: await openSigningKey(options.dataDir),
    }
    try {
      const thread = await WriterThread.start({ ...threadData, writer: uuidv7(options.clock()), afterLoss: false })
      return new AuditLog(options, threadData, thread)
    } catch (cause) {
      throw new CoatcheckError(
        'database_unusable',
        'The audit log cannot be opened.',
        'Check that the database file exists, is writable and was migrated.',
        { cause },
      )
    }
  }

  /** The chain that is being written: UUIDv7, new at every opening and after every loss. */
  get writer(): string {
    return this.#thread.writer
  }

  /** False while events cannot be made durable. */
  get healthy(): boolean {
    return this.#healthy && !this.#closed
  }

  append(events: readonly AuditEvent[]): Promise<void> {
    if (events.length === 0) return Promise.resolve()
    try {
      const group = this.#take(events)
      if (++group.waiters >= this.#expected) this.#gathered?.()
      this.#run()
      return group.done.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  note(events: readonly AuditEvent[]): void {
    try {
      const group = this.#take(events)
      if (group.events.length >= NOTED_MANY) this.#run()
      else this.#noted ??= setTimeout(() => void this.flush(), NOTED_MS)
    } catch (cause) {
      this.#options.log.error({ cause, events: events.length }, 'Events were not written.')
    }
  }

  /** Resolves when everything that was noted is durable, or was refused and logged. */
  async flush(): Promise<void> {
    if (this.#waiting.events.length > 0) {
      this.#flushing = true
      this.#run()
    }
    await this.#running
  }

  /** Throws `audit_unavailable` when the log is closed or too much waits already. */
  #take(events: readonly AuditEvent[]): EventGroup {
    const group = this.#waiting
    if (this.#closed || this.#thread.ended) throw unavailable('the log is not open')
    if (group.events.length > MAX_WAITING_EVENTS || group.characters > MAX_WAITING_CHARACTERS) {
      throw unavailable('too many events wait')
    }
    // Made whole before it is added: an event that is no JSON leaves the log as it was.
    for (const text of events.map(eventText)) {
      group.events.push(text)
      group.characters += text.length
    }
    return group
  }

  /** Writes what waits and a last checkpoint, then ends the thread and closes the sinks. Later appends are refused. */
  async close(): Promise<void> {
    if (this.#closed) return
    clearInterval(this.#timer)
    await this.flush()
    this.#closed = true
    await this.#running
    const reply = await this.#send([], this.#sinceCheckpoint > 0, true)
    if (reply.kind === 'refused') this.#options.log.warn({ detail: reply.detail }, 'The last checkpoint is missing.')
    await this.#thread.terminate()
    for (const sink of this.#options.sinks) sink.close()
  }

  /** One loop at a time: it ends, in the same step, when nothing waits. */
  #run(probe = false): void {
    if (this.#busy) return
    this.#busy = true
    this.#running = this.#work(probe)
  }

  async #work(probe: boolean): Promise<void> {
    try {
      if (this.#thread.ended) await this.#restart()
      else if (probe) await this.#send([], this.#sinceCheckpoint > 0, false)
      while (this.#due()) await this.#writeGroup()
    } finally {
      this.#busy = false
    }
  }

  #due(): boolean {
    const { events, waiters } = this.#waiting
    return waiters > 0 || events.length >= NOTED_MANY || (events.length > 0 && this.#flushing)
  }

  async #writeGroup(): Promise<void> {
    await this.#gather()
    const group = this.#waiting
    this.#waiting = newGroup()
    this.#flushing = false
    if (this.#noted !== null) clearTimeout(this.#noted)
    this.#noted = null
    const reply = await this.#send(group.events, this.#checkpointDue(group.events.length), false)
    this.#expected = group.waiters + this.#waiting.waiters
    if (reply.kind === 'written') group.done.resolve()
    else group.done.reject(unavailable(reply.kind === 'refused' ? reply.detail : 'the writer thread answered amiss'))
  }

  /**
   * Whoever appends in this turn of the event loop comes along. Under load, those are waited for a little that the last
   * group let go on: they come back, and one group costs less than two.
   */
  async #gather(): Promise<void> {
    await turnEnd()
    if (this.#expected >= CROWD && this.#waiting.waiters < this.#expected) {
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, GATHER_MS)
        this.#gathered = () => {
          clearTimeout(late)
          resolve()
        }
      })
      this.#gathered = null
    }
  }

  async #send(events: readonly string[], checkpoint: boolean, last: boolean): Promise<WriterReply> {
    const time = isoTime(this.#options.clock())
    const reply = await this.#thread.send({ events, time, checkpoint, last })
    if (reply.kind === 'written') this.#succeeded(reply, events)
    if (reply.kind === 'refused') this.#refused(reply.detail)
    return reply
  }

  #succeeded(reply: WriterReply & { kind: 'written' }, events: readonly string[]): void {
    if (events.length > 0) {
      this.written.commits += 1
      this.written.events += events.length
      this.#sinceCheckpoint += events.length
    }
    if (reply.checkpoint !== null) {
      this.#sinceCheckpoint = 0
      this.#checkpointAt = performance.now()
    }
    if (reply.checkpointFailure !== null) {
      this.#options.log.warn({ detail: reply.checkpointFailure }, 'The second copy of a checkpoint was not written.')
    }
    if (!this.#healthy) this.#options.log.info({ writer: this.writer }, 'The audit log can be written again.')
    this.#healthy = true
    if (this.#options.sinks.length > 0) this.#ship(reply, events)
  }

  #refused(detail: string): void {
    if (this.#healthy) this.#options.log.error({ detail, writer: this.writer }, 'The audit log cannot be written.')
    this.#healthy = false
  }

  #checkpointDue(coming: number): boolean {
    const events = this.#sinceCheckpoint + coming
    return events >= this.#every.events || (events > 0 && performance.now() - this.#checkpointAt >= this.#every.ms)
  }

  #tick(): void {
    if (this.#thread.ended || !this.#healthy || this.#checkpointDue(0)) this.#run(true)
  }

  /** A new thread, a new chain. The old one ends without a last checkpoint, as after a crash. */
  async #restart(): Promise<void> {
    try {
      const writer = uuidv7(this.#options.clock())
      this.#thread = await WriterThread.start({ ...this.#threadData, writer, afterLoss: true })
      this.#sinceCheckpoint = 0
      await this.#send([], false, false)
    } catch (error) {
      this.#refused(error instanceof Error ? error.message : String(error))
    }
  }

  /** What became durable, as it is stored. */
  #ship({ first, checkpoint }: Written, events: readonly string[]): void {
    let lines = ''
    for (let i = 0; i < events.length; i++) lines += `${bodyOf(this.writer, first + i, events[i] as string)}\n`
    if (checkpoint !== null) lines += `${checkpoint}\n`
    if (lines !== '') for (const sink of this.#options.sinks) sink.write(lines)
  }
}

function unavailable(detail: string): CoatcheckError {
  return new CoatcheckError(
    'audit_unavailable',
    'The audit log cannot be written, so nothing was released.',
    'Look at the free space and the state of the database; coatcheck goes on by itself once writing works.',
    { cause: new Error(detail) },
  )
}
