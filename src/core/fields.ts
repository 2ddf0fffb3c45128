/** Fields of a message as raw pairs (name, value, name, value …), in wire order and case, read by name. */

/** Whether a field's name, in any case, is that (lower-case) one: most differ in length, which costs nothing to see. */
export function isNamed(name: string, wanted: string): boolean {
  return name.length === wanted.length && name.toLowerCase() === wanted
}

/** Values of all fields of that (lower-case) name, in order. */
export function every(headers: readonly string[], name: string): readonly string[] {
  const values: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i] as string, name)) values.push(headers[i + 1] as string)
  }
  return values
}

/** Without the named fields. */
export function without(headers: readonly string[], names: FieldNames): string[] {
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    if (!names.has(headers[i] as string)) kept.push(headers[i] as string, headers[i + 1] as string)
  }
  return kept
}

/** A fixed set of names, asked in any case. Most names differ from all of them in length or first letter, which is seen first. */
export class FieldNames {
  readonly #names: ReadonlySet<string>
  /** By length: the first letters of the names that long, a bit for each. */
  readonly #starts: Uint32Array

  /** @param names in lower case. */
  constructor(names: Iterable<string>) {
    this.#names = new Set(names)
    const longest = Math.max(...Array.from(this.#names, (name) => name.length))
    this.#starts = new Uint32Array(longest + 1)
    for (const name of this.#names) this.#starts[name.length] = (this.#starts[name.length] as number) | firstBit(name)
  }

  has(name: string): boolean {
    if (name.length >= this.#starts.length) return false
    return ((this.#starts[name.length] as number) & firstBit(name)) !== 0 && this.#names.has(name.toLowerCase())
  }
}

/** The same for a letter in either case: they differ in a bit above the lowest five. */
function firstBit(name: string): number {
  return 1 << (name.charCodeAt(0) & 31)
}
