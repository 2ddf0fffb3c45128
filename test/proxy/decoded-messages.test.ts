/** Compressed messages come out plain, with their own lengths, however they are cut; what is no such message is refused. */
import { deflateSync, gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MessageDecoder } from '../../src/proxy/decoded-messages.ts'

function message(content: Buffer | string, flags = 0): Buffer {
  const bytes = Buffer.from(content)
  const prefix = Buffer.alloc(5)
  prefix[0] = flags
  prefix.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([prefix, bytes])
}

const gzip = ['content-type', 'application/grpc', 'grpc-encoding', 'gzip']

function decoder(head: readonly string[] = gzip): MessageDecoder {
  const made = MessageDecoder.of(head)
  if (made === null) throw new Error('nothing to decode')
  return made
}

describe('compressed messages', () => {
  it.each([
    { name: 'gzip', head: gzip, pack: gzipSync },
    { name: 'deflate', head: ['Content-Type', 'application/grpc-web', 'Grpc-Encoding', ' Deflate'], pack: deflateSync },
    {
      name: 'gzip of Connect',
      head: ['content-type', 'application/connect+json', 'connect-content-encoding', 'gzip'],
      pack: gzipSync,
    },
  ])('in $name come out plain among those that are, however they are cut', ({ head, pack }) => {
    const messages = fc.array(fc.tuple(fc.string({ maxLength: 300 }), fc.boolean(), fc.constantFrom(0, 2, 0x80)), {
      maxLength: 5,
    })
    fc.assert(
      fc.property(messages, fc.integer({ min: 1, max: 400 }), (list, size) => {
        const bytes = Buffer.concat(
          list.map(([text, packed, flags]) => (packed ? message(pack(text), flags | 1) : message(text, flags))),
        )
        const made = decoder(head)
        const out: Buffer[] = []
        for (let at = 0; at < bytes.length; at += size) out.push(made.push(bytes.subarray(at, at + size)))
        made.finish()
        expect(Buffer.concat(out)).toEqual(Buffer.concat(list.map(([text, , flags]) => message(text, flags))))
      }),
    )
  })

  it('that are empty stay so', () => expect(decoder().push(message('', 1))).toEqual(message('')))

  it('pass as they come when they are plain', () => {
    const made = decoder()
    expect(made.push(message('half').subarray(0, 7))).toEqual(message('half').subarray(0, 7))
    expect(made.push(message('half').subarray(7))).toEqual(Buffer.from('lf'))
  })

  it.each([
    { name: 'what is not in the coding', bytes: message('plain', 1), why: /not in the coding/ },
    { name: 'a bomb', bytes: message(gzipSync(Buffer.alloc(2 * 1024 * 1024)), 1), why: /far more/ },
    { name: 'one that unpacks to over 16 MiB', bytes: message(gzipSync(Buffer.alloc(17 << 20)), 1), why: /far more/ },
    { name: 'one of over 16 MiB', bytes: Buffer.from([1, 1, 0, 0, 1]), why: /over 16 MiB/ },
  ])('are refused: $name', ({ bytes, why }) => expect(() => decoder().push(bytes)).toThrow(why))

  it('are refused when the last one is not complete', () => {
    const made = decoder()
    expect(made.push(message(gzipSync('x'), 1).subarray(0, -1))).toHaveLength(0)
    expect(() => made.finish()).toThrow(/not complete/)
  })
})

it.each([
  { name: 'no coding', head: ['content-type', 'application/grpc'] },
  { name: 'identity', head: ['content-type', 'application/grpc', 'grpc-encoding', 'identity'] },
  { name: 'a coding that is not opened', head: ['content-type', 'application/grpc', 'grpc-encoding', 'snappy'] },
  { name: 'two codings', head: [...gzip, 'grpc-encoding', 'gzip'] },
  { name: 'a body that is not in messages', head: ['content-type', 'text/plain', 'grpc-encoding', 'gzip'] },
])('nothing is decoded with $name', ({ head }) => expect(MessageDecoder.of(head)).toBeNull())

it('the head says nothing of the coding any more', () => {
  expect(MessageDecoder.plainHead([...gzip, 'Content-Length', '9', 'ETag', 'x', 'X-Y', 'z'])).toEqual([
    'content-type',
    'application/grpc',
    'X-Y',
    'z',
  ])
})
