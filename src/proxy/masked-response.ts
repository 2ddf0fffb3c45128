/**
 * The response of an exchange that released a value: the value is turned back into the placeholder in the reason, the
 * fields, the trailers and the streamed body. What cannot be inspected is refused, not passed.
 */
import { every, FieldNames, without } from '../core/fields.ts'
import { type BodyMasker, inspectable, unmaskable } from '../core/masking.ts'
import { lengthsOf } from '../core/message-frames.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import { lengthOf } from './headers.ts'
import { LayeredSink } from './layered-sink.ts'
import type { ResponseSink } from './message.ts'

/** A response with a Content-Length up to this is completed first, so that it keeps a (corrected) Content-Length. */
export const COMPLETE_FIRST_BYTES = 64 * 1024

const UNMASKABLE_REQUEST = new FieldNames([
  'accept-encoding',
  // Codings of single messages within a body.
  'grpc-accept-encoding',
  'connect-accept-encoding',
  'range',
  'if-range',
  'a-im',
])
/** Digests of the unmasked bytes say nothing true about the masked ones. */
const DIGESTS = new FieldNames(['content-length', 'content-md5', 'digest', 'content-digest', 'repr-digest'])

/** Asks for a response that can be inspected: identity coding and the whole of it. */
export function askInspectable(fields: readonly string[]): string[] {
  return [...without(fields, UNMASKABLE_REQUEST), 'accept-encoding', 'identity']
}

interface HeldHead {
  readonly status: number
  readonly reason: string
  readonly headers: readonly string[]
}

export class MaskedSink extends LayeredSink {
  readonly #released: ReleasedValues
  readonly #method: string
  #body: BodyMasker | null = null
  #held: HeldHead | null = null
  #chunks: Buffer[] = []
  /** True once the body is, or may be, another than the upstream's. */
  #changed = false

  constructor(sink: ResponseSink, released: ReleasedValues, method: string) {
    super(sink)
    this.#released = released
    this.#method = method
  }

  override informational(status: number, headers: readonly string[]): void {
    this.sink.informational(status, this.#released.maskHeaders(headers))
  }

  override switching(headers: readonly string[]): readonly string[] {
    return this.sink.switching(this.#released.maskHeaders(headers))
  }

  /** Throws `unmaskable_response`, as `write` does. */
  override head(status: number, reason: string, headers: readonly string[]): void {
    const verdict = inspectable(status, headers, this.#method)
    if (!verdict.ok) throw unmaskable(verdict.why)
    this.#body = this.#released.body(lengthsOf(every(headers, 'content-type')[0]))
    const masked = { status, reason: this.#released.maskText(reason), headers: this.#released.maskHeaders(headers) }
    const length = lengthOf(headers)
    if (this.#method === 'HEAD' || status === 304 || length === 0) {
      this.sink.head(masked.status, masked.reason, masked.headers)
    } else if (length !== null && length <= COMPLETE_FIRST_BYTES) {
      this.#held = masked
    } else {
      this.sink.head(masked.status, masked.reason, without(masked.headers, DIGESTS))
    }
  }

  override write(chunk: Buffer): boolean {
    const clean = this.#masker().push(chunk)
    if (clean !== chunk) this.#changed = true
    if (clean.length === 0) return true
    if (this.#held === null) return this.sink.write(clean)
    this.#chunks.push(clean)
    return true
  }

  override end(trailers: readonly string[]): void {
    const rest = this.#masker().finish()
    if (this.#held !== null) this.#releaseHeld(this.#held, rest)
    else if (rest.length > 0) this.sink.write(rest)
    this.sink.end(this.#released.maskHeaders(trailers))
  }

  /** The one that the head's type asked for. */
  #masker(): BodyMasker {
    this.#body ??= this.#released.body()
    return this.#body
  }

  #releaseHeld(head: HeldHead, rest: Buffer): void {
    const body =
      this.#chunks.length === 1 && rest.length === 0
        ? (this.#chunks[0] as Buffer)
        : Buffer.concat([...this.#chunks, rest])
    const headers = this.#changed
      ? [...without(head.headers, DIGESTS), 'content-length', String(body.length)]
      : head.headers
    this.sink.head(head.status, head.reason, headers)
    this.sink.write(body)
  }
}
