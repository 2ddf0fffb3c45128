/**
 * A body in AWS's signed chunks (STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with or without -TRAILER), signed again while it
 * streams: each chunk is checked against the chain of the placeholder and leaves with its signature in the real one.
 *
 * Signatures have one length, so the body's length stays. A signature stands before its chunk, so one chunk is held at
 * a time. How the body is cut when it arrives makes no difference to what leaves.
 */
import { timingSafeEqual } from 'node:crypto'
import { type AwsKey, awsSign, sha256 } from './aws-signature.ts'
import { CoatcheckError } from './errors.ts'
import { HeldBytes } from './held-bytes.ts'

/** Clients send 64 KiB to 1 MiB; what is held for one body is bounded by this. */
export const MOST_CHUNK_BYTES = 16 * 1024 * 1024
/** Of a chunk's first line, and of all trailing fields. */
const MOST_LINE_BYTES = 256
const MOST_TRAILER_BYTES = 16 * 1024

const EMPTY = sha256('')
const CHUNK_LINE = /^([0-9A-Fa-f]{1,8});chunk-signature=([0-9a-f]{64})$/
const TRAILER_SIGNATURE = /(?:^|\n)x-amz-trailer-signature:[ \t]*([0-9a-f]{64})[ \t]*\r?\n/i

/** The signatures of one body: each covers the one before it. */
class Chain {
  readonly #key: AwsKey
  #last: string

  constructor({ key, seed }: ChainStart) {
    this.#key = key
    this.#last = seed
  }

  chunk(data: Buffer): string {
    this.#last = awsSign(this.#key, 'AWS4-HMAC-SHA256-PAYLOAD', [this.#last, EMPTY, sha256(data)])
    return this.#last
  }

  trailer(fields: string): string {
    this.#last = awsSign(this.#key, 'AWS4-HMAC-SHA256-TRAILER', [this.#last, sha256(Buffer.from(fields, 'latin1'))])
    return this.#last
  }
}

/** The signature of the request's head begins the chain. */
export interface ChainStart {
  readonly key: AwsKey
  readonly seed: string
}

interface Line {
  readonly size: number
  readonly text: string
  readonly signature: string
}

export class AwsChunkResigner {
  readonly #given: Chain
  readonly #made: Chain
  readonly #hasTrailer: boolean
  readonly #held = new HeldBytes()
  /** The first line of the chunk whose data comes next. */
  #line: Line | null = null
  #last = false

  /** @param given the placeholder's chain; @param made the real one. */
  constructor(given: ChainStart, made: ChainStart, hasTrailer: boolean) {
    this.#given = new Chain(given)
    this.#made = new Chain(made)
    this.#hasTrailer = hasTrailer
  }

  /** What can be sent on. Throws `signature_invalid` at the chunk whose signature is not right, `bad_request`. */
  push(bytes: Buffer): Buffer[] {
    this.#held.append(bytes)
    const out: Buffer[] = []
    while (!this.#last && (this.#line === null ? this.#readLine() : this.#readChunk(this.#line, out)));
    if (this.#last && this.#held.length > (this.#hasTrailer ? MOST_TRAILER_BYTES : 2)) throw malformed()
    return out
  }

  /** The end of the body. Throws when it is not whole. */
  finish(): Buffer[] {
    if (!this.#last) throw malformed()
    const rest = this.#held.take(this.#held.length)
    if (this.#hasTrailer) return [this.#resignTrailer(rest)]
    if (rest.toString('latin1') !== '\r\n') throw malformed()
    return [rest]
  }

  /** False when there is not enough of it yet. */
  #readLine(): boolean {
    const start = this.#held.peek(MOST_LINE_BYTES)
    const end = start.indexOf('\r\n')
    if (end === -1 && start.length < MOST_LINE_BYTES) return false
    const [, size, signature] = CHUNK_LINE.exec(start.toString('latin1', 0, Math.max(0, end))) ?? []
    if (size === undefined || signature === undefined) throw malformed()
    this.#held.take(end + 2)
    this.#line = { size: Number.parseInt(size, 16), text: size, signature }
    if (this.#line.size > MOST_CHUNK_BYTES) throw tooLarge()
    return true
  }

  #readChunk({ size, text, signature }: Line, out: Buffer[]): boolean {
    const framed = size === 0 ? 0 : size + 2
    if (this.#held.length < framed) return false
    const data = this.#held.take(framed)
    if (size > 0 && data.toString('latin1', size) !== '\r\n') throw malformed()
    const chunk = data.subarray(0, size)
    requireSame(signature, this.#given.chunk(chunk))
    out.push(Buffer.from(`${text};chunk-signature=${this.#made.chunk(chunk)}\r\n`, 'latin1'))
    if (size > 0) out.push(data)
    this.#last = size === 0
    this.#line = null
    return true
  }

  #resignTrailer(rest: Buffer): Buffer {
    const text = rest.toString('latin1')
    const found = TRAILER_SIGNATURE.exec(text)
    const signature = found?.[1]
    if (found === null || signature === undefined) throw malformed()
    const after = text.slice(found.index + found[0].length)
    if (!/^[\r\n]*$/.test(after)) throw malformed()
    const fields = canonicalTrailer(text.slice(0, found.index))
    requireSame(signature, this.#given.trailer(fields))
    const at = found.index + found[0].lastIndexOf(signature)
    const made = this.#made.trailer(fields)
    return Buffer.from(text.slice(0, at) + made + text.slice(at + signature.length), 'latin1')
  }
}

/** `name:value\n` for each field, names in lower case, values trimmed. */
function canonicalTrailer(text: string): string {
  const lines = text.split('\n').map((line) => line.trim())
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(':')
      if (colon < 1) throw malformed()
      return `${line.slice(0, colon).trim().toLowerCase()}:${line.slice(colon + 1).trim()}\n`
    })
    .join('')
}

function requireSame(given: string, expected: string): void {
  if (timingSafeEqual(Buffer.from(given, 'hex'), Buffer.from(expected, 'hex'))) return
  throw new CoatcheckError(
    'signature_invalid',
    'A chunk of the body is not signed with the placeholder pair, or was changed after it was signed.',
    'Sign each chunk with the pair that signed the request, and send them in that order.',
  )
}

function malformed(): CoatcheckError {
  return new CoatcheckError(
    'bad_request',
    'The body is not made of signed chunks, as its X-Amz-Content-Sha256 says.',
    'Send <size in hex>;chunk-signature=<signature>, the data, and a last chunk of size 0.',
  )
}

function tooLarge(): CoatcheckError {
  return new CoatcheckError(
    'body_too_large',
    'A signed chunk of the body is larger than 16 MiB.',
    'Send smaller chunks; clients use 64 KiB to 1 MiB.',
  )
}
