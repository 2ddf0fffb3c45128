/**
 * One HTTP/2 connection to an upstream, verified before it came here: how many requests it may take, and when it takes
 * no more. It is for one workspace, host and port; what else its certificate or an ORIGIN frame names is no reason to
 * use it for another (RFC 9113 9.1.1 allows that, rule 12 does not).
 */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { UpstreamPeer } from './message.ts'
import type { UpstreamConnection } from './upstream.ts'

/** Streams at a time, where the upstream allows as many. */
const MOST_STREAMS = 250
/** Without a stream. Shorter than what most servers and NATs wait, so that a request seldom meets a dead connection. */
const IDLE_MS = 30_000
/** What an upstream may send of one answer before the sandbox has read it; of a fast one, per round trip. */
const WINDOW_BYTES = 512 * 1024
/** Frames in flight for all streams together. */
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
const SESSION_MEGABYTES = 256
const FIELDS = 1000

export class H2Connection {
  readonly peer: UpstreamPeer
  /** Resolves once the upstream said how many streams it takes, or the connection is gone. */
  readonly settled: Promise<void>
  readonly #session: ClientHttp2Session
  #streams = 0
  #most: number | null = null
  #retired = false
  #idle: NodeJS.Timeout | null = null

  /** @param onClosed called when the connection takes no further requests. */
  constructor(connection: UpstreamConnection, headerBytes: number, onClosed: (closed: H2Connection) => void) {
    this.peer = connection.peer
    const options = {
      createConnection: () => connection.socket,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES, maxHeaderListSize: headerBytes },
      maxHeaderListPairs: FIELDS,
      maxReservedRemoteStreams: 0,
      maxSessionMemory: SESSION_MEGABYTES,
      strictSingleValueFields: false,
    }
    this.#session = http2.connect('https://upstream', options)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.settled = promise
    // What breaks the connection ends its streams, and they tell.
    this.#session.on('error', () => undefined)
    this.#session.once('connect', () => this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
    this.#session.on('remoteSettings', ({ maxConcurrentStreams = MOST_STREAMS }: http2.Settings) => {
      // An upstream that takes none for now is waited for by one.
      this.#most = Math.max(1, Math.min(maxConcurrentStreams, MOST_STREAMS))
      resolve()
    })
    const closed = () => {
      this.retire()
      onClosed(this)
      resolve()
    }
    this.#session.once('goaway', closed)
    this.#session.once('close', closed)
  }

  /** True when a further request may be sent at once. Until the upstream's settings are known that is one. */
  get hasRoom(): boolean {
    return this.isOpen && this.#streams < (this.#most ?? 1)
  }

  /** The upstream's settings are known. */
  get isSettled(): boolean {
    return this.#most !== null
  }

  get isOpen(): boolean {
    return !this.#retired && !this.#session.closed && !this.#session.destroyed
  }

  /** Raw fields, pseudo-header fields first; `sensitive` names are never indexed (RFC 7541 7.1.3). */
  request(
    fields: readonly string[],
    sensitive: readonly string[],
    options: Pick<http2.ClientSessionRequestOptions, 'endStream' | 'waitForTrailers'>,
  ): ClientHttp2Stream {
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#idle = null
    const list = Object.assign([...fields], { [http2.sensitiveHeaders]: sensitive })
    const stream = this.#session.request(list, options)
    this.#streams += 1
    stream.once('close', () => this.#released())
    return stream
  }

  /** Takes no further requests, and closes once those under way are over. */
  retire(): void {
    if (this.#retired) return
    this.#retired = true
    if (this.#idle !== null) clearTimeout(this.#idle)
    if (!this.#session.destroyed) this.#session.close()
  }

  destroy(): void {
    this.#retired = true
    this.#session.destroy()
  }

  #released(): void {
    this.#streams -= 1
    if (this.#streams === 0 && this.isOpen) this.#idle = setTimeout(() => this.retire(), IDLE_MS).unref()
  }
}
