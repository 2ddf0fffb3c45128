/**
 * Replaces byte strings in a stream: one left-to-right pass, the longest needle first, replacements never looked at
 * again. Any cut of the input gives the same output, and only bytes that can begin a needle are held back.
 *
 * The search is Wu and Manber's (1994): a window as long as the shortest needle slides over the input, and a table over
 * pairs of bytes says how far it may slide, so that most bytes of clean input are never read, however many needles.
 */

export interface Needle {
  /** At least 2 bytes. */
  readonly find: Buffer
  readonly replacement: Buffer
  /** One as long as `find`, for where lengths are told elsewhere; made when it is needed. */
  readonly sameLength?: () => Buffer
}

/**
 * What follows the bytes at hand: nothing (true), anything (false), or only what this says may stand where the needle has
 * its byte `at`.
 */
export type Ending = boolean | ((needle: Buffer, at: number) => boolean)

/** Where a needle stands, or where one might begin (`needle` null) whose end has not come yet. */
interface Hit {
  readonly start: number
  readonly needle: Needle | null
}

/** A longer window slides further but costs more to prepare. */
const WINDOW_MAX = 32
/** How many bits of a table keep collisions rare for that many pairs; beyond, every pair has its own entry. */
const TABLES = [
  { pairs: 500, bits: 12 },
  { pairs: 2000, bits: 14 },
  { pairs: Number.POSITIVE_INFINITY, bits: 16 },
] as const
const EMPTY = Buffer.alloc(0)

/** Needles prepared for searching; immutable, and shared by any number of streams. */
export class NeedleSet {
  /** Bytes; no shorter text can hold a needle. Infinity when there is none. */
  readonly shortest: number
  readonly #window: number
  /** Pair of bytes -> how far the window slides when it ends in that pair; 0 = a needle may stand here. */
  readonly #slide: Uint8Array
  readonly #pairShift: number
  readonly #byLastPair = new Map<number, Needle[]>()
  readonly #byFirstByte: (Needle[] | undefined)[] = []

  /** Of needles with the same bytes the first counts. */
  constructor(needles: Iterable<Needle>) {
    const distinct = new Map<string, Needle>()
    for (const needle of needles) {
      const key = needle.find.toString('latin1')
      if (!distinct.has(key)) distinct.set(key, needle)
    }
    const longestFirst = [...distinct.values()].sort((a, b) => b.find.length - a.find.length)
    this.shortest = longestFirst[longestFirst.length - 1]?.find.length ?? Number.POSITIVE_INFINITY
    this.#window = Math.min(this.shortest, WINDOW_MAX)
    const pairs = longestFirst.length * this.#window
    const { bits } = TABLES.find((table) => pairs <= table.pairs) ?? TABLES[2]
    this.#pairShift = bits - 8 + (bits < 16 ? 1 : 0)
    this.#slide = new Uint8Array(2 ** bits).fill(this.#window - 1)
    for (const needle of longestFirst) this.#add(needle)
  }

  get isEmpty(): boolean {
    return this.#byLastPair.size === 0
  }

  /** All needles in `bytes` replaced; `bytes` itself when there is none. */
  replaceIn(bytes: Buffer): Buffer {
    return new StreamingReplacer(this).last(bytes)
  }

