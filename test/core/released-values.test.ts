/**
 * One body of an answer: what was released by the time each byte comes is masked; where messages tell their lengths these
 * stay true, and what is held back goes on at the end of a message unless a value can still be in the making.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MaskerCache } from '../../src/core/masking.ts'
import { type Lengths, lengthsOf } from '../../src/core/message-frames.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import { ReleasedValues } from '../../src/core/released-values.ts'
import { SecretValue } from '../../src/core/secret.ts'
import type { Release } from '../../src/core/substitution.ts'
import { mounted, releaseOf } from './mounted.ts'
import { vectorRows } from './vector-rows.ts'

const FIRST = 'value-number-one-xx'
const SECOND = 'another-value-number-two'

function release(value: string): Release {
  return releaseOf({ name: 's', placeholder: mintToken(), value })
}

function message(content: Buffer | string, flags = 0): Buffer {
  const bytes = Buffer.from(content)
  const prefix = Buffer.alloc(5)
  prefix[0] = flags
  prefix.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([prefix, bytes])
}

function bodyOf(releases: readonly Release[], lengths: Lengths) {
  return new ReleasedValues(new MaskerCache(), releases).body(lengths)
}

describe('a body that tells lengths', () => {
  it.each(vectorRows('masking/lengths.json') as readonly { type: string; lengths: Lengths }[])(
    'is known by its type: $type',
    ({ type, lengths }) => expect(lengthsOf(type)).toBe(lengths),
  )

  it('is none without a type', () => expect(lengthsOf(undefined)).toBe('free'))

  it('shows the placeholder cut to a shorter value', () => {
    const one = release(FIRST)
    expect(
      bodyOf([one], 'told')
        .push(Buffer.from(`<${FIRST}>`))
        .toString(),
    ).toBe(`<${one.secret.placeholder.slice(0, FIRST.length)}>`)
  })

  it('shows the placeholder, and blanks behind it, for a longer value', () => {
    const long = release('l'.repeat(40))
    expect(
      bodyOf([long], 'told')
        .push(Buffer.from(`<${'l'.repeat(40)}>`))
        .toString(),
    ).toBe(`<${long.secret.placeholder}        >`)
  })
})

it('messages in base64, as gRPC-Web has them too, are base64 of messages with true lengths afterwards', () => {
  const one = release(FIRST)
  for (const before of ['', '.', '..']) {
    const masked = bodyOf([one], lengthsOf('application/grpc-web-text')).push(
      Buffer.from(message(`${before}${FIRST} and more`).toString('base64')),
    )
    const out = Buffer.from(masked.toString('latin1'), 'base64')
    expect(out).toHaveLength(5 + out.readUInt32BE(1))
    // The first and the last byte may share a character with their neighbours.
    const shown = one.secret.placeholder.slice(1, FIRST.length - 1)
    expect(out.toString('latin1', 6 + before.length, 4 + before.length + FIRST.length)).toBe(shown)
    expect(out.toString('latin1')).toMatch(/ and more$/)
  }
})

describe('messages', () => {
  it('have true lengths and no value in them, however they are cut', () => {
    const parts = fc.array(fc.constantFrom(FIRST, 'value-num', '.', '\0', FIRST.slice(0, 1), 'text '), { maxLength: 6 })
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 9 })
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 6 }), sizes, (messages, cuts) => {
        const one = release(FIRST)
        const shown = one.secret.placeholder.slice(0, FIRST.length)
        const bytes = Buffer.concat(messages.map((each) => message(each.join(''))))
        const expected = Buffer.concat(messages.map((each) => message(each.join('').replaceAll(FIRST, shown))))
        const body = bodyOf([one], 'messages')
        const out: Buffer[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts[i % cuts.length] as number
          out.push(body.push(bytes.subarray(at, at + size)))
          at += size
        }
        expect(Buffer.concat([...out, body.finish()])).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('go on whole when they end with what begins a value, in any of its forms', () => {
    const body = bodyOf([release(FIRST)], 'messages')
    const wide = Buffer.from(FIRST, 'utf16le').toString('latin1').slice(0, -1)
    for (const form of [FIRST, Buffer.from(FIRST).toString('hex'), wide]) {
      for (let length = 1; length < form.length; length++) {
        const whole = message(Buffer.from(`. ${form.slice(0, length)}`, 'latin1'))
        expect(body.push(whole)).toEqual(whole)
      }
    }
  })

  it('are held back when a value can go on in the next prefix, and masked when it does', () => {
    const value = Buffer.concat([Buffer.from('binary-value'), message('and the rest')])
    const binary: Release = {
      secret: mounted({ name: 'b', placeholder: mintToken() }),
      value: new SecretValue(value),
    }
    const body = bodyOf([binary], 'messages')
    expect(body.push(message('binary-value'))).toEqual(message('binary-value').subarray(0, 5))
    expect(body.push(message('and the rest')).includes('and the rest')).toBe(false)
    expect(body.push(message('binary-valuX'))).toEqual(message('binary-valuX'))
  })

  it.each([
    { name: 'a compressed one', bytes: message('x', 1), why: /compressed/ },
    { name: 'compressed trailers of gRPC-Web', bytes: message('x', 0x81), why: /compressed/ },
    { name: 'text', bytes: Buffer.from('<html>'), why: /not in messages/ },
    { name: 'over 256 MiB', bytes: Buffer.from([0, 0x10, 0, 0, 0]), why: /256 MiB/ },
  ])('that cannot be searched are refused: $name', ({ bytes, why }) => {
    const body = bodyOf([release(FIRST)], 'messages')
    expect(body.push(message('before'))).toEqual(message('before'))
    expect(() => body.push(bytes)).toThrow(expect.objectContaining({ code: 'unmaskable_response' }))
    expect(() => bodyOf([release(FIRST)], 'messages').push(bytes)).toThrow(why)
  })

  it('may be the end of a Connect stream or the trailers of gRPC-Web', () => {
    const one = release(FIRST)
    for (const flags of [0x02, 0x80]) {
      const shown = message(`x: ${one.secret.placeholder.slice(0, FIRST.length)}`, flags)
      expect(bodyOf([one], 'messages').push(message(`x: ${FIRST}`, flags))).toEqual(shown)
    }
  })
})

describe('a body while values are being released', () => {
  it('passes untouched until there is one, and is searched for each from then on, also in what is held back', () => {
    const [one, two] = [release(FIRST), release(SECOND)]
    const released = new ReleasedValues(new MaskerCache(), [])
    const body = released.body()
    const chunk = Buffer.from('nothing yet: va')
    expect(body.push(chunk)).toBe(chunk)
    released.add(one)
    expect(body.push(Buffer.from(`${FIRST} va`)).toString()).toBe(`${one.secret.placeholder} `)
    released.add(two)
    expect(body.push(Buffer.from(`${FIRST.slice(2)} ${SECOND} another-`)).toString()).toBe(
      `${one.secret.placeholder} ${two.secret.placeholder} `,
    )
    expect(body.finish().toString()).toBe('another-')
  })

  it('looks in what it holds for the value that was released since', () => {
    const [one, two] = [release(FIRST), release(`${FIRST.slice(0, 9)}-but-other`)]
    const released = new ReleasedValues(new MaskerCache(), [one])
    const body = released.body()
    expect(body.push(Buffer.from(FIRST.slice(0, 9)))).toHaveLength(0)
    released.add(two)
    expect(body.push(Buffer.from('-but-other.')).toString()).toBe(`${two.secret.placeholder}.`)
  })
})
