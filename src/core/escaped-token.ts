/**
 * Finds placeholder tokens of which any characters are escaped, as percent-encoding, JSON, HTML and XML do it. Each
 * escape has a bounded length, so that a token has one too.
 */
import { isToken, MARKER, TOKEN_LENGTH } from './placeholder.ts'

/** What is said instead of a length. */
const NO_TOKEN = 0
const UNFINISHED = -1

const LAYERS_MAX = 4
const ZEROS_MAX = 6
const BACKSLASHES_MAX = 4
/** `&amp;amp;amp;amp;#x000000078;` */
const ESCAPE_MAX = 1 + LAYERS_MAX * 4 + 2 + ZEROS_MAX + 3 + 1
const LONGEST = TOKEN_LENGTH * ESCAPE_MAX
const TAIL_LENGTH = TOKEN_LENGTH - MARKER.length
const PERCENT = 0x25
const BACKSLASH = 0x5c
const AMPERSAND = 0x26
const UNDERSCORE = 0x5f
const U = 0x75
const X = 0x78

/** The bytes that may follow the marker, the same ones that are plain in a token. */
export const TAIL_ALPHABET: readonly number[] = Array.from({ length: 256 }, (_none, byte) => byte).filter((byte) =>
  isToken(MARKER + String.fromCharCode(byte).repeat(TAIL_LENGTH)),
)
/** With those of their escapes. */
export const ESCAPED_TAIL_ALPHABET: readonly number[] = [...TAIL_ALPHABET, ...Buffer.from('uABCDEFX%\\&#;')]
const IN_TAIL = table(TAIL_ALPHABET)
const IN_ESCAPED_TAIL = table(ESCAPED_TAIL_ALPHABET)
/** What a byte is to a token: text is full of bytes that none can hold, plain or escaped. */
const INSIDE = 0
const FIRST = 1
const ESCAPE = 2
const FOREIGN = 3
const CLASS = Uint8Array.from({ length: 256 }, (_none, byte) => {
  if (byte === X) return FIRST
  if (byte === PERCENT || byte === BACKSLASH || byte === AMPERSAND) return ESCAPE
  return /[0-9A-FXa-hj-z_#;]/.test(String.fromCharCode(byte)) ? INSIDE : FOREIGN
})
const LOOK_AHEAD = 5
/** The digit, or -1. */
const HEX = Int8Array.from({ length: 256 }, (_none, byte) =>
  '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase()),
)

/** One character: its code and how many bytes it takes, packed; NO_TOKEN when there is none, UNFINISHED when cut. */
type Character = number
const LENGTH_UNIT = 256

/** False when no escape begins in these bytes. */
export function mayHoldEscape(bytes: Buffer): boolean {
  return bytes.includes(PERCENT) || bytes.includes(BACKSLASH) || bytes.includes(AMPERSAND)
}

/** False when the bytes at and around `at`, as many as the shortest rest of a token has, cannot be one. */
export function mayBeInTail(bytes: Buffer, at: number): boolean {
  let from = at
  while (from > 0 && at - from < TAIL_LENGTH && isTailByte(bytes, from - 1)) from--
  const end = from + TAIL_LENGTH
  let to = at
  while (to < end && to < bytes.length && isTailByte(bytes, to)) to++
  return to === end
}

/** True when a token may begin at or after `from` that goes on beyond the bytes. */
export function endsInBeginning(bytes: Buffer, from: number, escapes: boolean): boolean {
  const least = Math.max(from, bytes.length - (escapes ? LONGEST : TOKEN_LENGTH) + 1)
  for (let at = bytes.length - 1; at >= least && isTokenByte(bytes, at); at--) {
    if (CLASS[bytes[at] as number] === INSIDE) continue
    if (mayBegin(bytes, at) && escapedTokenAt(bytes, at) === UNFINISHED) return true
  }
  return false
}

/**
 * Counts the escaped tokens in the bytes around `at` that can be in tokens, up to their `end` and back to `from` at most,
 * which no token reaches across. `unfinished` is where one may begin that goes on beyond all bytes, else null.
 */
export function scanRun(
  bytes: Buffer,
  at: number,
  from: number,
): { count: number; end: number; unfinished: number | null } {
  let count = 0
  let next = at
  while (next > from && isTokenByte(bytes, next - 1)) next--
  while (next < bytes.length) {
    const kind = CLASS[bytes[next] as number]
    if (kind === FOREIGN || (kind === ESCAPE && !mayEscape(bytes, next))) break
    if (kind === INSIDE || !mayBegin(bytes, next)) {
      next++
      continue
    }
    const length = escapedTokenAt(bytes, next)
    if (length === UNFINISHED) return { count, end: bytes.length, unfinished: next }
    // Without any escape it is a plain token, which others count.
    if (length > TOKEN_LENGTH) count++
    next += length === NO_TOKEN ? 1 : length
  }
  return { count, end: next, unfinished: null }
}

function isTokenByte(bytes: Buffer, at: number): boolean {
  const kind = CLASS[bytes[at] as number] as number
  return kind < ESCAPE || (kind === ESCAPE && mayEscape(bytes, at))
}

function isTailByte(bytes: Buffer, at: number): boolean {
  const byte = bytes[at] as number
  return IN_ESCAPED_TAIL[byte] === 1 && (CLASS[byte] !== ESCAPE || mayEscape(bytes, at))
}

/** False for the beginning of an escape that cannot be one in a token; bytes that are still to come may make it one. */
function mayEscape(bytes: Buffer, at: number): boolean {
  const next = bytes[at + 1]
  switch (bytes[at]) {
    case PERCENT:
      return next === 0x32 ? (bytes[at + 2] ?? 0x35) === 0x35 : next === undefined || (next >= 0x33 && next <= 0x37)
    case BACKSLASH:
      return next === undefined || next === U || next === BACKSLASH
    case AMPERSAND:
      return next === undefined || next === 0x23 || next === 0x61 || next === 0x6c
    default:
      return true
  }
}

/** How many bytes the token at `at` takes; NO_TOKEN when there is none, UNFINISHED when more bytes may make it one. */
function escapedTokenAt(bytes: Buffer, at: number): number {
  let end = at
  for (let place = 0; place < TOKEN_LENGTH; place++) {
    const character = characterAt(bytes, end)
    if (character <= 0) return character
    const code = character % LENGTH_UNIT
    if (place < MARKER.length ? code !== MARKER.charCodeAt(place) : IN_TAIL[code] !== 1) return NO_TOKEN
    end += (character - code) / LENGTH_UNIT
  }
  return end - at
}

/** At a byte that can begin a token: false when there is no `x`, plain or escaped. Near the end of the bytes it may be true without one. */
function mayBegin(bytes: Buffer, at: number): boolean {
  if (at + LOOK_AHEAD > bytes.length) return true
  const next = bytes[at + 1] as number
  switch (bytes[at]) {
    case PERCENT:
      return next === 0x37 ? bytes[at + 2] === 0x38 : next === 0x32
    case BACKSLASH:
      return next !== U || (bytes[at + 2] === 0x30 && bytes[at + 4] === 0x37)
    case X:
      return next === 0x63 || CLASS[next] === ESCAPE
    default:
      return true
  }
}

function characterAt(bytes: Buffer, at: number): Character {
  if (at >= bytes.length) return UNFINISHED
  const byte = bytes[at] as number
  if (byte === PERCENT) return percentAt(bytes, at)
  if (byte === BACKSLASH) return backslashAt(bytes, at)
  if (byte === AMPERSAND) return entityAt(bytes, at)
  return character(byte, 1)
}

/** `%5f`, `%255f` … */
function percentAt(bytes: Buffer, at: number): Character {
  for (let layer = 0, digits = at + 1; layer <= LAYERS_MAX; layer++, digits += 2) {
    const code = hexAt(bytes, digits, 2)
    if (code < 0 || code >= 0x80) return code === UNFINISHED ? UNFINISHED : NO_TOKEN
    if (code !== PERCENT) return character(code, digits + 2 - at)
  }
  return NO_TOKEN
}

/** `\u005f`, `\\u005f` … */
function backslashAt(bytes: Buffer, at: number): Character {
  let end = at
  while (end < at + BACKSLASHES_MAX && bytes[end] === BACKSLASH) end++
  if (end === bytes.length) return UNFINISHED
  if (bytes[end] !== U) return NO_TOKEN
  const code = hexAt(bytes, end + 1, 4)
  if (code < 0 || code >= 0x80) return code === UNFINISHED ? UNFINISHED : NO_TOKEN
  return character(code, end + 5 - at)
}

/** `&#95;`, `&#x5f;`, `&lowbar;`, `&amp;#95;` … */
function entityAt(bytes: Buffer, at: number): Character {
  let from = at + 1
  for (let layer = 0; layer < LAYERS_MAX; layer++) {
    const amp = literalAt(bytes, from, 'amp;')
    if (amp === UNFINISHED) return UNFINISHED
    if (amp === NO_TOKEN) break
    from += amp
  }
  if (from >= bytes.length) return UNFINISHED
  if (bytes[from] === 0x23) return numberedAt(bytes, at, from + 1)
  const lowbar = literalAt(bytes, from, 'lowbar;')
  return lowbar <= 0 ? lowbar : character(UNDERSCORE, from + lowbar - at)
}

/** After `&#`. */
function numberedAt(bytes: Buffer, at: number, from: number): Character {
  if (from >= bytes.length) return UNFINISHED
  const hexadecimal = bytes[from] === 0x78 || bytes[from] === 0x58
  const base = hexadecimal ? 16 : 10
  let end = hexadecimal ? from + 1 : from
  for (let zeros = 0; zeros < ZEROS_MAX && bytes[end] === 0x30; zeros++) end++
  let code = 0
  for (let digits = 0; digits < 3; digits++, end++) {
    const digit = HEX[bytes[end] ?? 0] as number
    if (digit === -1 || digit >= base) break
    code = code * base + digit
  }
  if (end >= bytes.length) return UNFINISHED
  return bytes[end] === 0x3b && code > 0 && code < 0x80 ? character(code, end + 1 - at) : NO_TOKEN
}

/** The number these hexadecimal digits stand for; UNFINISHED when cut, -2 when it is none. */
function hexAt(bytes: Buffer, at: number, digits: number): number {
  let code = 0
  for (let index = at; index < at + digits; index++) {
    if (index >= bytes.length) return UNFINISHED
    const digit = HEX[bytes[index] as number] as number
    if (digit === -1) return -2
    code = code * 16 + digit
  }
  return code
}

/** The length of `text` if it stands there; NO_TOKEN when not, UNFINISHED when cut. */
function literalAt(bytes: Buffer, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) {
    if (at + index >= bytes.length) return UNFINISHED
    if (bytes[at + index] !== text.charCodeAt(index)) return NO_TOKEN
  }
  return text.length
}

function table(bytes: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_none, byte) => (bytes.includes(byte) ? 1 : 0))
}

function character(code: number, length: number): Character {
  return length * LENGTH_UNIT + code
}
