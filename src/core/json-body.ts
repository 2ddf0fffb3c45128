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

/** What may come next; a container's first value or key may also be its end. */
const TOP = 0
const FIRST_ITEM = 1
const ITEM = 2
const MEMBER = 3
const FIRST_KEY = 4
const KEY = 5
const COLON = 6
const AFTER_ITEM = 7
const AFTER_MEMBER = 8
/** Inside a word, in each container. */
const WORD_TOP = 9
const WORD_ITEM = 10
const WORD_MEMBER = 11
const MALFORMED = 12
/** Inside a string, in each container. */
const STRING_TOP = 13
const STRING_ITEM = 14
const STRING_MEMBER = 15
const KEY_STRING = 16
/** What a byte asks for, instead of a state. */
const OPEN_OBJECT = 17
const OPEN_ARRAY = 18
const CLOSE = 19
const NEXT_ITEM = 20

const QUOTE = 0x22
const BACKSLASH = 0x5c
const U = 0x75

/** 1 for the bytes that stand for themselves in a string: all but `"`, `\` and controls. */
const PLAIN = table((byte) => byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH)
/** After a backslash; `u` takes four digits more. */
const SHORT_ESCAPE = table((byte) => '"\\/bfnrt'.includes(String.fromCharCode(byte)))
const HEX = table((byte) => /[0-9A-Fa-f]/.test(String.fromCharCode(byte)))
const SPACES = ' \t\n\r'
/** Numbers, true, false, null; others are not looked into. */
const WORD_CHARACTERS = '-+._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
/** State inside a string -> the one behind it. */
const AFTER_STRING = Uint8Array.from({ length: KEY_STRING + 1 }, (_none, state) => {
  if (state === KEY_STRING) return COLON
  if (state === STRING_MEMBER) return AFTER_MEMBER
  return state === STRING_ITEM ? AFTER_ITEM : TOP
})
/** State and byte outside of strings -> the next state, or what is asked for. */
const STEPS = steps()
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const

export class JsonReader implements PlaceReader {
  readonly #path = new JsonPath(DEPTH_MAX)
  #state = TOP
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
    this.#read(bytes, from, to, base)
    this.#path.keep(bytes, to, this.#state === KEY_STRING)
    this.#before = Math.min(this.#before + to - from, BYTE_ORDER_MARK.length)
    this.#literalFrom = Math.max(this.#literalFrom - to, -LITERAL_MAX)
  }

  here(): BodyPlace {
    switch (this.#state) {
      case STRING_TOP:
      case STRING_ITEM:
      case STRING_MEMBER:
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

  #read(bytes: Buffer, from: number, to: number, base: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    // Local, because everything turns on it.
    let state = this.#state
    let at = from
    while (at < to && state !== MALFORMED) {
      if (state < MALFORMED) {
        const byte = bytes[at] as number
        const step = STEPS[(state << 8) | byte] as number
        at++
        if (step < MALFORMED) {
          state = step
          // Blanks and words, of which it need not wait for one to look at the next.
          while (at < to && STEPS[(step << 8) | (bytes[at] as number)] === step) at++
        } else if (step > KEY_STRING) state = this.#step(step)
        else if (step === MALFORMED) state = isByteOrderMark(byte, base + at - 1) ? afterWord(state) : MALFORMED
        else state = this.#openString(step, at)
      } else if (this.#escape === 0) {
        at = this.#pastLiterals(view, at, to)
        if (at < to) state = this.#inString(state, bytes[at] as number, at)
        at++
      } else {
        state = this.#inEscape(state, bytes[at] as number)
        at++
        this.#literalFrom = at
      }
    }
    this.#state = state
  }

  /** Does what is asked for outside of strings; the state after it. */
  #step(step: number): number {
    if (step === NEXT_ITEM) {
      this.#path.nextItem()
      return ITEM
    }
    if (step !== CLOSE) {
      if (!this.#path.open(step === OPEN_OBJECT)) return MALFORMED
      return step === OPEN_OBJECT ? FIRST_KEY : FIRST_ITEM
    }
    this.#path.close()
    if (this.#path.depth === 0) return TOP
    return this.#path.inObject ? AFTER_MEMBER : AFTER_ITEM
  }

  #openString(state: number, at: number): number {
    this.#literalFrom = at
    if (state === KEY_STRING) this.#path.beginKey(at)
    return state
  }

  /** Past the bytes that stand for themselves and the escapes of two characters. */
  #pastLiterals(view: DataView, from: number, to: number): number {
    let at = plainEnd(view, from, to)
    while (at + 1 < to && view.getUint8(at) === BACKSLASH && SHORT_ESCAPE[view.getUint8(at + 1)] === 1) {
      this.#literalFrom = at + 2
      at = plainEnd(view, at + 2, to)
    }
    return at
  }

  /** The state after a byte in a string that does not stand for itself. */
  #inString(state: number, byte: number, at: number): number {
    if (byte === QUOTE) {
      if (state === KEY_STRING) this.#path.endKey(at)
      return AFTER_STRING[state] as number
    }
    if (byte !== BACKSLASH) return MALFORMED
    this.#escape = 5
    return state
  }

  #inEscape(state: number, byte: number): number {
    if (this.#escape === 5 && SHORT_ESCAPE[byte] === 1) {
      this.#escape = 0
      return state
    }
    const valid = this.#escape === 5 ? byte === U : HEX[byte] === 1
    this.#escape--
    return valid ? state : MALFORMED
  }
}

