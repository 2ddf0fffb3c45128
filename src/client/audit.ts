/** The audit log: read, followed as it grows, and verified. No call changes an event. */
import type { CallOptions, Connection } from './connection.ts'
import { CoatcheckError } from './error.ts'
import { eventsIn } from './event-stream.ts'
import { Listing } from './listing.ts'
import { pause } from './retry.ts'
import type * as types from './types.ts'

const EVENTS = '/v1/audit/events'
/** The server says something every 15 seconds. */
const SILENT_MS = 45_000
const RECONNECT_MS = 1_000
const MAX_FAILURES = 5

export interface FollowOptions {
  /** Ends the iteration. */
  readonly signal?: AbortSignal
}

export class Audit {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Newest first. */
  list(query: types.AuditQuery = {}, options: CallOptions = {}): Listing<types.AuditEvent> {
    return new Listing((cursor) => this.#connection.call('GET', EVENTS, { query: { ...query, cursor } }, options))
  }

  /**
   * Events as they come, from now on, until the loop or the signal ends it. A connection that is lost is made again and misses
   * nothing; five failures on end, or a refusal, are thrown.
   */
  async *follow(
    filter: types.AuditFilter = {},
    { signal = new AbortController().signal }: FollowOptions = {},
  ): AsyncGenerator<types.AuditEvent, void, undefined> {
    const place = { id: null as string | null }
    for (let failures = 0; !signal.aborted; ) {
      try {
        for await (const event of this.#connected(filter, place, signal)) {
          failures = 0
          if (event !== null) yield event
        }
      } catch (thrown) {
        if (signal.aborted) return
        failures += 1
        if (failures >= MAX_FAILURES || !isPassing(thrown)) throw thrown
      }
      await pause(RECONNECT_MS, signal).catch(() => undefined)
    }
  }

  /** A chain that does not verify is an answer with `ok: false`, and is not thrown. */
  async verify(options: CallOptions = {}): Promise<types.AuditVerification> {
    return await this.#connection.call('GET', '/v1/audit/verify', {}, options)
  }

  /** Newest first. */
  checkpoints(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.AuditCheckpoint> {
    const target = '/v1/audit/checkpoints'
    return new Listing((cursor) => this.#connection.call('GET', target, { query: { ...page, cursor } }, options))
  }

  /** One connection, from the place on, which it moves. Null = a sign of life. */
  async *#connected(
    filter: types.AuditFilter,
    place: { id: string | null },
    signal: AbortSignal,
  ): AsyncGenerator<types.AuditEvent | null, void, undefined> {
    const silence = new Silence()
    try {
      const headers = { accept: 'text/event-stream', ...(place.id === null ? {} : { 'last-event-id': place.id }) }
      const both = AbortSignal.any([signal, silence.signal])
      const answer = await this.#connection.open(`${EVENTS}/stream`, { query: filter, headers }, both)
      for await (const { id, data } of eventsIn(chunksOf(answer))) {
        silence.broken()
        // Sent back as a header, so nothing else than a place is kept.
        if (id !== null && /^[\x21-\x7e]{1,256}$/.test(id)) place.id = id
        yield data === null ? null : (JSON.parse(data) as types.AuditEvent)
      }
    } finally {
      silence.end()
    }
  }
}

/** Aborts when nothing came for too long. */
class Silence {
  readonly #controller = new AbortController()
  #timer = this.#start()

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  broken(): void {
    clearTimeout(this.#timer)
    this.#timer = this.#start()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#controller.abort()
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#controller.abort(), SILENT_MS)
  }
}

/** Read by hand: not every runtime iterates a body. */
async function* chunksOf(answer: Response): AsyncGenerator<Uint8Array, void, undefined> {
  const body = answer.body as ReadableStream<Uint8Array> | null
  if (body === null) return
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

/** Anything but a refusal: a lost connection, a silent one, a server that is starting again. */
function isPassing(thrown: unknown): boolean {
  if (!(thrown instanceof CoatcheckError)) return true
  return thrown.status === null || thrown.status === 429 || thrown.status >= 500
}
