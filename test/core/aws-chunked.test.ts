/**
 * Contract: a body in signed chunks leaves with the signatures of the other chain and is otherwise the same byte for
 * byte, however it is cut; a chunk that was changed, moved, dropped or added is refused where it stands.
 */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AwsChunkResigner, type ChainStart, MOST_CHUNK_BYTES } from '../../src/core/aws-chunked.ts'
import { type AwsSignature, findAwsSignature } from '../../src/core/aws-request.ts'
import { awsKey, awsSign, sha256 } from '../../src/core/aws-signature.ts'
import { SecretValue } from '../../src/core/secret.ts'

interface BodyRow {
  readonly name: string
  readonly trailer: boolean
  readonly seed: string
  readonly chunks: readonly { readonly size: number; readonly signature: string }[]
  readonly trailing?: string
  readonly trailerSignature?: string
}

interface Vectors {
  readonly secretAccessKey: string
  readonly bodies: readonly BodyRow[]
}

const all = JSON.parse(readFileSync(new URL('../vectors/sigv4/chunked.json', import.meta.url), 'utf8')) as Vectors

const scope = '20130524/us-east-1/s3/aws4_request'
const credential = `Credential=XCOATAAAAAAAAAAAAAAA/${scope}`
const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=host, Signature=${'0'.repeat(64)}`
const signature = findAwsSignature({
  method: 'PUT',
  path: '/',
  headers: ['x-amz-date', '20130524T000000Z', 'Authorization', authorization],
}) as AwsSignature

const startOf = (secret: string, seed: string): ChainStart => ({
  key: awsKey(signature, SecretValue.fromText(secret)),
  seed,
})
const HELD = startOf('h'.repeat(40), '1'.repeat(64))
const REAL = startOf('r'.repeat(40), '2'.repeat(64))

interface Shape {
  readonly chunks: readonly Buffer[]
  /** Null without the trailer form. */
  readonly trailing: readonly string[] | null
}

/** What a client that signs with this chain sends: written apart from the code under test. */
function written({ key, seed }: ChainStart, { chunks, trailing }: Shape): Buffer {
  const parts: Buffer[] = []
  let last = seed
  for (const data of [...chunks, Buffer.alloc(0)]) {
    last = awsSign(key, 'AWS4-HMAC-SHA256-PAYLOAD', [last, sha256(''), sha256(data)])
    parts.push(Buffer.from(`${data.length.toString(16)};chunk-signature=${last}\r\n`), data)
    if (data.length > 0 || trailing === null) parts.push(Buffer.from('\r\n'))
  }
  if (trailing !== null) {
    last = awsSign(key, 'AWS4-HMAC-SHA256-TRAILER', [last, sha256(trailing.map((field) => `${field}\n`).join(''))])
    parts.push(Buffer.from([...trailing, `x-amz-trailer-signature:${last}`, '', ''].join('\r\n')))
  }
  return Buffer.concat(parts)
}

function resigned(pieces: readonly Buffer[], trailer: boolean, given = HELD, made = REAL): Buffer {
  const resigner = new AwsChunkResigner(given, made, trailer)
  const out = pieces.flatMap((piece) => resigner.push(piece))
  return Buffer.concat([...out, ...resigner.finish()])
}

function refusal(body: Buffer, trailer = false): string | undefined {
  try {
    resigned([body], trailer)
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

it.each(all.bodies)('AWS’s example is recognised and made: $name', (row) => {
  const published = startOf(all.secretAccessKey, row.seed)
  const parts = row.chunks.map(({ size, signature: text }) => {
    return `${size.toString(16)};chunk-signature=${text}\r\n${size === 0 ? '' : `${'a'.repeat(size)}\r\n`}`
  })
  const end = row.trailer ? `${row.trailing}\r\nx-amz-trailer-signature:${row.trailerSignature}\r\n\r\n` : '\r\n'
  const body = Buffer.from(parts.join('') + end)
  expect(resigned([body], row.trailer, published, published)).toEqual(body)
  const chunks = row.chunks.slice(0, -1).map(({ size }) => Buffer.alloc(size, 'a'))
  const shape: Shape = { chunks, trailing: row.trailing === undefined ? null : [row.trailing] }
  expect(resigned([written(HELD, shape)], row.trailer, HELD, published)).toEqual(body)
})

const shapes = fc.record<Shape>({
  chunks: fc.array(
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 4 },
  ),
  trailing: fc.option(fc.constantFrom(['x-amz-checksum-crc32c:sOO8/Q=='], ['x-a:1', 'x-b:2'], []), { nil: null }),
})

it('cut anywhere, and one byte at a time, it leaves the same, and its length stays', () => {
  fc.assert(
    fc.property(shapes, fc.array(fc.nat(), { maxLength: 6 }), (shape, cuts) => {
      const body = written(HELD, shape)
      const expected = written(REAL, shape)
      const at = [...new Set([0, ...cuts.map((cut) => cut % (body.length + 1)), body.length])].sort((a, b) => a - b)
      const pieces = at.slice(1).map((end, i) => body.subarray(at[i], end))
      const trailer = shape.trailing !== null
      expect(resigned(pieces, trailer)).toEqual(expected)
      expect(
        resigned(
          Array.from(body, (byte) => Buffer.from([byte])),
          trailer,
        ),
      ).toEqual(expected)
      expect(expected.length).toBe(body.length)
    }),
  )
})

it('keeps how sizes and the end of a trailer are written', () => {
  const text = written(HELD, { chunks: [Buffer.alloc(10, 'x')], trailing: ['X-Amz-Checksum-Crc32: AAAA'] }).toString()
  // The trailing field is signed in its canonical form, which `written` does not make.
  const shape: Shape = { chunks: [Buffer.alloc(10, 'x')], trailing: ['x-amz-checksum-crc32:AAAA'] }
  const signed = /x-amz-trailer-signature:(.*)/.exec(written(HELD, shape).toString())?.[1] as string
  const body = text.replace(/^a;/, '00A;').replace(/x-amz-trailer-signature:.*/, `x-amz-trailer-signature:${signed}`)
  const out = resigned([Buffer.from(body.replace(/\r\n\r\n$/, '\r\n'))], true).toString()
  expect(out).toMatch(/^00A;chunk-signature=/)
  expect(out).toContain('\r\nX-Amz-Checksum-Crc32: AAAA\r\n')
  expect(out.endsWith('\r\n\r\n')).toBe(false)
})

describe('a body that is not as it was signed', () => {
  const shape: Shape = { chunks: [Buffer.from('first'), Buffer.from('second')], trailing: null }
  const body = written(HELD, shape)
  const withTrailer = written(HELD, { ...shape, trailing: ['x-amz-checksum-crc32:AAAA'] })

  it('is refused when any byte of data or of a signature is another', () => {
    for (const piece of ['first', 'second', 'chunk-signature=']) {
      const changed = Buffer.from(body)
      const at = changed.indexOf(piece) + (piece.endsWith('=') ? piece.length : 0)
      changed[at] = changed[at] === 0x61 ? 0x62 : 0x61
      expect(refusal(changed)).toBe('signature_invalid')
    }
    expect(refusal(Buffer.from(withTrailer.toString().replace(':AAAA', ':AAAB')), true)).toBe('signature_invalid')
  })

  it('is refused when chunks change places, or one is left out', () => {
    const [first, second, last] = body.toString().split(/(?<=first\r\n|second\r\n)/) as [string, string, string]
    expect(refusal(Buffer.from(second + first + last))).toBe('signature_invalid')
    expect(refusal(Buffer.from(first + last))).toBe('signature_invalid')
  })

  it('is refused when it ends early or goes on', () => {
    for (let length = 0; length < body.length; length++) expect(refusal(body.subarray(0, length))).toBe('bad_request')
    expect(refusal(Buffer.concat([body, Buffer.from('0')]))).toBe('bad_request')
    expect(refusal(Buffer.concat([withTrailer, Buffer.from('0')]), true)).toBe('bad_request')
    expect(refusal(withTrailer)).toBe('bad_request')
    expect(refusal(body, true)).toBe('bad_request')
  })

  it('is refused when it is not in chunks, or a chunk is too large to hold', () => {
    expect(refusal(Buffer.from('plain bytes, and many of them'.repeat(20)))).toBe('bad_request')
    const line = (size: number): Buffer => Buffer.from(`${size.toString(16)};chunk-signature=${'0'.repeat(64)}\r\n`)
    expect(refusal(line(MOST_CHUNK_BYTES + 1))).toBe('body_too_large')
    expect(refusal(line(MOST_CHUNK_BYTES))).toBe('bad_request')
  })
})
