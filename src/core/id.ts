/** Ids are UUIDv7 (RFC 9562 section 5.7): 48 bits of time first, so that they sort by creation, then 74 random bits. */
import { randomUUID } from 'node:crypto'

/** A UUIDv7 in lower case; `now` in milliseconds since the epoch. Ids of one millisecond are in no particular order. */
export function uuidv7(now: number): string {
  const time = Math.floor(now).toString(16).padStart(12, '0')
  // randomUUID() is a version 4 id over Node's own pool of entropy, at about 0.1 µs: all but its time part and version stays.
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${randomUUID().slice(15)}`
}

/** True for the text form of a UUID of any version, in lower case. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text)
}
