/**
 * The response to a request that was signed again. The secret access key never left, so no answer can reflect it; what
 * left is a signature, the access key id and, with temporary credentials, their session token, none of use without it.
 *
 * So they are masked wherever that costs the client nothing, and nothing is refused: parts of an object (206), coded
 * bodies and bodies whose length is told and large pass as they are, because a storage client needs exactly those.
 */
import { inspectable } from '../core/masking.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import { lengthOf } from './headers.ts'
import { COMPLETE_FIRST_BYTES, MaskedSink } from './masked-response.ts'
import type { ResponseSink } from './message.ts'

export class SignedSink extends MaskedSink {
  readonly #released: ReleasedValues
  readonly #method: string
  #passes = false

  constructor(sink: ResponseSink, released: ReleasedValues, method: string) {
    super(sink, released, method)
    this.#released = released
    this.#method = method
  }

  override head(status: number, reason: string, headers: readonly string[]): void {
    const large = (lengthOf(headers) ?? 0) > COMPLETE_FIRST_BYTES
    this.#passes = large || !inspectable(status, headers, this.#method).ok
    if (this.#passes) this.sink.head(status, this.#released.maskText(reason), this.#released.maskHeaders(headers))
    else super.head(status, reason, headers)
  }

  override write(chunk: Buffer): boolean {
    return this.#passes ? this.sink.write(chunk) : super.write(chunk)
  }

  override end(trailers: readonly string[]): void {
    if (this.#passes) this.sink.end(this.#released.maskHeaders(trailers))
    else super.end(trailers)
  }
}
