/**
 * Messages of a stream that are compressed one by one (gRPC, Connect), opened: each goes on plain, with its own length
 * before it, as both protocols allow whatever their head said. Opened are gzip and deflate (zlib form). One message may
 * have 16 MiB, packed and unpacked, and all of them together are bounded by what went in.
 */
import zlib from 'node:zlib'
import { every, FieldNames, without } from '../core/fields.ts'
import { HeldBytes } from '../core/held-bytes.ts'
import { unmaskable } from '../core/masking.ts'
import { COMPRESSED, lengthsOf, PREFIX_BYTES } from '../core/message-frames.ts'
import { ExpansionGuard } from './content-coding.ts'

const NAMES = ['grpc-encoding', 'connect-content-encoding']
/** True of the messages as they came. */
const OF_THE_MESSAGES = new FieldNames([...NAMES, 'content-length', 'content-md5', 'digest', 'content-digest', 'etag'])
/** gRPC's own limit is 4 MiB, unless a client raises it. */
const MOST_BYTES = 16 * 1024 * 1024
const NOTHING = Buffer.alloc(0)
/** zlib's error, and that of the guard. */
const TOO_LARGE = new Set(['ERR_BUFFER_TOO_LARGE', 'body_too_large'])

type Open = (packed: Buffer, options: zlib.ZlibOptions) => Buffer

export class MessageDecoder {
  readonly #open: Open
  readonly #held = new HeldBytes()
  readonly #guard = new ExpansionGuard()
  /** Of a message that came plain: bytes that are still to come, and pass as they do. */
  #plain = 0

  private constructor(open: Open) {
    this.#open = open
  }

  /** Null when the messages have no coding, or one that is not opened here: then the masking refuses it. */
  static of(headers: readonly string[]): MessageDecoder | null {
    if (lengthsOf(every(headers, 'content-type')[0]) !== 'messages') return null
    const codings = NAMES.flatMap((name) => every(headers, name))
    const open = codings.length === 1 ? OPENERS.get((codings[0] as string).trim().toLowerCase()) : undefined
    return open === undefined ? null : new MessageDecoder(open)
  }

  /** The head without the coding, which no message has any more, and without what was true of it alone. */
  static plainHead(headers: readonly string[]): string[] {
    return without(headers, OF_THE_MESSAGES)
  }

  /** What can go on: empty while a packed message is not complete. Throws `unmaskable_response`. */
  push(chunk: Buffer): Buffer {
    this.#held.append(chunk)
    const parts: Buffer[] = []
    for (let part = this.#next(); part !== null; part = this.#next()) parts.push(part)
    return parts.length === 0 ? NOTHING : Buffer.concat(parts)
  }

  /** Throws `unmaskable_response` when the last message is not complete: what came of it was not searched. */
  finish(): void {
    if (this.#held.length > 0) throw unmaskable('its last message is not complete')
  }

  #next(): Buffer | null {
    const held = this.#held
    if (this.#plain > 0) {
      const passing = held.take(Math.min(this.#plain, held.length))
      this.#plain -= passing.length
      return passing.length === 0 ? null : passing
    }
    if (held.length < PREFIX_BYTES) return null
    const prefix = held.peek(PREFIX_BYTES)
    const [flags = 0] = prefix
    const length = prefix.readUInt32BE(1)
    if ((flags & COMPRESSED) === 0) {
      this.#plain = length
      return held.take(PREFIX_BYTES)
    }
    if (length > MOST_BYTES) throw unmaskable('one of its compressed messages has over 16 MiB')
    if (held.length < PREFIX_BYTES + length) return null
    return this.#opened(flags, held.take(PREFIX_BYTES + length).subarray(PREFIX_BYTES))
  }

  #opened(flags: number, packed: Buffer): Buffer {
    const plain = this.#unpacked(packed)
    const prefix = Buffer.alloc(PREFIX_BYTES)
    prefix[0] = flags & ~COMPRESSED
    prefix.writeUInt32BE(plain.length, 1)
    return Buffer.concat([prefix, plain])
  }

  #unpacked(packed: Buffer): Buffer {
    // grpc-go sends an empty message packed into nothing.
    if (packed.length === 0) return packed
    try {
      const plain = this.#open(packed, { maxOutputLength: MOST_BYTES })
      this.#guard.took(packed.length)
      this.#guard.gave(plain.length)
      return plain
    } catch (error) {
      const why = TOO_LARGE.has((error as { code?: string }).code ?? '')
        ? 'one of its messages unpacks to far more than it should'
        : 'one of its messages is not in the coding that it names'
      throw unmaskable(why, error)
    }
  }
}

const OPENERS: ReadonlyMap<string, Open> = new Map<string, Open>([
  ['gzip', zlib.gunzipSync],
  ['deflate', zlib.inflateSync],
])
