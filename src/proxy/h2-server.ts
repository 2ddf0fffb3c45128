/**
 * The HTTP/2 server that reads what sandboxes send in a tunnel whose TLS agreed on it: Node's nghttp2, turned into
 * exchanges, one for each stream. It decides nothing; what is malformed is refused, and who floods is cut off.
 *
 * Limits: streams at a time and their header lists, exchanges still at work for streams that are gone, resets over
 * time, frames that are not valid, and silence. Nothing is ever pushed.
 */
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { Clock } from '../core/ports.ts'
import type { ParsedRequest } from './h1-server.ts'
import { H2Sink } from './h2-sink.ts'
import { HTTP_TOKEN } from './headers.ts'
import { RateLimit } from './rate-limit.ts'

export interface H2Limits {
  readonly headerBytes: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
}

export interface H2Handler {
  /** One request; resolves when its exchange is over. Must not reject. */
  request(request: ParsedRequest, sink: H2Sink): Promise<void>
  /** A request that cannot be one: to be answered and recorded. */
  malformed(request: Pick<ParsedRequest, 'id' | 'method' | 'headers'>, sink: H2Sink, error: CoatcheckError): void
}

/** RFC 9113 6.5.2 recommends no fewer. */
const STREAMS = 100
/** Exchanges of one connection, those of streams that were reset included: an exchange outlives its stream a little. */
const EXCHANGES = 2 * STREAMS
/** Streams that a sandbox resets, per second, with a burst of ten seconds' worth. Clients cancel, but not like that. */
const RESETS_PER_SECOND = 20
/** Of one connection. Curious clients send a few. */
const INVALID_FRAMES = 100
/** Fields of one request, each crumb of a cookie one. */
const FIELDS = 500
/** How much a stream may send before it is read: what a sandbox can make this process keep, times the streams. */
const WINDOW_BYTES = 256 * 1024
const SESSION_MEGABYTES = 32

const END_STREAM = http2.constants.NGHTTP2_FLAG_END_STREAM
/** Visible ASCII without a fragment, which never leaves a client (RFC 9110 7.1). */
const PATH = /^[\x21\x22\x24-\x7e]+$/

export class H2Server {
  readonly #limits: H2Limits
  readonly #clock: Clock
  readonly #sessions = new Set<Connection>()