  /** The first needle at or after `from`, or the first place where one may begin and go on after the end. */
  find(bytes: Buffer, from: number, ending: Ending): Hit | null {
    const window = this.#window
    const slide = this.#slide
    const pairShift = this.#pairShift
    const mask = slide.length - 1
    const length = bytes.length
    let end = from + window - 1
    while (end < length) {
      const pair = (((bytes[end - 1] as number) << pairShift) ^ (bytes[end] as number)) & mask
      const distance = slide[pair] as number
      if (distance === 0) {
        const hit = hitAt(this.#byLastPair.get(pair), bytes, end - window + 1, ending)
        if (hit !== null) return hit
        end++
      } else {
        end += distance
      }
    }
    return ending === true ? null : this.#unfinished(bytes, Math.max(from, length - window + 1), ending)
  }

  /** The first place in the last bytes, too few for the window, where they are the beginning of a needle. */
  #unfinished(bytes: Buffer, from: number, ending: Ending): Hit | null {
    for (let start = from; start < bytes.length; start++) {
      const hit = hitAt(this.#byFirstByte[bytes[start] as number], bytes, start, ending)
      if (hit !== null) return hit
    }
    return null
  }

  #add(needle: Needle): void {
    const { find } = needle
    const last = this.#window - 1
    for (let at = 1; at <= last; at++) {
      const pair = this.#pair(find, at)
      this.#slide[pair] = Math.min(this.#slide[pair] as number, last - at)
    }
    const pair = this.#pair(find, last)
    const sharing = this.#byLastPair.get(pair)
    if (sharing === undefined) this.#byLastPair.set(pair, [needle])
    else sharing.push(needle)
    const first = find[0] as number
    const beginning = this.#byFirstByte[first]
    if (beginning === undefined) this.#byFirstByte[first] = [needle]
    else beginning.push(needle)
  }

  #pair(bytes: Buffer, end: number): number {
    const pair = ((bytes[end - 1] as number) << this.#pairShift) ^ (bytes[end] as number)
    return pair & (this.#slide.length - 1)
  }
}

/** One stream through a NeedleSet. */
export class StreamingReplacer {
  readonly #sameLength: boolean
  #needles: NeedleSet
  /** The end of what was pushed, when a needle may begin there; never longer than the longest needle. */
  #held: Buffer | null = null

  /** @param sameLength each needle becomes what it has of its own length. */
  constructor(needles: NeedleSet, sameLength = false) {
    this.#needles = needles
    this.#sameLength = sameLength
  }

  /** What can go on now: the chunk itself when nothing was replaced and nothing is held, and possibly nothing. */
  push(chunk: Buffer): Buffer {
    return this.#replace(this.#joined(chunk), false)
  }

  /** What was held back, at the end of the stream. */
  finish(): Buffer {
    return this.last(EMPTY)
  }

  /** `push` and `finish` in one, for the last chunk. */
  last(chunk: Buffer): Buffer {
    return this.#replace(this.#joined(chunk), true)
  }

  /** What of the held bytes can go on after all, since not everything can follow. */
  before(ending: Ending): Buffer {
    return this.#held === null ? EMPTY : this.#replace(this.#joined(EMPTY), ending)
  }

  /** Looks for these from now on, in the held bytes too. */
  lookFor(needles: NeedleSet): void {
    this.#needles = needles
  }

  #joined(chunk: Buffer): Buffer {
    if (this.#held === null) return chunk
    const joined = Buffer.concat([this.#held, chunk])
    this.#held = null
    return joined
  }

  #replace(bytes: Buffer, ending: Ending): Buffer {
    let hit = this.#needles.find(bytes, 0, ending)
    if (hit === null) return bytes
    const parts: Buffer[] = []
    let from = 0
    while (hit !== null) {
      if (hit.start > from) parts.push(bytes.subarray(from, hit.start))
      if (hit.needle === null) {
        // A copy, so that a few bytes do not keep a large chunk alive.
        this.#held = Buffer.from(bytes.subarray(hit.start))
        return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
      }
      const { find, replacement, sameLength } = hit.needle
      parts.push(this.#sameLength ? (sameLength?.() ?? replacement) : replacement)
      from = hit.start + find.length
      hit = this.#needles.find(bytes, from, ending)
    }
    parts.push(bytes.subarray(from))
    return Buffer.concat(parts)
  }
}

/** The longest of `candidates` (longest first) that stands at `start`, or may once more bytes come. */
function hitAt(candidates: readonly Needle[] | undefined, bytes: Buffer, start: number, ending: Ending): Hit | null {
  if (candidates === undefined) return null
  const available = bytes.length - start
  for (const needle of candidates) {
    const { find } = needle
    const whole = find.length <= available
    if (!whole && (ending === true || (ending !== false && !ending(find, available)))) continue
    const compared = whole ? find.length : available
    let at = 0
    while (at < compared && bytes[start + at] === find[at]) at++
    if (at === compared) return { start, needle: whole ? needle : null }
  }
  return null
}
