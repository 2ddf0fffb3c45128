/**
 * WebSocket frames (RFC 6455 5), read strictly and written anew: a frame that two parsers could take for different things
 * is refused, so that nothing is inspected as one message and received as another.
 *
 * No extension is ever agreed on where frames are read, so every reserved bit is a mistake. A frame is handed out whole
 * while it is small; a larger one in pieces as it arrives, so that memory is bounded whatever its length says.
 */
import { randomBytes } from 'node:crypto'

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
const PING = 9
const PONG = 10

/** A message is text or binary; the others are control frames. */
export type Opcode = typeof TEXT | typeof BINARY | typeof CLOSE | typeof PING | typeof PONG

/** A frame, or a part of one that is too large to be handed out whole; a control frame always is. */
export interface Piece {
  /** Of the message, also where the frame is a continuation of it. */
  readonly opcode: Opcode
  /** Nothing of the message came before. */
  readonly first: boolean
  /** Nothing of the message comes after. */
  readonly last: boolean
  /** Unmasked. */
  readonly payload: Buffer
}

const NOTHING = Buffer.alloc(0)

/** What the frames are not, in RFC 6455's terms. Holds nothing of them. */
export class FrameError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FrameError'
  }
}

/** RFC 6455 5.5. */
export const CONTROL_MAX = 125

interface Head {
  readonly length: number
  readonly opcode: Opcode
  readonly final: boolean
  readonly first: boolean
  /** Four bytes; null from servers. */
  readonly key: Buffer | null
}

export interface FrameReaderOptions {
  /** True for what a client sends: all of it is masked; nothing of a server's is. */
  readonly masked: boolean
  /** Bytes of payload up to which a frame is handed out whole. */
  readonly wholeBytes: number
}

/** The frames of one direction of one connection. Ends with the close frame: what comes after it is dropped. */
export class FrameReader {
  readonly #options: FrameReaderOptions
  #bytes: Buffer = NOTHING
  #head: Head | null = null
  /** Of the frame at hand: bytes handed out or kept so far. */
  #taken = 0
  /** What came of a frame that is to be handed out whole; grows as it comes, whatever its length says. */
  #kept: Buffer = NOTHING
  /** Of the message that is not complete yet. */
  #message: typeof TEXT | typeof BINARY | null = null
  #closed = false

  constructor(options: FrameReaderOptions) {
    this.#options = options
  }

