/** One end of an HTTP/2 connection, frame by frame (RFC 9113 4.1): writes exactly what a test says, checks nothing. */
import type { Duplex } from 'node:stream'

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const

export const END_STREAM = 0x1
export const END_HEADERS = 0x4
export const ACK = 0x1

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const HEAD_BYTES = 9

export function frame(type: number, flags: number, stream: number, payload: Buffer | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

/** A number of RFC 7541 5.1 in the low `bits` bits of the first byte, whose other bits are `first`. */
function integer(value: number, bits: number, first = 0): Buffer {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([first | value])
  const bytes = [first | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

/** A header block of literals, neither indexed nor Huffman-coded, in the given order and case. */
export function literals(fields: readonly string[]): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const name = Buffer.from(fields[i] as string, 'latin1')
    const value = Buffer.from(fields[i + 1] as string, 'latin1')
    parts.push(Buffer.from([0]), integer(name.length, 7), name, integer(value.length, 7), value)
  }
  return Buffer.concat(parts)
}

/** A field added to the dynamic table; from then on `INDEXED_FIRST` is it again (RFC 7541 6.2.1, 6.1). */
export function indexedLiteral(name: string, value: string): Buffer {
  const [n, v] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')]
  return Buffer.concat([Buffer.from([0x40]), integer(n.length, 7), n, integer(v.length, 7), v])
}

/** The newest entry of the dynamic table, in one byte. */
export const INDEXED_FIRST = 0x80 | 62

export function headers(stream: number, fields: readonly string[], flags = END_STREAM | END_HEADERS): Buffer {
  return frame(FRAME.headers, flags, stream, literals(fields))
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export class H2Wire {
  readonly socket: Duplex
  readonly frames: Frame[] = []
  /** Resolves once the connection is gone, however it went. */
  readonly closed: Promise<void>
  isClosed = false
  #waiting: Buffer = Buffer.alloc(0)
  #skip: number
  #wake: (() => void) | null = null
  #read = 0

  /** @param server the other side begins with the connection preface. */
  constructor(socket: Duplex, server = true) {
    this.socket = socket
    this.#skip = server ? PREFACE.length : 0
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.isClosed = true
        this.#wake?.()
        resolve()
      })
    })
  }

  write(...bytes: readonly Buffer[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(bytes))
  }

  /** The next frame of that type; throws when the connection ends before. Settings are acknowledged on the way. */
  async next(type: number): Promise<Frame> {
    for (;;) {
      while (this.#read < this.frames.length) {
        const found = this.frames[this.#read] as Frame
        this.#read += 1
        if (found.type === type) return found
      }
      if (this.isClosed) throw new Error(`the connection ended without a frame of type ${type}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #take(chunk: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, chunk])
    if (this.#skip > 0 && this.#waiting.length >= this.#skip) {
      this.#waiting = this.#waiting.subarray(this.#skip)
      this.#skip = 0
    }
    while (this.#skip === 0 && this.#waiting.length >= HEAD_BYTES) {
      const length = this.#waiting.readUIntBE(0, 3)
      if (this.#waiting.length < HEAD_BYTES + length) break
      const [type, flags] = [this.#waiting[3] as number, this.#waiting[4] as number]
      const stream = this.#waiting.readUInt32BE(5) & 0x7fff_ffff
      const payload = Buffer.from(this.#waiting.subarray(HEAD_BYTES, HEAD_BYTES + length))
      this.#waiting = this.#waiting.subarray(HEAD_BYTES + length)
      this.frames.push({ type, flags, stream, payload })
      if (type === FRAME.settings && (flags & ACK) === 0) this.write(frame(FRAME.settings, ACK, 0))
    }
    this.#wake?.()
  }
}
