/**
 * Finds placeholders in a body that streams by and puts values in their place: one left-to-right pass over bytes,
 * nothing inserted is looked at again, every other byte stays as it was, and any cut of the input gives the same
 * output. At most a dress and a token are held back between chunks.
 *
 * Nothing is written before it is decided: `next` hands out a placeholder and goes on only after `swap` or `withhold`.
 * Whatever the decision, a placeholder stays as it is where its secret's placements, dress or limit do not cover it.
 */
import type { BodyMedia } from './body-media.ts'
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { placeReader } from './body-readers.ts'
import { CoatcheckError } from './errors.ts'
import { OccurrenceBudget } from './occurrence-budget.ts'
import { isToken, MARKER, TOKEN_LENGTH } from './placeholder.ts'
import type { Spot } from './placement.ts'
import { allowsSpot } from './placement.ts'
import type { MountedSecret } from './secret.ts'
import type { Release } from './substitution.ts'

export interface BodyOptions {
  readonly media: BodyMedia
  /** What the rest of the exchange put already counts; a fresh one by default. */
  readonly budget?: OccurrenceBudget
  /** Of the dresses of the secrets that may be put here; 40 by default. Fewer bytes are held back with a shorter one. */
  readonly longestDress?: number
  /** What the bytes are: `websocket` for one text message. */
  readonly surface?: 'body' | 'websocket'
}

/** A placeholder in a place that some placement could open. */
export interface BodyOccurrence {
  readonly token: string
  readonly spot: Spot
  /** False when the bytes before the token are not this secret's dress: then it is not this secret's placeholder. */
  isOf(secret: MountedSecret): boolean
  /** False when the exchange has put this secret as often as it may. */
  withinLimit(secret: MountedSecret): boolean
}

/** The release, recorded and opened, or null to leave the placeholder as it is. Throws to end the request. */
export type DecideInBody = (occurrence: BodyOccurrence) => Promise<Release | null>

/** Bytes may be views of the chunk that was pushed. */
export type BodyStep =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'occurrence'; readonly occurrence: BodyOccurrence }

interface Pending extends BodyOccurrence {
  readonly place: BodyPlace & { readonly open: true }
  /** Where the token stands in the bytes at hand. */
  readonly at: number
}

const MARKER_BYTES = Buffer.from(MARKER, 'latin1')
const NOTHING = Buffer.alloc(0)
const DRESS_MAX = 40
const IN_DRESS = Uint8Array.from({ length: 256 }, (_none, byte) =>
  /[A-Za-z0-9._-]/.test(String.fromCharCode(byte)) ? 1 : 0,
)
/** More placeholders than this in one body are withheld without asking: nobody means them, and asking costs. */
const DECISIONS_MAX = 1000

export class BodySubstituter {
  readonly #reader: PlaceReader
  readonly #budget: OccurrenceBudget
  readonly #longestDress: number
  readonly #surface: 'body' | 'websocket'
  #bytes: Buffer = NOTHING
  /** In the bytes at hand: before it all was handed out; before it the reader has read; from it on tokens are sought. */
  #sent = 0
  #read = 0
  #search = 0
  /** Where the last placeholder ends: no dress reaches back beyond it. */
  #floor = 0
  #ended = false
  #pending: Pending | null = null
  #inserted: Buffer | null = null
  #decisions = 0
  #found = 0
  #swapped = 0

  constructor(options: BodyOptions) {
    this.#reader = placeReader(options.media)
    this.#budget = options.budget ?? new OccurrenceBudget()
    this.#longestDress = options.media.kind === 'unknown' ? 0 : (options.longestDress ?? DRESS_MAX)
    this.#surface = options.surface ?? 'body'
  }

  /** Placeholders seen so far, in whatever place. */
  get found(): number {
    return this.#found
  }

  /** Values put in. */
  get swapped(): number {
    return this.#swapped
  }

  /** Placeholders left as they were. */
  get withheld(): number {
    return this.#found - this.#swapped - (this.#pending === null ? 0 : 1)
  }

