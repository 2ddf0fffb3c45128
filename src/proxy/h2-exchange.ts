/**
 * One request on an HTTP/2 connection to an upstream: fields in order, body with back-pressure both ways, 1xx, trailers.
 * An answer is whole when the upstream ended it and its length is what it said; anything else cuts the sandbox's.
 *
 * What could be a credential, and whatever was swapped, is marked never to be indexed, so that no HPACK table on the
 * way learns it (RFC 7541 7.1).
 */

import { STATUS_CODES } from 'node:http'
import http2, { type ClientHttp2Stream } from 'node:http2'
import { CoatcheckError } from '../core/errors.ts'
import { every } from '../core/fields.ts'
import { isCredentialHeader } from '../core/placement.ts'
import type { H2Connection } from './h2-connection.ts'
import { fieldMap } from './h2-sink.ts'
import { responseFields } from './headers.ts'
import type { ForwardObserver, OutgoingRequest, OutgoingTrailers, ResponseSink } from './message.ts'
import { requireFewInformational, upstreamFailed, upstreamTimedOut } from './upstream-failure.ts'

export interface H2Timeouts {
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
}

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_REFUSED_STREAM } = http2.constants
/** Node's errors for a request that never left: the connection was closing. */
const NEVER_SENT = new Set(['ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION', 'ERR_HTTP2_OUT_OF_STREAMS'])

/**
 * Resolves with true once the response is complete, and with false when the upstream certainly did not look at the
 * request (RFC 9113 8.7) and nothing of it is used up. Rejects with `upstream_failed`, `upstream_timeout` or what the
 * sink threw.
 */
export function exchangeOn(
  connection: H2Connection,
  request: OutgoingRequest,
  sink: ResponseSink,
  observer: ForwardObserver,
  timeouts: H2Timeouts,
): Promise<boolean> {
  const { fields, sensitive } = fieldsOf(request)
  const stream = connection.request(fields, sensitive, {
    endStream: request.body === null,
    waitForTrailers: request.trailers !== null,
  })
  observer.reached(connection.peer)
  return new Promise((resolve, reject) => {
    const exchange = new H2Exchange(stream, request, sink, timeouts)
    exchange.run((error) => {
      if (error === null) resolve(true)
      else if (error instanceof NotProcessed) resolve(false)
      else reject(error)
      if (error instanceof CoatcheckError && error.code === 'upstream_timeout') connection.retire()
    })
  })
}

class NotProcessed extends Error {}

class H2Exchange {
  readonly #stream: ClientHttp2Stream
  readonly #request: OutgoingRequest
  readonly #sink: ResponseSink
  readonly #timeouts: H2Timeouts
  #finished: ((error: Error | null) => void) | null = null
  #timer: NodeJS.Timeout | null = null
  #informational = 0
  #answered = false
  /** The upstream ended the stream, and did not just reset it. */
  #whole = false
  /** Bytes that the answer still has to have; null when it did not say. */
  #missing: number | null = null
  #trailers: readonly string[] = []

  constructor(stream: ClientHttp2Stream, request: OutgoingRequest, sink: ResponseSink, timeouts: H2Timeouts) {
    this.#stream = stream
    this.#request = request
    this.#sink = sink
    this.#timeouts = timeouts
  }

