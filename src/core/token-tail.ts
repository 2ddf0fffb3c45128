/**
 * Tells where the tail of a token may stand, in whatever form, by four bytes out of every 23: text, JSON and random bytes
 * are full of bytes that no tail can hold. It may name a place without one, and misses none.
 *
 * Escaped or not, a tail is 26 or more bytes of one set. In base64 each of four characters in turn has a set of its
 * own, and in UTF-16 every other byte is zero, so that those depend on where they begin: each beginning is a form.
 */
import { ESCAPED_TAIL_ALPHABET, TAIL_ALPHABET } from './escaped-token.ts'
import { MARKER, TOKEN_LENGTH } from './placeholder.ts'

/** Forms, the bits of a number. */
export const ESCAPED = 1
/** Base64 with each of four beginnings, UTF-16 with each of two. */
export const WIDE = 0b1111110
const BASE64 = 1 << 1
const UTF16 = 1 << 5

const TAIL_LENGTH = TOKEN_LENGTH - MARKER.length
/** Bytes looked at, after which the sets repeat themselves. */
const LOOK = 4
/** The farthest at which every tail has a look inside it. */
export const STRIDE = TAIL_LENGTH - LOOK + 1
/** From the first look inside a tail of a wide form, that much of it is left: 34 or more bytes depend on the tail alone. */
const WIDE_LEFT = 34 - STRIDE + 1
/** An escaped tail goes on for as much as that on one side of the look. */
const SIDE = 8
/** Where the looks begin: no tail is missed, and there is a side before it. */
export const FIRST_LOOK = SIDE

/** Byte at place 0, 1, 2 or 3 of a look -> the forms it fits. */
const FITS = fits()

/** The first place at or after `from`, a whole number of strides on, that may be in a tail of these forms; -1 for none. */
export function nextTail(view: DataView, from: number, forms: number): number {
  // V8 reads an exported constant anew each time, which would take as long as the look itself.
  const stride = STRIDE
  const escaped = ESCAPED
  const last = view.byteLength - LOOK
  for (let at = from; at <= last; at += stride) {
    const found = look(view, at) & forms
    if (found !== 0 && (found !== escaped || at + SIDE > last || (goesOn(view, at) & escaped) !== 0)) return at
  }
  return -1
}

/** The forms of which there may be a tail at `at`, a place that `nextTail` gave. */
export function tailForms(view: DataView, at: number): number {
  const found = look(view, at)
  let wide = at + WIDE_LEFT > view.byteLength ? 0 : found & WIDE
  for (let next = at + LOOK; wide !== 0 && next < at + WIDE_LEFT; next += LOOK) wide &= look(view, next)
  return wide | (found & ESCAPED)
}

function look(view: DataView, at: number): number {
  const four = view.getInt32(at, true)
  return (
    (FITS[four & 0xff] as number) &
    (FITS[0x100 | ((four >>> 8) & 0xff)] as number) &
    (FITS[0x200 | ((four >>> 16) & 0xff)] as number) &
    (FITS[0x300 | (four >>> 24)] as number)
  )
}

/** Without a branch, because words of text go on as often as not. */
function goesOn(view: DataView, at: number): number {
  const before = look(view, at - SIDE) & look(view, at - LOOK)
  const after = look(view, at + LOOK) & look(view, at + SIDE)
  return before | after
}

function fits(): Uint8Array {
  const table = new Uint8Array(LOOK * 256)
  const add = (place: number, byte: number, form: number): void => {
    const index = ((place % LOOK) << 8) | byte
    table[index] = (table[index] as number) | form
  }
  for (let place = 0; place < LOOK; place++) {
    for (const byte of ESCAPED_TAIL_ALPHABET) add(place, byte, ESCAPED)
    for (const [turn, set] of base64Sets().entries()) for (const byte of set) add(place + turn, byte, BASE64 << place)
  }
  for (let place = 0; place < LOOK; place++) {
    const form = UTF16 << (place % 2)
    for (const byte of TAIL_ALPHABET) add(place, byte, form)
    add(place + 1, 0, form)
  }
  return table
}

/** Three bytes become four characters: what each of those may be. */
function base64Sets(): readonly ReadonlySet<number>[] {
  const sets = Array.from({ length: LOOK }, () => new Set<number>())
  for (const byte of TAIL_ALPHABET) {
    for (const next of TAIL_ALPHABET) {
      const text = Buffer.from([byte, next, byte]).toString('base64')
      for (const [turn, set] of sets.entries()) set.add(text.charCodeAt(turn))
    }
  }
  return sets
}
