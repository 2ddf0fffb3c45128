import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  containsMarker,
  findTokens,
  isToken,
  MARKER,
  mintToken,
  TOKEN_LENGTH,
  TokenScanner,
  validateDress,
} from '../../src/core/placeholder.ts'
import { vectorRows } from './vector-rows.ts'

interface FindRow {
  readonly why: string
  readonly text: string
  readonly found: readonly (readonly [number, string])[]
}

const finds = vectorRows('placeholders/find.json') as readonly FindRow[]

describe('minting', () => {
  it('gives 32 characters that are a token, each time another', () => {
    const minted = new Set(Array.from({ length: 1000 }, mintToken))
    expect(minted.size).toBe(1000)
    for (const token of minted) expect([isToken(token), token.length]).toEqual([true, TOKEN_LENGTH])
  })

  it('uses the whole alphabet in every position', () => {
    const seen = Array.from({ length: TOKEN_LENGTH }, () => new Set<string>())
    for (let i = 0; i < 2000; i++)
      for (const [at, character] of Object.entries(mintToken())) seen[Number(at)]?.add(character)
    expect(seen.map((characters) => characters.size)).toEqual([
      1,
      1,
      1,
      1,
      1,
      1,
      ...Array.from({ length: 26 }, () => 32),
    ])
  })

  it('gives tokens that stand unescaped in a URL, a header, JSON and a shell', () => {
    const token = mintToken()
    expect([encodeURIComponent(token), JSON.stringify(token)]).toEqual([token, `"${token}"`])
    expect(token).toMatch(/^[a-z0-9_]+$/)
  })
})

describe('finding tokens in text', () => {
  it.each(finds)('$why', ({ text, found }) => {
    expect(findTokens(text).map(({ index, token }) => [index, token])).toEqual(found)
    for (const [, token] of found) expect(isToken(token)).toBe(true)
  })

  it('starts where it is told', () => {
    const [a, b] = [mintToken(), mintToken()]
    expect(findTokens(`${a} ${b}`, 1)).toEqual([{ token: b, index: 33 }])
  })

  it('allocates nothing when there is nothing', () => {
    expect(findTokens('Bearer none')).toBe(findTokens(''))
  })

  it('takes no character above latin1 for a part of a token', () => {
    expect(findTokens(`${MARKER}${'a'.repeat(25)}\u0161`)).toEqual([])
    expect(isToken(`${MARKER}${'a'.repeat(25)}\u0161`)).toBe(false)
  })
})

describe('the dress', () => {
  const rows = vectorRows('placeholders/dress.json') as readonly { dress: string; ok: boolean; why: string }[]
  it.each(rows)('"$dress": $why', ({ dress, ok }) => {
    if (ok) expect(validateDress(dress)).toBe(dress)
    else expect(() => validateDress(dress)).toThrow(expect.objectContaining({ code: 'invalid_input' }))
  })

  it('never changes which token is found after it', () => {
    const dress = fc.stringMatching(/^[A-Za-z0-9._-]{0,40}$/).filter((text) => !text.includes(MARKER))
    fc.assert(
      fc.property(dress, (text) => {
        const token = mintToken()
        expect(findTokens(text + token)).toEqual([{ token, index: text.length }])
      }),
    )
  })
})

describe('the marker in a value', () => {
  it('is seen anywhere, and in any view of memory', () => {
    expect(containsMarker(Buffer.from('a xcoat_ b'))).toBe(true)
    expect(containsMarker(Buffer.from('a xcoat- b'))).toBe(false)
    expect(containsMarker(new Uint8Array(Buffer.from('..xcoat_')).subarray(2))).toBe(true)
    expect(containsMarker(new Uint8Array(Buffer.from('..xcoat_')).subarray(3))).toBe(false)
  })
})

/** Text rich in markers, tokens and their beginnings. */
const piece = fc.oneof(
  fc.constantFrom(MARKER, 'x', 'xc', 'xcoat', 'a'.repeat(25), 'a'.repeat(26), 'U', '_', '\0', '\u00ff'),
  fc.constantFrom(`${MARKER}${'0'.repeat(26)}`, `${MARKER}${'z'.repeat(26)}`, `${MARKER}${'x'.repeat(26)}`),
  fc.stringMatching(/^[x_coat9]{0,12}$/),
)
const text = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(''))

function scan(chunks: readonly Buffer[]): { count: number; tokens: string[] } {
  const scanner = new TokenScanner()
  for (const chunk of chunks) {
    scanner.push(chunk)
    // A chunk may be reused by its owner as soon as push returns.
    chunk.fill(0)
  }
  return { count: scanner.count, tokens: [...scanner.tokens] }
}

function expected(input: string): { count: number; tokens: string[] } {
  const tokens = findTokens(input).map(({ token }) => token)
  return { count: tokens.length, tokens: [...new Set(tokens)] }
}

describe('scanning a body', () => {
  it('gives the same for any cut', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(60), { maxLength: 12 }), (input, sizes) => {
        const bytes = Buffer.from(input, 'latin1')
        const chunks: Buffer[] = []
        let from = 0
        for (const size of sizes) {
          chunks.push(Buffer.from(bytes.subarray(from, from + size)))
          from += size
        }
        chunks.push(Buffer.from(bytes.subarray(from)))
        expect(scan(chunks)).toEqual(expected(input))
      }),
      { numRuns: 3000 },
    )
  })

  it.each(finds)('byte by byte and in every two pieces: $why', ({ text: input }) => {
    const bytes = Buffer.from(input, 'latin1')
    expect(scan(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(expected(input))
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(scan([Buffer.from(bytes.subarray(0, cut)), Buffer.from(bytes.subarray(cut))])).toEqual(expected(input))
    }
  })

  it('counts every token but keeps 64 distinct ones', () => {
    const tokens = Array.from({ length: 200 }, mintToken)
    const found = scan([Buffer.from(tokens.join('')), Buffer.from(tokens.join(','))])
    expect(found).toEqual({ count: 400, tokens: tokens.slice(0, 64) })
  })
})
