/** Finds requests that came through this proxy before, by its own name in `Via` (RFC 9110 7.6.3). */
import { CoatcheckError } from '../core/errors.ts'
import { every } from '../core/fields.ts'

export class LoopGuard {
  readonly #pseudonym: string

  /** @param pseudonym a token unique to this installation, such as `coatcheck-1f0c9a2e`. */
  constructor(pseudonym: string) {
    this.#pseudonym = pseudonym
  }

  /** Throws `loop_detected`. */
  check(headers: readonly string[]): void {
    for (const via of every(headers, 'via')) {
      if (!via.includes(this.#pseudonym)) continue
      throw new CoatcheckError(
        'loop_detected',
        'The request came back to the proxy that sent it.',
        'Check upstream.proxy and upstream.resolve: one of them points back here.',
      )
    }
  }

  /** Adds our `Via`, with the protocol that the request came by, to fields that are about to be sent. */
  mark(fields: string[], httpVersion: string): string[] {
    fields.push('via', `${httpVersion} ${this.#pseudonym}`)
    return fields
  }
}
