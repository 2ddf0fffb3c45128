/**
 * A response over HTTP/2, on one stream: fields in order, with back-pressure and trailers. The head waits until the end
 * of the tick for the first byte or the end, so that an answer without a body ends with its head (gRPC reads a status
 * from such a head, and from no other). A response that has begun and fails is reset, never ended.
 */
import { constants, type ServerHttp2Stream } from 'node:http2'
import { CoatcheckError } from '../core/errors.ts'
import { lowerNames, responseFields } from './headers.ts'
import type { ResponseSink } from './message.ts'

/** HTTP/2 has no other statuses here: Node sends none above. */
const HIGHEST_STATUS = 599
/** RFC 9110 15.3.5, 15.3.6, 15.4.5. */
const BODYLESS = new Set([204, 205, 304])

export class H2Sink implements ResponseSink {
  readonly #stream: ServerHttp2Stream
  readonly #hasBody: boolean
  #status: number | null = null
  /** Decided on, not yet sent. */
  #head: string[] | null = null
  #first: Buffer | null = null
  #bodyless: boolean
  #trailers: Record<string, string[]> = {}
  #bytes = 0
  #ended = false
  #gone = false
  #onGone: (() => void) | null = null

  /** @param hasBody the request does not end with its head. */
  constructor(stream: ServerHttp2Stream, method: string, hasBody: boolean) {
    this.#stream = stream
    this.#hasBody = hasBody
    this.#bodyless = method === 'HEAD'
    stream.on('aborted', this.#onClose)
    stream.on('close', this.#onClose)
  }

  get headSent(): boolean {
    return this.#status !== null
  }

  get status(): number | null {
    return this.#status
  }

  get bytes(): number {
    return this.#bytes
  }

  get gone(): boolean {
    return this.#gone
  }

  onGone(callback: () => void): void {
    this.#onGone = callback
  }

  informational(status: number, headers: readonly string[]): void {
    this.#attempt(() => this.#stream.additionalHeaders({ ':status': status, ...fieldMap(headers) }))
  }

  switching(): readonly string[] {
    throw new CoatcheckError('internal', 'HTTP/2 has no 101.', 'Open a WebSocket over HTTP/1.1.')
  }

  /** Throws `upstream_failed` for a status that HTTP/2 cannot carry. */
  head(status: number, _reason: string, headers: readonly string[]): void {
    if (status > HIGHEST_STATUS) {
      throw new CoatcheckError(
        'upstream_failed',
        'The upstream answered with a status above 599.',
        'Ask for it over HTTP/1.1.',
      )
    }
    this.#status = status
    this.#bodyless ||= BODYLESS.has(status)
    this.#head = [':status', String(status), ...lowerNames(headers)]
    process.nextTick(this.#flush)
  }

  write(chunk: Buffer): boolean {
    if (this.#bodyless) return true
    this.#bytes += chunk.length
    if (this.#head !== null && this.#first === null) {
      this.#first = chunk
      return true
    }
    this.#flush()
    return this.#closed || this.#stream.write(chunk)
  }

  onDrain(callback: () => void): void {
    this.#stream.once('drain', callback)
  }

  end(trailers: readonly string[]): void {
    this.#ended = true
    if (this.#closed) return
    if (!this.#bodyless) this.#trailers = fieldMap(responseFields(trailers))
    const trailed = Object.keys(this.#trailers).length > 0
    const first = this.#first
    if (this.#head !== null && first === null && !trailed) this.#respond({ endStream: true })
    else if (this.#head !== null) this.#respond({ waitForTrailers: trailed })
    if (first === null) this.#stream.end()
    else this.#stream.end(first)
  }

  settled(): null {
    return null
  }

  explain(error: unknown): unknown {
    return error
  }

  abort(): void {
    this.#ended = true
    this.#head = null
    this.#stream.off('aborted', this.#onClose).off('close', this.#onClose)
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  get #closed(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  #respond(options: { readonly endStream?: boolean; readonly waitForTrailers?: boolean }): void {
    const head = this.#head
    const asGiven = { ...options, sendDate: false }
    this.#head = null
    this.#first = null
    if (options.waitForTrailers === true) this.#stream.once('wantTrailers', this.#sendTrailers)
    else this.#stream.once('finish', this.#closeUnread)
    if (head !== null) this.#attempt(() => this.#stream.respond(head, asGiven))
  }

  /** Node throws for what it will not send, and some of this runs where nothing would catch it. */
  #attempt(send: () => void): void {
    if (this.#closed) return
    try {
      send()
    } catch {
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
  }

  /** Called once all of the body is sent, if trailers were announced to Node; none end the stream with an empty frame. */
  readonly #sendTrailers = (): void => {
    this.#attempt(() => this.#stream.sendTrailers(this.#trailers))
    // Node sends them in an immediate of its own.
    setImmediate(this.#closeUnread)
  }

  /** RFC 9113 8.1: a request whose body nobody waits for any more is reset without an error. */
  readonly #closeUnread = (): void => {
    if (this.#hasBody && !this.#stream.readableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR)
  }

  readonly #flush = (): void => {
    if (this.#head === null) return
    const first = this.#first
    // Whether trailers follow is not known yet.
    this.#respond({ waitForTrailers: !this.#bodyless })
    if (first !== null && !this.#closed) this.#stream.write(first)
  }

  readonly #onClose = (): void => {
    if (this.#gone || (this.#ended && this.#stream.writableFinished)) return
    this.#gone = true
    this.#onGone?.()
  }
}

/** Fields as Node takes them for anything but a head: under one name all its values, in order. */
export function fieldMap(headers: readonly string[]): Record<string, string[]> {
  const map = new Map<string, string[]>()
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const values = map.get(name)
    if (values === undefined) map.set(name, [headers[i + 1] as string])
    else values.push(headers[i + 1] as string)
  }
  return Object.fromEntries(map)
}
