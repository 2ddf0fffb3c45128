/** How each field of a header block was written (RFC 7541 6), without decoding Huffman: to see what may be indexed. */

export interface WrittenField {
  readonly as: 'indexed' | 'incremental' | 'without indexing' | 'never indexed'
  /** Index of the name, or of the whole field; 0 for a literal name. 1 to 61 are of the static table (RFC 7541 A). */
  readonly index: number
}

/** Of the static table. */
export const STATIC = { authority: 1, path: [4, 5], authorization: 23, cookie: 32 } as const

export function writtenFields(block: Buffer): WrittenField[] {
  const fields: WrittenField[] = []
  let at = 0
  const integer = (bits: number): number => {
    const most = 2 ** bits - 1
    let value = (block[at++] as number) & most
    if (value < most) return value
    for (let shift = 1; ; shift *= 128) {
      const byte = block[at++] as number
      value += (byte & 127) * shift
      if (byte < 128) return value
    }
  }
  const skipText = (): void => {
    const length = integer(7)
    at += length
  }
  const literal = (bits: number, as: WrittenField['as']): void => {
    const index = integer(bits)
    if (index === 0) skipText()
    skipText()
    fields.push({ as, index })
  }
  while (at < block.length) {
    const byte = block[at] as number
    if (byte >= 0x80) fields.push({ as: 'indexed', index: integer(7) })
    else if (byte >= 0x40) literal(6, 'incremental')
    else if (byte >= 0x20) integer(5)
    else literal(4, byte >= 0x10 ? 'never indexed' : 'without indexing')
  }
  return fields
}
