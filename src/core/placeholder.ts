/**
 * A placeholder: the opaque token that stands for a secret inside a sandbox, optionally dressed with a prefix.
 *
 * A token is `xcoat_` and 26 characters of lower-case Crockford base32 (130 random bits). All that can be said of a
 * placeholder without knowing its secret is here: mint one, recognise one, find them in text and in streamed bytes.
 * The marker followed by anything else is plain text. Matching is exact: case matters, and a token is always
 * 32 characters, so one never is a part of another.
 */
import { randomBytes } from 'node:crypto'
import { CoatcheckError } from './errors.ts'

export const MARKER = 'xcoat_'
export const TOKEN_LENGTH = 32

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const MARKER_BYTES = Buffer.from(MARKER, 'latin1')
/** The marker's first byte. */
const X = 0x78
const DRESS = /^[A-Za-z0-9._-]{0,40}$/
const DISTINCT_TOKENS_KEPT = 64

/** 1 for the character codes a token may hold after its marker. */
const IN_ALPHABET = new Uint8Array(256)
for (const character of ALPHABET) IN_ALPHABET[character.charCodeAt(0)] = 1

/** A token and where it starts, in characters. */
export interface FoundToken {
  readonly token: string
  readonly index: number
}

const NO_TOKENS: readonly FoundToken[] = Object.freeze([])

export function mintToken(): string {
  const random = randomBytes(TOKEN_LENGTH - MARKER.length)
  let token = MARKER
  for (const byte of random) token += ALPHABET[byte & 31]
  return token
}

/** True for exactly one token, undressed. */
export function isToken(text: string): boolean {
  return text.length === TOKEN_LENGTH && text.startsWith(MARKER) && isTokenAt(text, 0)
}

/**
 * A prefix put before the token so that a client's own format check passes, such as `sk-ant-` or `ghp_`.
 * Safe unescaped in URL, header, JSON and shell. Returns it; throws `invalid_input`.
 */
export function validateDress(dress: string): string {
  if (!DRESS.test(dress)) {
    throw new CoatcheckError(
      'invalid_input',
      'The dress is not 0 to 40 characters of A-Z a-z 0-9 . _ -',
      'Use the prefix that the client checks for, such as "sk-ant-" or "ghp_".',
    )
  }
  if (dress.includes(MARKER)) {
    throw new CoatcheckError(
      'invalid_input',
      `The dress contains ${MARKER}, which starts every placeholder.`,
      'Leave that part out.',
    )
  }
  return dress
}

/** A value that contains the marker is refused at creation: what it stands for could be mistaken for a placeholder. */
export function containsMarker(bytes: Uint8Array): boolean {
  return asBuffer(bytes).includes(MARKER_BYTES)
}

/** The well-formed tokens of a latin1 string from `from` on: left to right, never overlapping. */
export function findTokens(text: string, from = 0): readonly FoundToken[] {
  let at = text.indexOf(MARKER, from)
  if (at === -1) return NO_TOKENS
  const found: FoundToken[] = []
  while (at !== -1) {
    if (isTokenAt(text, at)) {
      found.push({ token: text.slice(at, at + TOKEN_LENGTH), index: at })
      at = text.indexOf(MARKER, at + TOKEN_LENGTH)
    } else {
      at = text.indexOf(MARKER, at + MARKER.length)
    }
  }
  return found.length === 0 ? NO_TOKENS : found
}

/** True when the marker known to be at `at` is followed by the rest of a token. */
function isTokenAt(text: string, at: number): boolean {
  if (at + TOKEN_LENGTH > text.length) return false
  for (let index = at + MARKER.length; index < at + TOKEN_LENGTH; index++) {
    // A code above 255 reads as undefined, which is not 1.
    if (IN_ALPHABET[text.charCodeAt(index)] !== 1) return false
  }
  return true
}

/**
 * Counts tokens in bytes that pass by, at the speed of one search for the marker. Any cut of the same bytes gives the
 * same result. Holds at most TOKEN_LENGTH - 1 bytes between calls and never a reference to a chunk.
 */
export class TokenScanner {
  #count = 0
  readonly #tokens = new Set<string>()
  /** The end of what was pushed, when it may be the beginning of a token. */
  #carry: Buffer | null = null

  /** Tokens seen, repeated ones included. */
  get count(): number {
    return this.#count
  }

  /** The first 64 distinct tokens. */
  get tokens(): ReadonlySet<string> {
    return this.#tokens
  }

  push(chunk: Uint8Array): void {
    const bytes = asBuffer(chunk)
    let from = 0
    if (this.#carry !== null) from = this.#pushAcross(this.#carry, bytes)
    if (from < bytes.length) this.#scan(bytes, from)
  }

  /** Scans the carry with as much of `bytes` as a token in it can need; returns where the scan of `bytes` goes on. */
  #pushAcross(carry: Buffer, bytes: Buffer): number {
    const taken = Math.min(bytes.length, TOKEN_LENGTH - 1)
    const joined = Buffer.concat([carry, bytes.subarray(0, taken)])
    this.#carry = null
    // Only tokens that begin in the carry are settled here; all later ones lie in `bytes` whole or in its own tail.
    const resume = this.#scan(joined, 0, taken === bytes.length ? joined.length : carry.length)
    return taken === bytes.length ? bytes.length : Math.max(0, resume - carry.length)
  }

  /** Scans for tokens that begin in [from, limit) and keeps an unfinished one as the carry. Returns where it stopped. */
  #scan(bytes: Buffer, from: number, limit = bytes.length): number {
    let at = bytes.indexOf(MARKER_BYTES, from)
    let settled = from
    while (at !== -1 && at < limit) {
      const length = tokenPrefixLength(bytes, at)
      settled = at + MARKER.length
      if (length === TOKEN_LENGTH) {
        this.#record(bytes.toString('latin1', at, at + TOKEN_LENGTH))
        settled = at + TOKEN_LENGTH
      } else if (at + length === bytes.length) {
        this.#carry = Buffer.from(bytes.subarray(at))
        return bytes.length
      }
      at = bytes.indexOf(MARKER_BYTES, settled)
    }
    if (limit === bytes.length) this.#carry = markerBeginning(bytes, settled)
    return Math.max(settled, limit)
  }

  #record(token: string): void {
    this.#count++
    if (this.#tokens.size < DISTINCT_TOKENS_KEPT) this.#tokens.add(token)
  }
}

/** How many bytes at `at`, where a marker is, fit a token: from the marker's length up to TOKEN_LENGTH. */
function tokenPrefixLength(bytes: Buffer, at: number): number {
  const end = Math.min(bytes.length, at + TOKEN_LENGTH)
  let index = at + MARKER.length
  while (index < end && IN_ALPHABET[bytes[index] as number] === 1) index++
  return index - at
}

/** A copy of the last bytes, if they are the beginning of a marker (1 to 5 of its bytes); else null. */
function markerBeginning(bytes: Buffer, from: number): Buffer | null {
  const start = Math.max(from, bytes.length - MARKER.length + 1)
  for (let at = bytes.indexOf(X, start); at !== -1; at = bytes.indexOf(X, at + 1)) {
    const tail = bytes.subarray(at)
    if (MARKER_BYTES.subarray(0, tail.length).equals(tail)) return Buffer.from(tail)
  }
  return null
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
