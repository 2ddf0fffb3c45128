/**
 * Ids are UUIDv7 (RFC 9562 section 5.7): 48 bits of time first, so that they sort by creation, then 74 random bits.
 * A foreign contract may show the same 128 bits as a ULID (https://github.com/ulid/spec), with a prefix of its own.
 */
import { randomFillSync } from 'node:crypto'

/** Crockford's base32, as ULIDs are written. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** The id under way: dashes, version and the time of the last one stay from one id to the next. */
const text = Buffer.from('00000000-0000-7000-8000-000000000000', 'latin1')
let time = 0

/** Where its random digits stand; the first of the second group has the variant in its upper half. */
const RANDOM_DIGITS = [15, 16, 17, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35] as const
const VARIANT_DIGIT = 19
const RANDOM_BYTES = Math.ceil(RANDOM_DIGITS.length / 2)
const HEX = Buffer.from('0123456789abcdef', 'latin1')

/** Entropy for many ids, because asking for it is what costs. */
const entropy = Buffer.alloc(RANDOM_BYTES * 256)
let used = entropy.length

/** A UUIDv7 in lower case, as flat text; `now` in milliseconds since the epoch. Ids of one millisecond are in no particular order. */
export function uuidv7(now: number): string {
  const milliseconds = Math.floor(now)
  if (milliseconds !== time) {
    const digits = milliseconds.toString(16).padStart(12, '0')
    text.write(`${digits.slice(0, 8)}-${digits.slice(8)}`, 'latin1')
    time = milliseconds
  }
  if (used === entropy.length) {
    randomFillSync(entropy)
    used = 0
  }
  for (let i = 0; i < RANDOM_DIGITS.length; i++) {
    const byte = entropy[used + (i >> 1)] as number
    text[RANDOM_DIGITS[i] as number] = HEX[i % 2 === 0 ? byte >> 4 : byte & 0xf] as number
  }
  text[VARIANT_DIGIT] = HEX[0x8 | ((entropy[used + 1] as number) & 0x3)] as number
  used += RANDOM_BYTES
  return text.toString('latin1')
}

/** True for the text form of a UUID of any version, in lower case. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text)
}

/** The 128 bits of a UUID as 26 characters of Crockford base32. Throws on what is no UUID. */
export function ulidOf(uuid: string): string {
  if (!isUuid(uuid)) throw new TypeError('Only a UUID can be shown as a ULID.')
  let rest = BigInt(`0x${uuid.replaceAll('-', '')}`)
  let text = ''
  for (let at = 0; at < 26; at++) {
    text = ALPHABET.charAt(Number(rest & 31n)) + text
    rest >>= 5n
  }
  return text
}

/** The UUID with the same 128 bits, or null for what is no ULID. Case is ignored; I, L, O and U are not letters here. */
export function uuidOfUlid(ulid: string): string | null {
  const text = ulid.toUpperCase()
  if (!ULID.test(text)) return null
  let value = 0n
  for (const character of text) value = (value << 5n) | BigInt(ALPHABET.indexOf(character))
  const hex = value.toString(16).padStart(32, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
