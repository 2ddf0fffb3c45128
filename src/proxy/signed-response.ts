/**
 * The response to a request that was signed again. The secret access key never left, so no answer can reflect it; what
 * left is a signature, the access key id and, with temporary credentials, their session token, none of use without it.
 *
 * So they are masked wherever that costs the client nothing, and nothing is refused: parts of an object (206), coded
 * bodies and bodies whose length is told and large pass as they are, because a storage client needs exactly those.
 */
import { inspectable, type Masker } from '../core/masking.ts'
import { COMPLETE_FIRST_BYTES, contentLength, MaskedSink } from './masked-response.ts'
import type { ResponseSink } from './message.ts'

export class SignedSink extends MaskedSink {
  readonly #masker: Masker
  readonly #method: string
  #passes = false

  constructor(sink: ResponseSink, masker: Masker, method: string) {
    super(sink, masker, method)
    this.#masker = masker
    this.#method = method
  }

  override head(status: number, reason: string, headers: readonly string[]): void {
    const large = (contentLength(headers) ?? 0) > COMPLETE_FIRST_BYTES
    this.#passes = large || !inspectable(status, headers, this.#method).ok
    if (this.#passes) this.sink.head(status, this.#masker.maskText(reason), this.#masker.maskHeaders(headers))
    else super.head(status, reason, headers)
  }

  override write(chunk: Buffer): boolean {
    return this.#passes ? this.sink.write(chunk) : super.write(chunk)
  }

  override end(trailers: readonly string[]): void {
    if (this.#passes) this.sink.end(this.#masker.maskHeaders(trailers))
    else super.end(trailers)
  }
}
