/** Frames are read alike however they are cut, what is not RFC 6455 is refused, and what is written reads the same. */
import { describe, expect, it } from 'vitest'
import { FrameReader, FrameWriter, type Piece } from '../../src/proxy/websocket-frames.ts'
import { vectorRows } from '../core/vector-rows.ts'
import { frameBytes, NO_KEY, readFrames } from '../support/frames.ts'

interface Row {
  readonly why: string
  readonly masked: boolean
  readonly hex: string
  readonly wholeBytes?: number
  readonly pieces?: readonly { readonly opcode: number; first: boolean; last: boolean; payload: string }[]
  readonly refused?: string
}

function read(reader: FrameReader, bytes: Buffer, step = bytes.length): Piece[] {
  const pieces: Piece[] = []
  for (let at = 0; at < bytes.length; at += step) pieces.push(...reader.read(bytes.subarray(at, at + step)))
  return pieces.map((piece) => ({ ...piece, payload: Buffer.from(piece.payload) }))
}

const rows = vectorRows('websocket/frames.json') as readonly Row[]

describe('frames', () => {
  it.each(rows.filter((row) => row.refused === undefined))('$why', ({ masked, hex, wholeBytes = 1024, pieces }) => {
    const bytes = Buffer.from(hex, 'hex')
    const readable = (found: readonly Piece[]) =>
      found.map(({ payload, ...piece }) => ({ ...piece, payload: payload.toString('latin1') }))
    expect(readable(read(new FrameReader({ masked, wholeBytes }), bytes))).toEqual(pieces)
    const cut = readable(read(new FrameReader({ masked, wholeBytes }), bytes, 1))
    if (wholeBytes >= 1024) expect(cut).toEqual(pieces)
    else expect(cut.map((piece) => piece.payload).join('')).toBe(pieces?.map((piece) => piece.payload).join(''))
  })

  it.each(rows.filter((row) => row.refused !== undefined))('$why: is refused', ({ masked, hex, refused }) => {
    for (const step of [1, 100]) {
      const reader = new FrameReader({ masked, wholeBytes: 1024 })
      expect(() => read(reader, Buffer.from(hex, 'hex'), step)).toThrow(refused)
    }
  })

  it('too large to be kept come in pieces, of which the first and the last say so', () => {
    const reader = new FrameReader({ masked: true, wholeBytes: 10 })
    const bytes = frameBytes({ payload: 'x'.repeat(40), key: Buffer.from([1, 2, 3, 4]) })
    const pieces = read(reader, bytes, 16)
    expect(pieces.map((piece) => [piece.first, piece.last, piece.payload.length])).toEqual([
      [true, false, 10],
      [false, false, 16],
      [false, true, 14],
    ])
    expect(Buffer.concat(pieces.map((piece) => piece.payload)).toString()).toBe('x'.repeat(40))
  })

  it('that claim to be large take memory only as they come', () => {
    const reader = new FrameReader({ masked: false, wholeBytes: 1 << 30 })
    const before = process.memoryUsage().arrayBuffers
    expect(read(reader, frameBytes({ payload: 'x', length: 1 << 30 }))).toEqual([])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
  })
})

describe('written frames', () => {
  it.each([0, 1, 125, 126, 65_535, 65_536])('of %i bytes read the same', (size) => {
    const payload = Buffer.alloc(size, 7)
    for (const masked of [true, false]) {
      const [frame] = readFrames(new FrameWriter(masked).message(2, payload, true))
      expect([frame?.opcode, frame?.final, frame?.payload.equals(payload)]).toEqual([2, true, true])
      expect(frame?.key === null).toBe(!masked)
    }
  })

  it('towards a server have a fresh key each', () => {
    const writer = new FrameWriter(true)
    const keys = Array.from({ length: 20 }, () => readFrames(writer.message(1, Buffer.from('a'), true))[0]?.key)
    expect(new Set(keys.map((key) => key?.toString('hex'))).size).toBe(20)
    expect(keys.some((key) => key?.equals(NO_KEY))).toBe(false)
  })

  it('that would hold and end nothing are left out, and the next one then begins the message', () => {
    const writer = new FrameWriter(false)
    expect(writer.message(1, Buffer.alloc(0), false)).toHaveLength(0)
    const bytes = [writer.message(1, Buffer.from('a'), false), writer.message(1, Buffer.alloc(0), true)]
    expect(readFrames(Buffer.concat(bytes)).map((each) => [each.opcode, each.final])).toEqual([
      [1, false],
      [0, true],
    ])
  })
})