  /** Calls back once: with null when the response is complete. */
  run(finished: (error: Error | null) => void): void {
    this.#finished = finished
    const stream = this.#stream
    // Node also ends what is reset with NO_ERROR in the middle; but then it closes the stream before that.
    const push = stream.push.bind(stream)
    stream.push = (chunk: unknown, encoding) => {
      if (chunk === null && !stream.closed) this.#whole = true
      return push(chunk, encoding)
    }
    stream.on('error', this.#onError)
    stream.on('headers', (_fields, _flags, raw) => this.#guarded(() => this.#onInformational(raw)))
    stream.once('response', (_fields, flags, raw) => this.#guarded(() => this.#onResponse(flags, raw)))
    stream.once('trailers', (_fields, _flags, raw) => {
      this.#trailers = raw
    })
    stream.once('end', () => this.#guarded(() => this.#onEnd()))
    stream.once('close', this.#onClose)
    this.#wait(this.#timeouts.headersTimeoutMs)
    if (this.#sink.gone) this.#fail(new Error('the sandbox went away'))
    else this.#sink.onGone(() => this.#fail(new Error('the sandbox went away')))
    if (this.#finished !== null) this.#sendBody()
  }

  #sendBody(): void {
    const { body, trailers } = this.#request
    if (body === null) return
    if (trailers !== null) this.#stream.once('wantTrailers', () => void this.#sendTrailers(trailers))
    if (body.destroyed) this.#fail(body.errored ?? new Error('the request body is gone'))
    body.on('data', (chunk: Buffer) => {
      this.#timer?.refresh()
      if (this.#stream.destroyed || this.#stream.write(chunk)) return
      body.pause()
      this.#stream.once('drain', () => body.resume())
    })
    body.once('end', () => this.#stream.end())
    body.on('error', (error) => this.#fail(error))
  }

  /** Called once all of the body is sent. A stream whose trailers are not sent is never ended, only reset. */
  async #sendTrailers(trailers: OutgoingTrailers): Promise<void> {
    if (this.#finished === null) return
    try {
      const fields = await trailers()
      requireWritable(fields)
      if (this.#finished === null) return
      const map = fieldMap(fields)
      this.#stream.sendTrailers({ ...map, [http2.sensitiveHeaders]: Object.keys(map) })
    } catch (error) {
      this.#fail(error)
    }
  }

  #onInformational(raw: readonly string[]): void {
    const { status, fields } = answerOf(raw)
    this.#informational += 1
    requireFewInformational(this.#informational)
    this.#sink.informational(status, fields)
  }

  #onResponse(flags: number, raw: readonly string[]): void {
    const { status, fields } = answerOf(raw)
    if (status < 200) throw new Error('an informational answer that ends the stream')
    this.#answered = true
    this.#wait(this.#timeouts.idleTimeoutMs)
    this.#missing = this.#lengthOf(status, fields)
    this.#sink.head(status, STATUS_CODES[status] ?? '', fields)
    if ((flags & NGHTTP2_FLAG_END_STREAM) !== 0) {
      this.#stream.resume()
      this.#complete()
      return
    }
    this.#stream.on('data', (chunk: Buffer) => this.#guarded(() => this.#onData(chunk)))
  }

  #lengthOf(status: number, fields: readonly string[]): number | null {
    if (this.#request.method === 'HEAD' || status === 304) return null
    const [length] = every(fields, 'content-length')
    return length === undefined ? null : Number(length)
  }

  #onData(chunk: Buffer): void {
    if (this.#finished === null) return
    if (this.#missing !== null) this.#missing -= chunk.length
    this.#timer?.refresh()
    if (this.#sink.write(chunk)) return
    // Time that a slow sandbox takes is not the upstream's.
    this.#stopWaiting()
    this.#stream.pause()
    this.#sink.onDrain(() => {
      if (this.#finished === null) return
      this.#wait(this.#timeouts.idleTimeoutMs)
      this.#stream.resume()
    })
  }

  #onEnd(): void {
    if (this.#whole && this.#answered) this.#complete()
  }

  #complete(): void {
    if (this.#finished === null) return
    if (this.#missing !== null && this.#missing !== 0) throw new Error('an answer of another length than it said')
    this.#sink.end(this.#trailers)
    this.#settle(null)
    const awaitsTrailers = this.#request.trailers !== null && this.#stream.sentTrailers === undefined
    if (!this.#stream.writableEnded || awaitsTrailers) this.#cancel()
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (this.#request.body === null && NEVER_SENT.has(error.code ?? '')) this.#fail(new NotProcessed())
    else if (!this.#refused) this.#fail(error)
  }

  readonly #onClose = (): void => {
    this.#fail(this.#refused ? new NotProcessed() : new Error(`the stream was reset: ${this.#stream.rstCode}`))
  }

  get #refused(): boolean {
    const { body } = this.#request
    return this.#stream.rstCode === NGHTTP2_REFUSED_STREAM && !this.#answered && body === null
  }

  /** Runs what an event asks for; what it throws ends the exchange and not the process. */
  #guarded(step: () => void): void {
    if (this.#finished === null) return
    try {
      step()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.#finished === null) return
    this.#settle(error instanceof NotProcessed ? error : upstreamFailed(error))
    this.#cancel()
  }

  /** Cancelled while it reads, a stream that still expects trailers makes Node abort (nodejs/node 41458): so, afterwards. */
  #cancel(): void {
    const close = () => this.#stream.close(NGHTTP2_CANCEL)
    if (this.#request.trailers === null) close()
    else setImmediate(close)
  }

  #settle(error: Error | null): void {
    const finished = this.#finished
    this.#finished = null
    this.#stopWaiting()
    this.#request.body?.destroy()
    finished?.(error)
  }

  #wait(ms: number): void {
    this.#stopWaiting()
    this.#timer = setTimeout(() => this.#fail(upstreamTimedOut()), ms)
  }

  #stopWaiting(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

interface OutgoingFields {
  readonly fields: readonly string[]
  /** Names, in lower case. */
  readonly sensitive: readonly string[]
}

/** HTTP/1.1's terms in HTTP/2's: Host is `:authority`, `TE: trailers` stays, everything else in order in lower case. */
function fieldsOf({ method, path, headers, received }: OutgoingRequest): OutgoingFields {
  const asReceived = new Set(received.headers)
  const sensitive = path === received.target ? [] : [':path']
  const rest: string[] = []
  let authority = ''
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1] as string
    if (name === 'host') authority = value
    else rest.push(name, value)
    if (!asReceived.has(value) || name === 'cookie' || isCredentialHeader(name)) sensitive.push(name)
  }
  if (every(received.headers, 'te').some((codings) => /(?:^|[,\s])trailers(?:$|[,;\s])/i.test(codings))) {
    rest.push('te', 'trailers')
  }
  const fields = [':method', method, ':scheme', 'https', ':authority', authority, ':path', path, ...rest]
  requireWritable(fields)
  return { fields, sensitive }
}

/** Node joins fields with NUL on their way to nghttp2, so that one in a value would begin another field. */
function requireWritable(fields: readonly string[]): void {
  if (fields.some((text) => /[\0\r\n]/.test(text))) throw upstreamFailed(new Error('a line break or NUL in a field'))
}

function answerOf(raw: readonly string[]): { readonly status: number; readonly fields: readonly string[] } {
  const status = raw.indexOf(':status')
  const fields = raw.filter((_text, i) => !(raw[i - (i % 2)] as string).startsWith(':'))
  return { status: Number(raw[status + 1]), fields: responseFields(fields) }
}