  /** Throws FrameError; the connection is then to be ended. Payloads may be views of the chunk. */
  *read(chunk: Buffer): Generator<Piece, void, undefined> {
    if (this.#closed) return
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    while (!this.#closed) {
      const head = (this.#head ??= this.#readHead())
      if (head === null) return
      const piece = this.#readPayload(head)
      if (piece === null) return
      this.#closed = piece.opcode === CLOSE
      yield piece
    }
  }

  /** Null when the head is not complete yet. */
  #readHead(): Head | null {
    const bytes = this.#bytes
    if (bytes.length < 2) return null
    const [start, second] = [bytes[0] as number, bytes[1] as number]
    if ((start & 0x70) !== 0) throw new FrameError('a reserved bit is set, and no extension was agreed on')
    if (second >= 0x80 !== this.#options.masked) throw new FrameError('a frame is masked, or is not, against the rule')
    const lengthBytes = LENGTH_BYTES[second & 0x7f] ?? 0
    const end = 2 + lengthBytes + (this.#options.masked ? 4 : 0)
    if (bytes.length < end) return null
    const length = lengthBytes === 0 ? second & 0x7f : longLength(bytes, lengthBytes)
    const { opcode, first } = this.#checked(start & 0x0f, start >= 0x80, length)
    const key = this.#options.masked ? Buffer.from(bytes.subarray(end - 4, end)) : null
    this.#bytes = bytes.subarray(end)
    this.#taken = 0
    return { length, opcode, final: start >= 0x80, first, key }
  }

  /** Throws for what may not come here; begins and ends messages. */
  #checked(code: number, final: boolean, length: number): { opcode: Opcode; first: boolean } {
    if (code === CLOSE || code === PING || code === PONG) {
      if (!final || length > CONTROL_MAX) throw new FrameError('a control frame is in fragments or too long')
      return { opcode: code, first: true }
    }
    const open = this.#message
    if (code !== 0 && code !== TEXT && code !== BINARY) throw new FrameError('a frame has an opcode that means nothing')
    if ((code === 0) === (open === null)) throw new FrameError('a message begins within another, or was never begun')
    const opcode = open ?? (code as typeof TEXT | typeof BINARY)
    this.#message = final ? null : opcode
    return { opcode, first: open === null }
  }

  /** Null when nothing can be handed out yet. */
  #readPayload(head: Head): Piece | null {
    const left = head.length - this.#taken
    const bytes = this.#bytes.subarray(0, left)
    if (bytes.length === 0 && left > 0) return null
    const whole = head.length <= this.#options.wholeBytes || head.opcode >= CLOSE
    const done = bytes.length === left
    const first = head.first && (whole || this.#taken === 0)
    let payload = unmasked(bytes, head.key, this.#taken)
    if (whole && (!done || this.#taken > 0)) payload = this.#keep(payload, head.length)
    this.#taken += bytes.length
    this.#bytes = this.#bytes.subarray(bytes.length)
    if (whole && !done) return null
    if (done) {
      this.#head = null
      this.#kept = NOTHING
    }
    return { opcode: head.opcode, first, last: head.final && done, payload }
  }

  #keep(bytes: Buffer, length: number): Buffer {
    const needed = this.#taken + bytes.length
    if (this.#kept.length < needed) {
      const grown = Buffer.alloc(Math.min(length, Math.max(needed, this.#kept.length * 2)))
      this.#kept.copy(grown)
      this.#kept = grown
    }
    bytes.copy(this.#kept, this.#taken)
    return this.#kept
  }
}

/** The frames of one direction of one connection, as they are written. */
export class FrameWriter {
  readonly #masked: boolean
  /** Something of the message at hand was written. */
  #begun = false

  /** @param masked true towards a server: each frame then gets a fresh, unpredictable key (RFC 6455 5.3). */
  constructor(masked: boolean) {
    this.#masked = masked
  }

  /** The next piece of a message as a frame; nothing where it holds nothing and ends nothing. */
  message(opcode: Opcode, payload: Buffer, last: boolean): Buffer {
    if (payload.length === 0 && !last) return payload
    const code = this.#begun ? 0 : opcode
    this.#begun = !last
    return frame(code, payload, last, this.#masked)
  }

  /** Between the frames of a message as well. */
  control(opcode: Opcode, payload: Buffer): Buffer {
    return frame(opcode, payload, true, this.#masked)
  }

  /** A close frame: the status code and, for people, a few words. */
  close(code: number, reason: string): Buffer {
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
    payload.writeUInt16BE(code)
    payload.write(reason, 2)
    return this.control(CLOSE, payload)
  }
}

/** Length field -> how many bytes the length then takes. */
const LENGTH_BYTES: Readonly<Record<number, 2 | 8>> = { 126: 2, 127: 8 }

/** Throws for a length that has a shorter writing (RFC 6455 5.2). */
function longLength(bytes: Buffer, lengthBytes: 2 | 8): number {
  const length = lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  if (length < (lengthBytes === 2 ? 126 : 65_536)) throw new FrameError('a length is written longer than it need be')
  if (!Number.isSafeInteger(length)) throw new FrameError('a frame is longer than there are bytes')
  return length
}

function frame(code: number, payload: Buffer, final: boolean, masked: boolean): Buffer {
  const { length } = payload
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const head = Buffer.alloc(2 + lengthBytes)
  head[0] = (final ? 0x80 : 0) | code
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(length, 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, payload])
  const key = randomBytes(4)
  return Buffer.concat([head, key, unmasked(payload, key, 0)])
}

/** Masking and its inverse are the same (RFC 6455 5.3). @param at where in the frame's payload the bytes begin. */
function unmasked(bytes: Buffer, key: Buffer | null, at: number): Buffer {
  if (key === null) return bytes
  const plain = Buffer.alloc(bytes.length)
  for (let i = 0; i < bytes.length; i++) plain[i] = (bytes[i] as number) ^ (key[(at + i) & 3] as number)
  return plain
}
