/**
 * A coded response on its way to being masked: gzip, deflate and zstd (and Brotli on a Node that is safe with it) are opened,
 * bounded by what went in, and go on as identity; so are single messages that are coded (decoded-messages.ts). What is not
 * what its label says is refused; what cannot be opened goes on as it is, for the masking to refuse.
 */
import type { Transform } from 'node:stream'
import { CoatcheckError } from '../core/errors.ts'
import { FieldNames, without } from '../core/fields.ts'
import { unmaskable } from '../core/masking.ts'
import { codingOf, decoder, ExpansionGuard } from './content-coding.ts'
import { MessageDecoder } from './decoded-messages.ts'
import { single } from './headers.ts'
import { LayeredSink } from './layered-sink.ts'
import type { ResponseSink } from './message.ts'

/** True of the coded bytes alone. */
const OF_THE_CODING = new FieldNames([
  'content-encoding',
  'content-length',
  'content-md5',
  'digest',
  'content-digest',
  'etag',
  'accept-ranges',
])
/** How gzip (RFC 1952 2.3.1) and zstd (RFC 8878 3.1.1) begin: no text does. */
const PACKED_MAGIC = [Buffer.from([0x1f, 0x8b, 0x08]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])]
const TEXTUAL =
  /^\s*(?:text\/|application\/(?:[^;]*\+)?(?:json|xml)|application\/(?:javascript|x-www-form-urlencoded|x-ndjson))/i

interface Head {
  readonly status: number
  readonly reason: string
  readonly headers: readonly string[]
}

export class DecodedSink extends LayeredSink {
  readonly #method: string
  readonly #guard = new ExpansionGuard()
  #decoder: Transform | null = null
  /** Of a body that is in no coding, but its messages are. */
  #messages: MessageDecoder | null = null
  /** Sent with the first decoded byte, so that a body which does not open is still answered with an error. */
  #held: Head | null = null
  #settled: PromiseWithResolvers<void> | null = null
  #failure: CoatcheckError | null = null
  #stopUpstream: (() => void) | null = null
  #sniff = false
  #trailers: readonly string[] = []

  constructor(sink: ResponseSink, method: string) {
    super(sink)
    this.#method = method
  }

  override onGone(callback: () => void): void {
    this.#stopUpstream = callback
    this.sink.onGone(() => {
      this.#decoder?.destroy()
      this.#settled?.resolve()
      callback()
    })
  }

  override head(status: number, reason: string, headers: readonly string[]): void {
    const coding = this.#bodyless(status) ? 'identity' : codingOf(fieldOf(headers, 'content-encoding'))
    if (coding === 'identity' || coding === 'other' || status === 206) {
      this.#sniff = coding === 'identity' && TEXTUAL.test(fieldOf(headers, 'content-type') ?? '')
      this.#messages = coding === 'identity' ? MessageDecoder.of(headers) : null
      this.sink.head(status, reason, this.#messages === null ? headers : MessageDecoder.plainHead(headers))
      return
    }
    this.#held = { status, reason, headers: without(headers, OF_THE_CODING) }
    this.#settled = Promise.withResolvers<void>()
    // When the failure already stopped the upstream, nobody waits for the end any more.
    this.#settled.promise.catch(() => undefined)
    this.#decoder = decoder(coding)
    this.#decoder.on('data', this.#onData)
    this.#decoder.once('error', (cause) => this.#fail(notAsLabelled(cause)))
    this.#decoder.once('end', this.#onEnd)
  }

  /** Throws `unmaskable_response`. */
  override write(chunk: Buffer): boolean {
    if (this.#failure !== null) throw this.#failure
    if (this.#decoder === null) {
      this.#requireText(chunk)
      return this.#writePlain(chunk)
    }
    this.#guard.took(chunk.length)
    return this.#decoder.write(chunk)
  }

  override onDrain(callback: () => void): void {
    if (this.#decoder === null) this.sink.onDrain(callback)
    else this.#decoder.once('drain', callback)
  }

  override end(trailers: readonly string[]): void {
    if (this.#failure !== null) throw this.#failure
    this.#trailers = trailers
    this.#messages?.finish()
    if (this.#decoder === null) this.sink.end(trailers)
    else this.#decoder.end()
  }

  override settled(): Promise<void> | null {
    return this.#settled?.promise ?? null
  }

  override explain(error: unknown): unknown {
    return this.#failure ?? this.sink.explain(error)
  }

  override abort(): void {
    this.#decoder?.destroy()
    this.#settled?.resolve()
    this.sink.abort()
  }

  #writePlain(chunk: Buffer): boolean {
    if (this.#messages === null) return this.sink.write(chunk)
    const plain = this.#messages.push(chunk)
    return plain.length === 0 || this.sink.write(plain)
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#guard.gave(chunk.length)
      this.#sendHead()
      if (this.sink.write(chunk)) return
      this.#decoder?.pause()
      this.sink.onDrain(() => this.#decoder?.resume())
    } catch (error) {
      this.#fail(
        error instanceof CoatcheckError && error.code === 'body_too_large'
          ? tooLarge(error)
          : (error as CoatcheckError),
      )
    }
  }

  readonly #onEnd = (): void => {
    try {
      this.#sendHead()
      this.sink.end(this.#trailers)
      this.#settled?.resolve()
    } catch (error) {
      this.#fail(error as CoatcheckError)
    }
  }

  #sendHead(): void {
    const head = this.#held
    this.#held = null
    if (head !== null) this.sink.head(head.status, head.reason, head.headers)
  }

  /** Stops the upstream; whoever waits for the end is told why. */
  #fail(error: CoatcheckError): void {
    this.#failure ??= error
    this.#decoder?.destroy()
    this.#settled?.reject(this.#failure)
    this.#stopUpstream?.()
  }

  #bodyless(status: number): boolean {
    return this.#method === 'HEAD' || status === 204 || status === 304
  }

  /** A text that begins like a packed file would hide a value from the search. */
  #requireText(chunk: Buffer): void {
    if (!this.#sniff || chunk.length === 0) return
    this.#sniff = false
    if (PACKED_MAGIC.some((magic) => chunk.subarray(0, magic.length).equals(magic))) {
      throw notAsLabelled(new Error('packed bytes without a Content-Encoding'))
    }
  }
}

function fieldOf(headers: readonly string[], name: string): string | undefined {
  try {
    return single(headers, name)
  } catch {
    // Two fields: stacked codings, which are not opened.
    return `several ${name} fields`
  }
}

function notAsLabelled(cause: unknown): CoatcheckError {
  return unmaskable('its body is not in the coding that it names', cause)
}

function tooLarge(cause: unknown): CoatcheckError {
  return unmaskable('its body unpacks to far more than it should', cause)
}
