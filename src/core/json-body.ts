/**
 * Follows a JSON body and says where in it the next byte stands: only inside a string that is no object key can a
 * value be put, and every such place has its JSON pointer.
 *
 * What is not RFC 8259 (comments, other quotes, a comma too many) closes the rest of the body, because other parsers
 * would read another structure. Words outside of strings are not checked, and documents may follow one another.
 */
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { closed } from './body-place.ts'
import { writeJson } from './body-value.ts'
import { JsonPath } from './json-path.ts'

const DEPTH_MAX = 1024
/** No dress is longer. */
const LITERAL_MAX = 40

/** What may come next. */
const VALUE = 0
const FIRST_ITEM = 1
const FIRST_KEY = 2
const KEY = 3
const COLON = 4
const AFTER = 5
/** What it is inside of. */
const STRING = 6
const KEY_STRING = 7
const WORD = 8
const MALFORMED = 9

const QUOTE = 0x22
const BACKSLASH = 0x5c
const U = 0x75

/** 1 for the bytes that stand for themselves in a string: all but `"`, `\` and controls. */
const IN_STRING = table((byte) => byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH)
const SPACE = table((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d)
/** Numbers, true, false, null. */
const IN_WORD = table((byte) => /[-+.0-9A-Za-z_]/.test(String.fromCharCode(byte)))
const ESCAPED = table((byte) => '"\\/bfnrtu'.includes(String.fromCharCode(byte)))
const HEX = table((byte) => /[0-9A-Fa-f]/.test(String.fromCharCode(byte)))
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const

export class JsonReader implements PlaceReader {
  readonly #path = new JsonPath(DEPTH_MAX)
  #state = VALUE
  /** Inside a string: 0, or what is left of an escape: 5 right after the backslash, then 4..1 hex digits. */
  #escape = 0
  /** Bytes before the piece at hand, as far as they matter. Large numbers would be slow, and bodies are larger. */
  #before = 0
  /** Where the last escape or the opening quote ended, in the piece at hand. */
  #literalFrom = 0

  advance(bytes: Buffer, from: number, to: number): void {
    const base = this.#before - from
    this.#literalFrom += from
    if (this.#state === KEY_STRING) this.#path.resumeKey(from)
    let at = from
    while (at < to) {
      if (this.#state === STRING || this.#state === KEY_STRING) at = this.#string(bytes, at, to)
      else if (this.#state === WORD) at = this.#word(bytes, at, to)
      else if (this.#state === MALFORMED) at = to
      else at = this.#structure(bytes, at, to, base)
    }
    this.#path.keep(bytes, to, this.#state === KEY_STRING)
    this.#before = Math.min(this.#before + to - from, BYTE_ORDER_MARK.length)
    this.#literalFrom = Math.max(this.#literalFrom - to, -LITERAL_MAX)
  }

  here(): BodyPlace {
    switch (this.#state) {
      case STRING:
        if (this.#escape !== 0) return closed('malformed')
        return { open: true, selector: this.#path.pointer(), write: writeJson, literal: -this.#literalFrom }
      case KEY_STRING:
        return closed('name')
      case MALFORMED:
        return closed('malformed')
      default:
        return closed('outside')
    }
  }

  #string(bytes: Buffer, from: number, to: number): number {
    let at = from
    if (this.#escape !== 0) {
      this.#inEscape(bytes[at] as number)
      this.#literalFrom = at + 1
      return at + 1
    }
    while (at < to && IN_STRING[bytes[at] as number] === 1) at++
    if (at === to) return to
    const byte = bytes[at] as number
    if (byte === BACKSLASH) this.#escape = 5
    else if (byte !== QUOTE) this.#state = MALFORMED
    else if (this.#state === STRING) this.#state = AFTER
    else {
      this.#path.endKey(at)
      this.#state = COLON
    }
    return at + 1
  }

  #inEscape(byte: number): void {
    const valid = this.#escape === 5 ? ESCAPED[byte] : HEX[byte]
    if (valid !== 1) this.#state = MALFORMED
    else if (this.#escape === 5 && byte !== U) this.#escape = 0
    else this.#escape--
  }

  #word(bytes: Buffer, from: number, to: number): number {
    let at = from
    while (at < to && IN_WORD[bytes[at] as number] === 1) at++
    if (at < to) this.#state = AFTER
    return at
  }

  /** White space and one structural byte. */
  #structure(bytes: Buffer, from: number, to: number, base: number): number {
    let at = from
    while (at < to && SPACE[bytes[at] as number] === 1) at++
    if (at === to) return to
    const byte = bytes[at] as number
    if (byte === QUOTE) {
      this.#openString(at)
      this.#literalFrom = at + 1
    } else if (byte === BYTE_ORDER_MARK[base + at]) {
      // RFC 8259 8.1 lets readers skip it.
    } else {
      this.#state = this.#next(byte)
    }
    return at + 1
  }

  #openString(at: number): void {
    const state = this.#state
    if (state === KEY || state === FIRST_KEY) {
      this.#state = KEY_STRING
      this.#path.beginKey(at + 1)
    } else {
      this.#state = this.#takesValue() ? STRING : MALFORMED
    }
  }

  /** The state after a structural byte or the first of a word. */
  #next(byte: number): number {
    switch (byte) {
      case 0x7b: // {
        return this.#takesValue() && this.#path.open(true) ? FIRST_KEY : MALFORMED
      case 0x5b: // [
        return this.#takesValue() && this.#path.open(false) ? FIRST_ITEM : MALFORMED
      case 0x7d: // }
        return this.#mayClose(true) && this.#path.close() ? AFTER : MALFORMED
      case 0x5d: // ]
        return this.#mayClose(false) && this.#path.close() ? AFTER : MALFORMED
      case 0x3a: // :
        return this.#state === COLON ? VALUE : MALFORMED
      case 0x2c: // ,
        if (this.#state !== AFTER || this.#path.depth === 0) return MALFORMED
        return this.#path.nextMember() ? KEY : VALUE
      default:
        return IN_WORD[byte] === 1 && this.#takesValue() ? WORD : MALFORMED
    }
  }

  #takesValue(): boolean {
    const state = this.#state
    return state === VALUE || state === FIRST_ITEM || (state === AFTER && this.#path.depth === 0)
  }

  #mayClose(object: boolean): boolean {
    if (this.#path.depth === 0 || this.#path.inObject !== object) return false
    return this.#state === AFTER || this.#state === (object ? FIRST_KEY : FIRST_ITEM)
  }
}

function table(has: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_none, byte) => (has(byte) ? 1 : 0))
}
