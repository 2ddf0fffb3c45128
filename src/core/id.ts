/**
 * Ids are UUIDv7 (RFC 9562 section 5.7): 48 bits of time first, so that they sort by creation, then 74 random bits.
 * A foreign contract may show the same 128 bits as a ULID (https://github.com/ulid/spec), with a prefix of its own.
 */
import { randomUUID } from 'node:crypto'

/** Crockford's base32, as ULIDs are written. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** The time part of the last id, and the millisecond that it is of: under load many ids share it. */
let lastTime = Number.NaN
let lastPrefix = ''

/** A UUIDv7 in lower case; `now` in milliseconds since the epoch. Ids of one millisecond are in no particular order. */
export function uuidv7(now: number): string {
  const time = Math.floor(now)
  if (time !== lastTime) {
    const digits = time.toString(16).padStart(12, '0')
    lastPrefix = `${digits.slice(0, 8)}-${digits.slice(8)}-7`
    lastTime = time
  }
  // randomUUID() is a version 4 id over Node's own pool of entropy, at about 0.1 µs: all but its time part and version stays.
  return lastPrefix + randomUUID().slice(15)
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