  /** Only after `next` returned null. */
  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
  }

  /** There are no more bytes; `next` then gives what was held back. */
  end(): void {
    this.#ended = true
  }

  /** The next bytes to send or placeholder to decide on; null when it needs more bytes, or the body is complete. */
  next(): BodyStep | null {
    if (this.#pending !== null) throw misuse('A placeholder was neither swapped nor withheld.')
    if (this.#inserted !== null) {
      const bytes = this.#inserted
      this.#inserted = null
      return { kind: 'bytes', bytes }
    }
    for (let at = this.#nextToken(); at !== -1; at = this.#nextToken()) {
      this.#found++
      const occurrence = this.#occurrenceAt(at)
      this.#search = at + TOKEN_LENGTH
      if (occurrence !== null) {
        this.#pending = occurrence
        return { kind: 'occurrence', occurrence }
      }
      this.#floor = this.#search
    }
    return this.#settled()
  }

  /** Leaves the placeholder as it is. */
  withhold(): void {
    this.#decided()
  }

  /** Puts the value in the placeholder's place. Throws `value_not_placeable`. */
  swap({ secret, value }: Release): void {
    const pending = this.#decided()
    if (pending.token !== secret.token || !pending.isOf(secret)) return
    if (!allowsSpot(secret.placements, pending.spot)) return
    if (!pending.withinLimit(secret)) return
    const written = pending.place.write(value)
    if (!written.ok) {
      throw new CoatcheckError(
        'value_not_placeable',
        `The value of secret "${secret.name}" cannot be put into the body: ${written.why}.`,
        `Store a value that fits: coatcheck secret rotate ${secret.name}`,
      )
    }
    this.#budget.take(secret)
    this.#swapped++
    const end = pending.at + TOKEN_LENGTH
    const before = this.#bytes.subarray(this.#sent, end - secret.placeholder.length)
    this.#inserted = Buffer.concat([before, written.bytes])
    this.#sent = end
  }

  #decided(): Pending {
    const pending = this.#pending
    if (pending === null) throw misuse('No placeholder waits for a decision.')
    this.#pending = null
    this.#floor = pending.at + TOKEN_LENGTH
    return pending
  }

  /** Null where no value can ever be put. */
  #occurrenceAt(at: number): Pending | null {
    this.#readTo(at)
    const place = this.#reader.here()
    if (!place.open || this.#decisions === DECISIONS_MAX) return null
    this.#decisions++
    const bytes = this.#bytes
    const dressMax = Math.min(place.literal, at - this.#floor, this.#longestDress)
    const budget = this.#budget
    return {
      token: bytes.toString('latin1', at, at + TOKEN_LENGTH),
      spot: this.#surface === 'websocket' ? { kind: 'websocket' } : { kind: 'body', selector: place.selector },
      place,
      at,
      isOf(secret) {
        const dress = secret.placeholder.length - TOKEN_LENGTH
        return dress <= dressMax && bytes.toString('latin1', at - dress, at + TOKEN_LENGTH) === secret.placeholder
      },
      withinLimit: (secret) => budget.allows(secret),
    }
  }

  /** Where the next whole token stands; -1 when there is none yet, `#search` then where one may begin. */
  #nextToken(): number {
    const bytes = this.#bytes
    let at = bytes.indexOf(MARKER_BYTES, this.#search)
    while (at !== -1) {
      const text = bytes.toString('latin1', at, at + TOKEN_LENGTH)
      if (isToken(text)) return at
      this.#search = at
      if (text.length < TOKEN_LENGTH && !this.#ended && isToken(text.padEnd(TOKEN_LENGTH, '0'))) return -1
      this.#search = at + MARKER.length
      at = bytes.indexOf(MARKER_BYTES, this.#search)
    }
    this.#search = this.#ended ? bytes.length : bytes.length - markerBeginning(bytes, this.#search)
    return -1
  }

  /** Hands out all that cannot be a part of a placeholder that is still to come, and keeps a copy of the rest. */
  #settled(): BodyStep | null {
    const bytes = this.#bytes
    // Once the body is complete, nothing asks for the place of what is left.
    if (!this.#ended) this.#readTo(this.#search)
    const held = this.#ended ? bytes.length : this.#dressBefore(this.#search)
    const untouched = this.#sent === 0 && held === bytes.length
    const out = untouched ? bytes : bytes.subarray(this.#sent, held)
    this.#bytes = held === bytes.length ? NOTHING : Buffer.from(bytes.subarray(held))
    this.#sent = 0
    this.#read -= held
    this.#search -= held
    this.#floor = 0
    return out.length === 0 ? null : { kind: 'bytes', bytes: out }
  }

  #readTo(at: number): void {
    if (at > this.#read) this.#reader.advance(this.#bytes, this.#read, at)
    this.#read = at
  }

  /** Where the dress of a token at `end` may begin. */
  #dressBefore(end: number): number {
    const least = Math.max(this.#floor, end - this.#longestDress)
    let at = end
    while (at > least && IN_DRESS[this.#bytes[at - 1] as number] === 1) at--
    return at
  }
}

/**
 * A whole body through a substituter, with the reader's back-pressure: nothing is read ahead, and nothing after a
 * placeholder leaves before the decision on it. Chunks without anything to hold back come out as they went in.
 */
export async function* substituteBody(
  source: AsyncIterable<Buffer> | Iterable<Buffer>,
  substituter: BodySubstituter,
  decide: DecideInBody,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of source) {
    substituter.push(chunk)
    yield* decidedBytes(substituter, decide)
  }
  substituter.end()
  yield* decidedBytes(substituter, decide)
}

/** The same for a body that is complete: without a placeholder in it, its syntax is not even looked at. */
export async function substituteWhole(
  body: Buffer,
  substituter: BodySubstituter,
  decide: DecideInBody,
): Promise<Buffer> {
  substituter.push(body)
  substituter.end()
  const parts = await Array.fromAsync(decidedBytes(substituter, decide))
  return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
}

/** All that can be sent after a `push` or `end`, each placeholder on the way decided on. */
export async function* decidedBytes(
  substituter: BodySubstituter,
  decide: DecideInBody,
): AsyncGenerator<Buffer, void, undefined> {
  for (let step = substituter.next(); step !== null; step = substituter.next()) {
    if (step.kind === 'bytes') {
      yield step.bytes
      continue
    }
    const release = await decide(step.occurrence)
    if (release === null) substituter.withhold()
    else substituter.swap(release)
  }
}

/** How many of the last bytes, from `from` on, are the beginning of a marker: 0 to 5. */
function markerBeginning(bytes: Buffer, from: number): number {
  const tail = bytes.toString('latin1', Math.max(from, bytes.length - MARKER.length + 1))
  for (let length = tail.length; length > 0; length--) {
    if (tail.endsWith(MARKER.slice(0, length))) return length
  }
  return 0
}

function misuse(message: string): CoatcheckError {
  return new CoatcheckError('internal', message, 'Decide on each placeholder before the body goes on.')
}
