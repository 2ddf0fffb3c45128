/**
 * Follows a multipart body (RFC 2046, RFC 7578): a value can be put into the content of a part, in the way that part's
 * own media type asks for, and the place is named after the part.
 *
 * Servers disagree about delimiters, so there is one reading only: CRLF, `--boundary`, then CRLF or `--`. The
 * boundary anywhere else, a bare CR or LF in a part's header, or a header given twice closes the rest of the body.
 */
import type { BodyMedia } from './body-media.ts'
import { mediaOf } from './body-media.ts'
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { closed } from './body-place.ts'
import type { Writing } from './body-value.ts'
import { queryName } from './placement.ts'

const CRLF = Buffer.from('\r\n')
const HEADER_END = Buffer.from('\r\n\r\n')
const HEADER_BYTES = 8192
/** RFC 7578 4.2. Other spellings of the name are read in several ways, so they name nothing. */
const DISPOSITION =
  /^form-data[ \t]*;[ \t]*name=(?:"([^"\\%]*)"|([^"\\%;\s]+))(?:[ \t]*;[ \t]*filename\*?=(?:"[^"\\]*"|[^";\s]+)){0,2}$/i
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*$/

type State = 'preamble' | 'delimiter' | 'header' | 'content' | 'epilogue' | 'malformed'

interface Part {
  readonly selector: string | null
  readonly content: PlaceReader
}

export class MultipartReader implements PlaceReader {
  readonly #delimiter: Buffer
  readonly #named: boolean
  readonly #readerOf: (media: BodyMedia) => PlaceReader
  #state: State = 'preamble'
  /** The last bytes of the preamble or content, as many as a delimiter that begins in them can need. */
  #tail: Buffer = CRLF
  /** What came after a delimiter, up to the part's content. */
  #header: Buffer = CRLF
  #part: Part | null = null

  /** `readerOf`: the reader of a part's content. */
  constructor(boundary: string, named: boolean, readerOf: (media: BodyMedia) => PlaceReader) {
    this.#delimiter = Buffer.from(`--${boundary}`, 'latin1')
    this.#named = named
    this.#readerOf = readerOf
  }

  advance(bytes: Buffer, from: number, to: number): void {
    let rest = bytes.subarray(from, to)
    while (rest.length > 0) rest = rest.subarray(this.#read(rest))
  }

  here(): BodyPlace {
    if (this.#state === 'malformed') return closed('malformed')
    if (this.#state === 'header') return closed('name')
    if (this.#state !== 'content' || this.#part === null) return closed('outside')
    const place = this.#part.content.here()
    if (!place.open) return place
    return { ...place, selector: this.#part.selector, write: without(this.#delimiter, place.write) }
  }

  /** How many bytes it took. */
  #read(piece: Buffer): number {
    switch (this.#state) {
      case 'preamble':
      case 'content':
        return this.#untilDelimiter(piece)
      case 'delimiter':
        return this.#delimiterEnd(piece)
      case 'header':
        return this.#untilContent(piece)
      case 'epilogue':
      case 'malformed':
        return piece.length
    }
  }

  #untilDelimiter(piece: Buffer): number {
    const tail = this.#tail
    const seam = Buffer.concat([tail, piece.subarray(0, this.#delimiter.length)])
    const across = seam.indexOf(this.#delimiter)
    // In the piece's own positions; one that begins in the tail is negative.
    const start = across !== -1 && across < tail.length ? across - tail.length : piece.indexOf(this.#delimiter)
    if (start < 0 && (across === -1 || across >= tail.length)) {
      this.#part?.content.advance(piece, 0, piece.length)
      this.#tail = lastBytes(tail, piece, this.#delimiter.length + 1)
      return piece.length
    }
    const before =
      start < 2 ? seam.subarray(start + tail.length - 2, start + tail.length) : piece.subarray(start - 2, start)
    this.#state = before.equals(CRLF) ? 'delimiter' : 'malformed'
    this.#header = Buffer.alloc(0)
    return start + this.#delimiter.length
  }

  #delimiterEnd(piece: Buffer): number {
    const taken = Math.min(piece.length, 2 - this.#header.length)
    this.#header = Buffer.concat([this.#header, piece.subarray(0, taken)])
    if (this.#header.length < 2) return taken
    if (this.#header.equals(CRLF)) this.#state = 'header'
    else this.#state = this.#header.toString('latin1') === '--' ? 'epilogue' : 'malformed'
    return taken
  }

  #untilContent(piece: Buffer): number {
    const had = this.#header.length
    this.#header = Buffer.concat([this.#header, piece.subarray(0, HEADER_BYTES + HEADER_END.length - had)])
    const end = this.#header.indexOf(HEADER_END)
    if (end === -1) {
      if (this.#header.length >= HEADER_BYTES + HEADER_END.length) this.#state = 'malformed'
      return this.#header.length - had
    }
    this.#part = this.#partOf(this.#header.toString('latin1', CRLF.length, end))
    this.#state = this.#part === null ? 'malformed' : 'content'
    this.#tail = CRLF
    return end + HEADER_END.length - had
  }

  /** Null when servers may read the header in several ways. */
  #partOf(header: string): Part | null {
    const fields = new Map<string, string>()
    for (const line of header === '' ? [] : header.split('\r\n')) {
      const field = FIELD.exec(line)
      if (field === null) return null
      const name = (field[1] as string).toLowerCase()
      if (fields.has(name)) return null
      fields.set(name, field[2] as string)
    }
    return { selector: this.#nameOf(fields), content: this.#readerOf(partMedia(fields)) }
  }

  #nameOf(fields: ReadonlyMap<string, string>): string | null {
    const disposition = DISPOSITION.exec(fields.get('content-disposition') ?? '')
    if (!this.#named || disposition === null) return null
    const name = queryName(disposition[1] ?? disposition[2] ?? '')
    return name === '' ? null : name
  }
}

/** Text by default (RFC 7578 4.4); a part in a transfer coding, or with parts of its own, is not followed. */
function partMedia(fields: ReadonlyMap<string, string>): BodyMedia {
  const coding = fields.get('content-transfer-encoding') ?? 'binary'
  if (!/^(?:7bit|8bit|binary)$/i.test(coding) || fields.has('content-encoding')) return { kind: 'unknown' }
  const type = fields.get('content-type')
  const media: BodyMedia = type === undefined ? { kind: 'text' } : mediaOf(type)
  return media.kind === 'multipart' ? { kind: 'unknown' } : media
}

function without(delimiter: Buffer, write: Writing): Writing {
  return (value) => {
    const written = write(value)
    if (!written.ok || !written.bytes.includes(delimiter)) return written
    return { ok: false, why: 'it contains the boundary' }
  }
}

/** A copy of the last `count` bytes of both. */
function lastBytes(earlier: Buffer, later: Buffer, count: number): Buffer {
  if (later.length >= count) return Buffer.from(later.subarray(later.length - count))
  return Buffer.concat([earlier, later]).subarray(-count)
}
