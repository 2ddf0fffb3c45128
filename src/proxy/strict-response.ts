/**
 * Reads HTTP/1.1 responses (RFC 9112), one at a time, and refuses every framing that two readers could read differently:
 * lengths that repeat, disagree or share a response with a transfer coding, codings other than one `chunked`, folded lines,
 * bare CR or LF, blanks before a colon, and bytes after the end. Any cut of the bytes gives the same events.
 */
import { isNamed } from '../core/fields.ts'
import { HTTP_TOKEN, NOT_IN_VALUE } from './headers.ts'

/** Told what was read. May throw: reading then stops with that error. */
export interface ResponseEvents {
  /** 1xx other than 101; the fields as raw pairs. */
  informational(status: number, fields: string[]): void
  head(status: number, reason: string, fields: string[]): void
  data(chunk: Buffer): void
  /** @param reusable false when the connection carries no other response after this one. */
  end(trailers: string[], reusable: boolean): void
}

const CRLF_CRLF = Buffer.from('\r\n\r\n', 'latin1')
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const SIZE_LINE = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/
const MAX_SIZE_LINE = 256
/** All the extensions of one response, of which none is used. */
const MAX_EXTENSION_BYTES = 16 * 1024
const NOTHING = Buffer.alloc(0)

/** Not HTTP, or not the kind that is read here. Its message says why and holds nothing of the response. */
export class ResponseError extends Error {}

type State = 'head' | 'length' | 'until-close' | 'size' | 'chunk' | 'chunk-end' | 'trailers' | 'done'

interface Framing {
  readonly state: 'length' | 'until-close' | 'size' | 'done'
  readonly length: number
}

export class ResponseReader {
  readonly #maxHead: number
  readonly #events: ResponseEvents
  #isHead = false
  #state: State = 'done'
  #held: Buffer = NOTHING
  /** Bytes of the body or chunk still to come. */
  #left = 0
  #extensions = 0
  #reusable = true

  constructor(maxHeadBytes: number, events: ResponseEvents) {
    this.#maxHead = maxHeadBytes
    this.#events = events
  }

  /** The next response answers a request of this method. */
  begin(method: string): void {
    this.#isHead = method === 'HEAD'
    this.#state = 'head'
    this.#held = NOTHING
    this.#extensions = 0
    this.#reusable = true
  }

  /** Throws ResponseError, or whatever the events threw. */
  push(chunk: Buffer): void {
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = NOTHING
    while (rest.length > 0) {
      const taken = this.#step(rest)
      if (taken === -1) {
        // A copy: the chunk belongs to the socket.
        this.#held = rest === chunk ? Buffer.from(rest) : rest
        return
      }
      rest = rest.subarray(taken)
    }
  }

  /** The connection ended. Throws ResponseError when the response was not complete. */
  close(): void {
    if (this.#state === 'done') return
    if (this.#state !== 'until-close') throw new ResponseError('the connection ended before the response did')
    this.#finish([])
  }

  /** How many bytes were used; -1 when more are needed. */
  #step(bytes: Buffer): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(bytes)
      case 'until-close':
        this.#events.data(bytes)
        return bytes.length
      case 'length':
      case 'chunk':
        return this.#readData(bytes)
      case 'size':
        return this.#readSize(bytes)
      case 'chunk-end':
        return this.#readChunkEnd(bytes)
      case 'trailers':
        return this.#readTrailers(bytes)
      case 'done':
        throw new ResponseError('bytes after the end of the response')
    }
  }

  #readHead(bytes: Buffer): number {
    const end = bytes.indexOf(CRLF_CRLF)
    if (end === -1 ? bytes.length > this.#maxHead : end > this.#maxHead)
      throw new ResponseError('the head is too large')
    if (end === -1) return -1
    const text = bytes.toString('latin1', 0, end)
    const lineEnd = text.indexOf('\r\n')
    const line = STATUS_LINE.exec(lineEnd === -1 ? text : text.slice(0, lineEnd))
    if (line === null) throw new ResponseError('the status line is not one')
    const status = Number(line[2])
    const fields = lineEnd === -1 ? [] : parseFields(text, lineEnd + 2)
    if (status < 200) this.#takeInformational(status, fields)
    else this.#takeHead(line[1] === '1', status, line[3] ?? '', fields)
    return end + CRLF_CRLF.length
  }

