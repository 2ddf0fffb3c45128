/**
 * Follows an application/x-www-form-urlencoded body: a value can be put into the value of a field, never into its name.
 *
 * A field has a name only where every server reads the same one: a `;` that some take for a separator takes it away.
 */
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { closed } from './body-place.ts'
import { writeForm } from './body-value.ts'
import { queryName } from './placement.ts'

const AMPERSAND = 0x26
const EQUALS = 0x3d
const SEMICOLON = 0x3b
const PERCENT = 0x25
const ESCAPE_LENGTH = 3
/** The longest plain name, every character of it escaped. */
const NAME_BYTES = 128 * ESCAPE_LENGTH
/** No dress is longer. */
const LITERAL_MAX = 40
const NOTHING = Buffer.alloc(0)

export class FormReader implements PlaceReader {
  /** As it is written; null when too long. */
  #name: Buffer | null = NOTHING
  #inValue = false
  #ambiguous = false
  /** Bytes since the last escape, as far as they matter; negative inside of one. */
  #literal = 0

  advance(bytes: Buffer, from: number, to: number): void {
    const piece = bytes.subarray(from, to)
    const separator = piece.lastIndexOf(AMPERSAND)
    if (separator !== -1) {
      this.#name = NOTHING
      this.#inValue = false
      this.#ambiguous = false
    }
    this.#field(piece.subarray(separator + 1))
    const percent = piece.lastIndexOf(PERCENT)
    this.#literal =
      percent === -1 ? Math.min(this.#literal + piece.length, LITERAL_MAX) : piece.length - percent - ESCAPE_LENGTH
  }

  here(): BodyPlace {
    if (!this.#inValue) return closed('name')
    if (this.#literal < 0) return closed('malformed')
    return { open: true, selector: this.#selector(), write: writeForm, literal: this.#literal }
  }

  #field(part: Buffer): void {
    if (part.includes(SEMICOLON)) this.#ambiguous = true
    if (this.#inValue) return
    const equals = part.indexOf(EQUALS)
    const name = equals === -1 ? part : part.subarray(0, equals)
    const known = this.#name
    this.#name = known === null || known.length + name.length > NAME_BYTES ? null : Buffer.concat([known, name])
    this.#inValue = equals !== -1
  }

  #selector(): string | null {
    if (this.#name === null || this.#ambiguous) return null
    const name = queryName(this.#name.toString('latin1'))
    return name === '' ? null : name
  }
}