/** RFC 8259 8.1 lets readers skip it. */
function isByteOrderMark(byte: number, at: number): boolean {
  return at < BYTE_ORDER_MARK.length && byte === BYTE_ORDER_MARK[at]
}

function afterWord(state: number): number {
  if (state === WORD_ITEM) return AFTER_ITEM
  if (state === WORD_MEMBER) return AFTER_MEMBER
  return state === WORD_TOP ? TOP : state
}

/** Where the bytes end that stand for themselves. */
function plainEnd(view: DataView, from: number, to: number): number {
  let at = from
  for (; at + 8 <= to; at += 8) {
    const first = stopsIn(view.getInt32(at, true))
    const second = stopsIn(view.getInt32(at + 4, true))
    if ((first | second) !== 0) return at + (first === 0 ? 4 + firstStop(second) : firstStop(first))
  }
  while (at < to && PLAIN[view.getUint8(at)] === 1) at++
  return at
}

/** The high bit of each of four bytes that does not stand for itself; above the first of them also of others, by carry. */
function stopsIn(four: number): number {
  const quotes = four ^ 0x22222222
  const backslashes = four ^ 0x5c5c5c5c
  const equal = ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes)
  return (equal | ((four - 0x20202020) & ~four)) & 0x80808080
}

function firstStop(stops: number): number {
  return (31 - Math.clz32(stops & -stops)) >> 3
}

function steps(): Uint8Array {
  const rows = new Uint8Array(MALFORMED * 256).fill(MALFORMED)
  const on = (state: number, bytes: string, step: number): void => {
    for (const byte of Buffer.from(bytes)) rows[(state << 8) | byte] = step
  }
  const values = [
    { states: [TOP], word: WORD_TOP, string: STRING_TOP },
    { states: [FIRST_ITEM, ITEM], word: WORD_ITEM, string: STRING_ITEM },
    { states: [MEMBER], word: WORD_MEMBER, string: STRING_MEMBER },
  ]
  for (let state = TOP; state <= AFTER_MEMBER; state++) on(state, SPACES, state)
  for (const { states, word, string } of values) {
    for (const state of states) {
      on(state, WORD_CHARACTERS, word)
      on(state, '"', string)
      on(state, '{', OPEN_OBJECT)
      on(state, '[', OPEN_ARRAY)
    }
  }
  for (const state of [FIRST_KEY, KEY]) on(state, '"', KEY_STRING)
  for (const state of [FIRST_KEY, AFTER_MEMBER]) on(state, '}', CLOSE)
  for (const state of [FIRST_ITEM, AFTER_ITEM]) on(state, ']', CLOSE)
  on(COLON, ':', MEMBER)
  on(AFTER_MEMBER, ',', KEY)
  on(AFTER_ITEM, ',', NEXT_ITEM)
  for (const word of [WORD_TOP, WORD_ITEM, WORD_MEMBER]) {
    const after = afterWord(word) << 8
    rows.copyWithin(word << 8, after, after + 256)
    on(word, WORD_CHARACTERS, word)
  }
  return rows
}

function table(has: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_none, byte) => (has(byte) ? 1 : 0))
}