  #takeInformational(status: number, fields: string[]): void {
    if (status === 101) throw new ResponseError('a switch of protocols that nobody asked for')
    this.#events.informational(status, fields)
  }

  #takeHead(isHttp11: boolean, status: number, reason: string, fields: string[]): void {
    const framing = framingOf(fields, isHttp11, this.#isHead || status === 204 || status === 304)
    this.#reusable = isHttp11 && framing.state !== 'until-close' && !closes(fields)
    this.#state = framing.state
    this.#left = framing.length
    this.#events.head(status, reason, fields)
    if (framing.state === 'done') this.#finish([])
  }

  #readData(bytes: Buffer): number {
    const size = Math.min(bytes.length, this.#left)
    this.#left -= size
    const isLast = this.#left === 0
    if (isLast && this.#state === 'chunk') this.#state = 'chunk-end'
    this.#events.data(size === bytes.length ? bytes : bytes.subarray(0, size))
    if (isLast && this.#state === 'length') this.#finish([])
    return size
  }

  #readSize(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n', 0, 'latin1')
    if (end === -1 ? bytes.length > MAX_SIZE_LINE : end > MAX_SIZE_LINE)
      throw new ResponseError('a chunk size is too long')
    if (end === -1) return -1
    const line = SIZE_LINE.exec(bytes.toString('latin1', 0, end))
    if (line === null) throw new ResponseError('a chunk size is not one')
    const digits = line[1] as string
    this.#extensions += end - digits.length
    if (this.#extensions > MAX_EXTENSION_BYTES) throw new ResponseError('the chunks have too many extensions')
    this.#left = Number.parseInt(digits, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'chunk'
    return end + 2
  }

  #readChunkEnd(bytes: Buffer): number {
    if (bytes.length < 2) return -1
    if (bytes[0] !== 0x0d || bytes[1] !== 0x0a) throw new ResponseError('a chunk is longer than its size')
    this.#state = 'size'
    return 2
  }

  #readTrailers(bytes: Buffer): number {
    if (bytes.length >= 2 && bytes[0] === 0x0d && bytes[1] === 0x0a) {
      this.#finish([])
      return 2
    }
    const end = bytes.indexOf(CRLF_CRLF)
    if (end === -1 ? bytes.length > this.#maxHead : end > this.#maxHead)
      throw new ResponseError('the trailers are too large')
    if (end === -1) return -1
    this.#finish(parseFields(bytes.toString('latin1', 0, end), 0))
    return end + CRLF_CRLF.length
  }

  #finish(trailers: string[]): void {
    this.#state = 'done'
    this.#events.end(trailers, this.#reusable)
  }
}

/** Fields from `at` on as raw pairs, in order and case. */
function parseFields(text: string, at: number): string[] {
  const fields: string[] = []
  for (let from = at; from <= text.length; ) {
    const crlf = text.indexOf('\r\n', from)
    const to = crlf === -1 ? text.length : crlf
    const colon = text.indexOf(':', from)
    if (colon === -1 || colon >= to) throw new ResponseError('a field has no colon')
    const name = text.slice(from, colon)
    const value = trimBlanks(text, colon + 1, to)
    if (!HTTP_TOKEN.test(name)) throw new ResponseError('a field has no valid name')
    if (NOT_IN_VALUE.test(value)) throw new ResponseError('a field value holds a control character')
    fields.push(name, value)
    from = to + 2
  }
  return fields
}

function trimBlanks(text: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && isBlank(text.charCodeAt(from))) from += 1
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** RFC 9112 6.3, without the cases it lets a recipient repair. */
function framingOf(fields: readonly string[], isHttp11: boolean, bodyless: boolean): Framing {
  let length: string | undefined
  let coding: string | undefined
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    if (isNamed(name, 'content-length')) {
      if (length !== undefined) throw new ResponseError('it has two lengths')
      length = fields[i + 1] as string
    } else if (isNamed(name, 'transfer-encoding')) {
      if (coding !== undefined) throw new ResponseError('it has two transfer codings')
      coding = fields[i + 1] as string
    }
  }
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) throw new ResponseError('its length is not a number')
  if (coding !== undefined && length !== undefined) throw new ResponseError('it has a length and a transfer coding')
  if (coding !== undefined && (!isHttp11 || coding.toLowerCase() !== 'chunked')) {
    throw new ResponseError('it has a transfer coding that is not read here')
  }
  if (bodyless) return { state: 'done', length: 0 }
  if (coding !== undefined) return { state: 'size', length: 0 }
  if (length === undefined) return { state: 'until-close', length: 0 }
  return Number(length) === 0 ? { state: 'done', length: 0 } : { state: 'length', length: Number(length) }
}

function closes(fields: readonly string[]): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    if (!isNamed(fields[i] as string, 'connection')) continue
    if (/(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(fields[i + 1] as string)) return true
  }
  return false
}
