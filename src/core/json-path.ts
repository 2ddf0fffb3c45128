/**
 * The containers that are open at one place of a JSON body, and the key or index that leads into each.
 *
 * Keys are noted by where they stand and copied only while they lead to an open container or member, so that following
 * costs nothing for the others. A key too long to be named is remembered as that.
 */
import { POINTER_DEPTH, pointerThrough } from './json-pointer.ts'

const KEY_BYTES = 1024
const NOTHING = Buffer.alloc(0)

export class JsonPath {
  /** 1 for objects; by depth, the outermost first. */
  readonly #objects: Uint8Array
  #depth = 0
  /** Of the containers down to POINTER_DEPTH: the index, or where the key stands in the piece at hand (-1: copied). */
  readonly #index = new Uint32Array(POINTER_DEPTH)
  readonly #keyFrom = new Int32Array(POINTER_DEPTH).fill(-1)
  readonly #keyTo = new Int32Array(POINTER_DEPTH)
  /** The key in its JSON spelling; null when too long. */
  readonly #keys = Array.from<Buffer | null>({ length: POINTER_DEPTH }).fill(null)

  constructor(depthMax: number) {
    this.#objects = new Uint8Array(depthMax)
  }

  get depth(): number {
    return this.#depth
  }

  get inObject(): boolean {
    return this.#objects[this.#depth - 1] === 1
  }

  /** False when it is too deep. */
  open(object: boolean): boolean {
    if (this.#depth === this.#objects.length) return false
    this.#objects[this.#depth] = object ? 1 : 0
    if (this.#depth < POINTER_DEPTH) {
      this.#index[this.#depth] = 0
      this.#keyFrom[this.#depth] = -1
      this.#keys[this.#depth] = null
    }
    this.#depth++
    return true
  }

  close(): void {
    this.#depth--
  }

  /** After a comma in an array. */
  nextItem(): void {
    const last = this.#depth - 1
    if (last < POINTER_DEPTH) this.#index[last] = (this.#index[last] as number) + 1
  }

  /** `at`: where the first byte after the quote stands in the piece at hand. */
  beginKey(at: number): void {
    const last = this.#depth - 1
    if (last >= POINTER_DEPTH) return
    this.#keyFrom[last] = at
    this.#keyTo[last] = -1
    this.#keys[last] = NOTHING
  }

  /** The key that the last piece ended in goes on at `at`. */
  resumeKey(at: number): void {
    const last = this.#depth - 1
    if (last < POINTER_DEPTH) this.#keyFrom[last] = at
  }

  /** `at`: where the closing quote stands. */
  endKey(at: number): void {
    const last = this.#depth - 1
    if (last < POINTER_DEPTH) this.#keyTo[last] = at
  }

  /** Copies the keys that are still needed once the piece, which ends at `to`, is gone. */
  keep(bytes: Buffer, to: number, insideKey: boolean): void {
    const named = Math.min(this.#depth, POINTER_DEPTH)
    for (let frame = 0; frame < named; frame++) {
      const from = this.#keyFrom[frame] as number
      if (from === -1) continue
      const open = insideKey && frame === this.#depth - 1
      const end = open ? to : (this.#keyTo[frame] as number)
      this.#keys[frame] = joined(this.#keys[frame] as Buffer | null, bytes, from, end)
      this.#keyFrom[frame] = -1
    }
  }

  /** Null at the root, too deep, and through keys that cannot be named. */
  pointer(): string | null {
    if (this.#depth === 0 || this.#depth > POINTER_DEPTH) return null
    const references: string[] = []
    for (let frame = 0; frame < this.#depth; frame++) {
      const name = this.#objects[frame] === 1 ? keyText(this.#keys[frame] as Buffer | null) : `${this.#index[frame]}`
      if (name === null) return null
      references.push(name)
    }
    return pointerThrough(references)
  }
}

function joined(begun: Buffer | null, bytes: Buffer, from: number, to: number): Buffer | null {
  if (begun === null || begun.length + to - from > KEY_BYTES) return null
  const rest = bytes.subarray(from, to)
  return begun.length === 0 ? Buffer.from(rest) : Buffer.concat([begun, rest])
}

/** What the JSON spelling between the quotes stands for; null when it is not UTF-8. */
function keyText(spelling: Buffer | null): string | null {
  if (spelling === null) return null
  const text = spelling.toString('utf8')
  if (!Buffer.from(text, 'utf8').equals(spelling)) return null
  try {
    return JSON.parse(`"${text}"`) as string
  } catch {
    return null
  }
}