  constructor(limits: H2Limits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Serves a stream on which `h2` was agreed. */
  serve(stream: Duplex, handler: H2Handler): void {
    const session = http2.performServerHandshake(stream, {
      settings: {
        maxConcurrentStreams: STREAMS,
        maxHeaderListSize: this.#limits.headerBytes,
        initialWindowSize: WINDOW_BYTES,
        enableConnectProtocol: false,
      },
      maxHeaderListPairs: FIELDS,
      maxSessionInvalidFrames: INVALID_FRAMES,
      maxSessionRejectedStreams: STREAMS,
      maxSessionMemory: SESSION_MEGABYTES,
      strictSingleValueFields: false,
    })
    // A sandbox that closes its half counts as gone; the stream would stay, because it allows halves.
    stream.once('end', () => stream.destroy())
    const connection = new Connection(session, this.#limits, this.#clock, handler)
    this.#sessions.add(connection)
    session.once('close', () => this.#sessions.delete(connection))
  }

  /** Takes no further streams; connections close with their last one. */
  close(): void {
    for (const connection of this.#sessions) connection.close()
  }
}

class Connection {
  readonly #session: ServerHttp2Session
  readonly #limits: H2Limits
  readonly #clock: Clock
  readonly #handler: H2Handler
  readonly #resets: RateLimit
  #exchanges = 0

  constructor(session: ServerHttp2Session, limits: H2Limits, clock: Clock, handler: H2Handler) {
    this.#session = session
    this.#limits = limits
    this.#clock = clock
    this.#handler = handler
    this.#resets = new RateLimit(RESETS_PER_SECOND, clock)
    // Whatever breaks a connection also closes it, and its streams tell their exchanges.
    session.on('error', () => undefined)
    session.on('stream', this.#onStream)
    session.on('timeout', this.#onSilence)
    session.setTimeout(limits.headersTimeoutMs)
  }

  close(): void {
    this.#session.close()
  }

  readonly #onSilence = (): void => {
    // An exchange that runs has timeouts of its own.
    if (this.#exchanges === 0) this.#session.close()
    else this.#session.setTimeout(this.#limits.idleTimeoutMs)
  }

  readonly #onStream = (stream: ServerHttp2Stream, _fields: unknown, flags: number, raw: readonly string[]): void => {
    stream.on('error', () => undefined)
    // Reset before it was looked at: there is nobody to answer.
    const gone = stream.destroyed || stream.closed
    if (gone) this.#countReset()
    if (this.#exchanges >= EXCHANGES) this.#calm()
    if (gone || this.#session.destroyed) return
    this.#session.setTimeout(this.#limits.idleTimeoutMs)
    void this.#exchange(stream, flags, raw)
  }

  async #exchange(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): Promise<void> {
    const { method, scheme, target, headers } = fieldsOf(raw)
    const body = (flags & END_STREAM) === 0 ? stream : null
    const sink = new H2Sink(stream, method, body !== null)
    stream.once('close', () => {
      if (sink.gone) this.#countReset()
    })
    const id = uuidv7(this.#clock())
    const flaw = flawIn(method, scheme, target)
    if (flaw !== null) {
      this.#handler.malformed({ id, method, headers }, sink, flaw)
      return
    }
    this.#exchanges += 1
    const expectsContinue = headers.some((name, i) => i % 2 === 0 && name === 'expect')
    const trailers = body === null ? null : trailersOf(stream)
    const request = { id, httpVersion: '2.0', method, target, headers, body, trailers, expectsContinue, upgrade: null }
    await this.#handler.request(request, sink).finally(() => {
      this.#exchanges -= 1
    })
  }

  /** RFC 9113 10.5, CVE-2023-44487: opening and resetting streams costs the sandbox nothing, so it is rationed. */
  #countReset(): void {
    if (!this.#resets.take('')) this.#calm()
  }

  #calm(): void {
    if (this.#session.destroyed) return
    this.#session.destroy(new Error('the sandbox floods'), http2.constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }
}

/** They come before the stream's end. */
function trailersOf(stream: ServerHttp2Stream): () => readonly string[] {
  let fields: readonly string[] = []
  stream.once('trailers', (_fields: unknown, _flags: unknown, raw: readonly string[]) => {
    fields = raw
  })
  return () => fields
}

interface Fields {
  readonly method: string
  readonly scheme: string
  /** `:path`; empty when there is none. */
  readonly target: string
  /** Host first: as `:authority` says, and again as a `host` field does that says something else. */
  readonly headers: readonly string[]
}

/**
 * The request of a header list, in HTTP/1.1's terms: `:authority` is the Host (a differing `host` stays next to it, and
 * two are refused like in HTTP/1.1), and crumbs of a cookie are one again (RFC 9113 8.2.3).
 */
function fieldsOf(raw: readonly string[]): Fields {
  const pseudo: Record<string, string> = {}
  const headers: string[] = []
  let cookie = -1
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    if (name.startsWith(':')) {
      pseudo[name] = value
      // Pseudo-header fields come first (RFC 9113 8.3), so this is in front.
      if (name === ':authority') headers.push('host', value)
    } else if (name === 'cookie' && cookie >= 0) headers[cookie] += `; ${value}`
    else if (name !== 'host' || value !== pseudo[':authority']) {
      if (name === 'cookie') cookie = headers.length + 1
      headers.push(name, value)
    }
  }
  const { ':method': method = '', ':scheme': scheme = '', ':path': target = '' } = pseudo
  return { method, scheme, target, headers }
}

/** What HTTP/1.1's parser would not have let through, or would have read as something else. */
function flawIn(method: string, scheme: string, target: string): CoatcheckError | null {
  if (!HTTP_TOKEN.test(method)) {
    return new CoatcheckError('bad_request', 'The :method is not a token.', 'Send a method such as GET.')
  }
  // A tunnel in a tunnel has neither scheme nor path, and is refused as such.
  if (method === 'CONNECT') return null
  if (scheme !== 'https') {
    return new CoatcheckError('bad_request', 'The :scheme is not that of the connection.', 'Send :scheme https.')
  }
  if (PATH.test(target)) return null
  return new CoatcheckError(
    'bad_request',
    'The :path is empty, or holds a character that a request target may not hold.',
    'Percent-encode everything outside visible ASCII, and leave the fragment out.',
  )
}
