/** WebSocket frames as a test says, also such as no library would send. */

export interface FrameParts {
  readonly payload?: string | Buffer
  /** 1 (text) by default. */
  readonly opcode?: number
  /** True by default. */
  readonly final?: boolean
  readonly rsv1?: boolean
  /** Four bytes; none by default. Zeros leave the payload readable on the way. */
  readonly key?: Buffer
  /** Bytes that the length takes: 0, 2 or 8; the fewest by default. */
  readonly lengthBytes?: 0 | 2 | 8
  /** What the length says, if not the truth. */
  readonly length?: number
}

export const NO_KEY: Buffer = Buffer.alloc(4)

export function frameBytes(parts: FrameParts = {}): Buffer {
  const { payload = '', opcode = 1, final = true, rsv1 = false, key } = parts
  const bytes = Buffer.from(payload as string)
  const length = parts.length ?? bytes.length
  const lengthBytes = parts.lengthBytes ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8)
  const head = Buffer.alloc(2 + lengthBytes)
  head[0] = (final ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode
  head[1] = (key === undefined ? 0 : 0x80) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(length, 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, key ?? Buffer.alloc(0), key === undefined ? bytes : xored(bytes, key)])
}

/** The text cut into frames of these many bytes; the last takes the rest. */
export function fragments(text: string, sizes: readonly number[], key?: Buffer): Buffer {
  const bytes = Buffer.from(text)
  const frames: Buffer[] = []
  let from = 0
  for (const [i, size] of [...sizes, bytes.length].entries()) {
    const payload = bytes.subarray(from, from + size)
    from += size
    const final = i === sizes.length
    frames.push(frameBytes({ payload, final, opcode: i === 0 ? 1 : 0, ...(key && { key }) }))
  }
  return Buffer.concat(frames)
}

export interface ReadFrame {
  readonly opcode: number
  readonly final: boolean
  readonly payload: Buffer
  /** Null when it was not masked. */
  readonly key: Buffer | null
}

/** All complete frames in these bytes. */
export function readFrames(bytes: Buffer): ReadFrame[] {
  const frames: ReadFrame[] = []
  let at = 0
  while (at + 2 <= bytes.length) {
    const [start, second] = [bytes[at] as number, bytes[at + 1] as number]
    const short = second & 0x7f
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const keyAt = at + 2 + lengthBytes
    const from = keyAt + (second >= 0x80 ? 4 : 0)
    if (bytes.length < from) break
    const length =
      lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    if (bytes.length < from + length) break
    const key = second >= 0x80 ? bytes.subarray(keyAt, from) : null
    const payload = bytes.subarray(from, from + length)
    frames.push({
      opcode: start & 0x0f,
      final: start >= 0x80,
      payload: key === null ? payload : xored(payload, key),
      key,
    })
    at = from + length
  }
  return frames
}

/** Payloads of text and its continuations, put together. */
export function textOf(frames: readonly ReadFrame[]): string {
  return Buffer.concat(frames.filter((each) => each.opcode < 2).map((each) => each.payload)).toString('utf8')
}

function xored(bytes: Buffer, key: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, i) => byte ^ (key[i % 4] as number)))
}
