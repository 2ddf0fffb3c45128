/**
 * Follows an XML body: a value can be put into text and attribute values, escaped, and into CDATA as it is; never into
 * names, comments or processing instructions.
 *
 * A document type closes the rest of the body, because it can give every later name another meaning.
 */
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { closed } from './body-place.ts'
import { writeCdata, writeXml } from './body-value.ts'

const COMMENT = '!--'
const CDATA = '![CDATA['
/** What a name may begin with; bytes above ASCII too. */
const NAME_START = /[A-Za-z_:\x80-\xff]/
const LESS = 0x3c
const GREATER = 0x3e
const AMPERSAND = 0x26

type State = 'text' | 'opening' | 'tag' | 'attribute' | 'comment' | 'cdata' | 'instruction' | 'malformed'

/** What ends a section: so many of these bytes, then `>`. */
const ENDINGS = {
  comment: { byte: 0x2d, count: 2 },
  cdata: { byte: 0x5d, count: 2 },
  instruction: { byte: 0x3f, count: 1 },
} as const

export class XmlReader implements PlaceReader {
  #state: State = 'text'
  /** What came after `<`, until it says what begins there. */
  #opening = ''
  #quote = 0
  /** Between `&` and `;`. */
  #inEntity = false
  /** Of the section's ending, how many came in a row. */
  #endings = 0

  advance(bytes: Buffer, from: number, to: number): void {
    let at = from
    while (at < to) {
      if (this.#state === 'malformed') return
      if (this.#state === 'text' && !this.#inEntity) at = skipText(bytes, at, to)
      if (at < to) this.#read(bytes[at] as number)
      at++
    }
  }

  here(): BodyPlace {
    switch (this.#state) {
      case 'text':
      case 'attribute':
        if (this.#inEntity) return closed('malformed')
        return { open: true, selector: null, write: writeXml, literal: Number.POSITIVE_INFINITY }
      case 'cdata':
        return { open: true, selector: null, write: writeCdata, literal: Number.POSITIVE_INFINITY }
      case 'opening':
      case 'tag':
        return closed('name')
      case 'comment':
      case 'instruction':
        return closed('outside')
      case 'malformed':
        return closed('malformed')
    }
  }

  #read(byte: number): void {
    switch (this.#state) {
      case 'text':
        return this.#inText(byte, LESS)
      case 'attribute':
        return this.#inText(byte, this.#quote)
      case 'opening':
        return this.#inOpening(byte)
      case 'tag':
        return this.#inTag(byte)
      case 'comment':
      case 'cdata':
      case 'instruction':
        return this.#inSection(byte, ENDINGS[this.#state])
      case 'malformed':
    }
  }

  /** Text up to `<`, or an attribute's value up to its quote. */
  #inText(byte: number, end: number): void {
    if (byte === AMPERSAND) this.#inEntity = true
    else if (byte === 0x3b) this.#inEntity = false
    else if (byte === end) {
      if (this.#inEntity) this.#state = 'malformed'
      else this.#state = end === LESS ? 'opening' : 'tag'
    } else if (byte === LESS) this.#state = 'malformed'
  }

  #inOpening(byte: number): void {
    this.#opening += String.fromCharCode(byte)
    const opening = this.#opening
    if (opening === COMMENT) this.#begin('comment')
    else if (opening === CDATA) this.#begin('cdata')
    else if (opening === '?') this.#begin('instruction')
    else if (opening === '/' || NAME_START.test(opening.charAt(0))) this.#begin('tag')
    else if (!COMMENT.startsWith(opening) && !CDATA.startsWith(opening)) this.#begin('malformed')
  }

  #begin(state: State): void {
    this.#state = state
    this.#opening = ''
    this.#endings = 0
  }

  #inTag(byte: number): void {
    if (byte === GREATER) this.#state = 'text'
    else if (byte === LESS) this.#state = 'malformed'
    else if (byte === 0x22 || byte === 0x27) {
      this.#quote = byte
      this.#state = 'attribute'
    }
  }

  #inSection(byte: number, ending: { readonly byte: number; readonly count: number }): void {
    if (byte === ending.byte) this.#endings++
    else if (byte === GREATER && this.#endings >= ending.count) this.#state = 'text'
    else this.#endings = 0
  }
}

function skipText(bytes: Buffer, from: number, to: number): number {
  let at = from
  while (at < to && bytes[at] !== LESS && bytes[at] !== AMPERSAND) at++
  return at
}
