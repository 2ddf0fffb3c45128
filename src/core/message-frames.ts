/**
 * Bodies that tell lengths: which ones do, so that a value in them is replaced by as many bytes, and where the messages of
 * those that stream them end (gRPC's length-prefixed messages, and Connect's, which look the same).
 *
 * A message that is compressed, or a body that is not in messages although its type says so, is refused: either could
 * hide a value.
 */
import { unmaskable } from './masking.ts'

/** `free`: lengths may change. `told`: they may not. `messages`: nor there, and each message has its length before it. */
export type Lengths = 'free' | 'told' | 'messages'

const MESSAGES = /^\s*application\/(?:grpc(?!-web-text)|connect\+)/i
/** In grpc-web-text the messages are in base64. The others are written with lengths of their parts throughout. */
const TOLD =
  /^\s*application\/(?:grpc-web-text|(?:[^;]+\+)?(?:proto|cbor|msgpack)\b|(?:vnd\.|x-)?(?:google\.)?(?:protobuf|msgpack|thrift)\b)/i

/** Of a response with that Content-Type. */
export function lengthsOf(contentType: string | undefined): Lengths {
  if (contentType === undefined) return 'free'
  if (MESSAGES.test(contentType)) return 'messages'
  return TOLD.test(contentType) ? 'told' : 'free'
}

/** Of a message: flags, and the length in four bytes, big endian. */
export const PREFIX_BYTES = 5
/** The flag of a message in a coding. */
export const COMPRESSED = 0x01
/** A message; the end of a Connect stream; the trailers of gRPC-Web. */
const FLAGS: ReadonlySet<number | undefined> = new Set([0x00, 0x02, 0x80])
/** Of the length, whose first byte is that of no text: messages up to 256 MiB. */
const FIRST_BYTE_MAX = 0x0f

export class MessageFrames {
  /** Of the prefix at hand: bytes read, and the length so far. */
  #prefix = 0
  #length = 0
  /** Bytes of the message that are still to come. */
  #left = 0

  /** True when everything read so far is whole messages. */
  get between(): boolean {
    return this.#left === 0 && this.#prefix === 0
  }

  /** Throws `unmaskable_response`. */
  read(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left === 0) this.#readPrefix(chunk[at++] as number)
      else {
        const skipped = Math.min(this.#left, chunk.length - at)
        this.#left -= skipped
        at += skipped
      }
    }
  }

  #readPrefix(byte: number): void {
    if (this.#prefix === 0) requireFlags(byte)
    else if (this.#prefix === 1 && byte > FIRST_BYTE_MAX) throw unmaskable('one of its messages has over 256 MiB')
    else this.#length = this.#length * 256 + byte
    this.#prefix++
    if (this.#prefix < PREFIX_BYTES) return
    this.#left = this.#length
    this.#prefix = 0
    this.#length = 0
  }
}

/** Whether a needle that began in a message can have its byte `at` where the next prefix begins. */
export function goesOnInPrefix(needle: Buffer, at: number): boolean {
  return FLAGS.has(needle[at]) && (needle[at + 1] ?? 0) <= FIRST_BYTE_MAX
}

function requireFlags(flags: number): void {
  if (FLAGS.has(flags)) return
  throw unmaskable(
    (flags & COMPRESSED) === 0 ? 'it is not in messages, as its type says' : 'one of its messages is compressed',
  )
}
