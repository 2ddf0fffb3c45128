import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EncodedPlaceholderScanner } from '../../src/core/encoded-scanner.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import { pieces } from './body-rows.ts'
import { vectorRows } from './vector-rows.ts'

function counted(bytes: Buffer, sizes: readonly number[]): number {
  const scanner = new EncodedPlaceholderScanner()
  for (const piece of pieces(bytes, sizes)) scanner.push(piece)
  return scanner.count
}

/** A character of a token in all the spellings that are read. */
function spelling(of: string): string {
  const codes = Array.from(of, (character) => character.charCodeAt(0))
  const hex = codes.map((code) => code.toString(16).replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`))
  const numbers = codes.map((code) => `0{0,${code < 100 ? 7 : 6}}${code}`)
  const entity = `#(?:${numbers.join('|')});|#[xX]0{0,7}(?:${hex.join('|')});${of === '_' ? '|lowbar;' : ''}`
  const raw = of.replace(/[\\\]^-]/g, '\\$&')
  return `(?:[${raw}]|%(?:25){0,4}(?:${hex.join('|')})|\\\\{1,4}u00(?:${hex.join('|')})|&(?:amp;){0,4}(?:${entity}))`
}

/** The definition, over the whole text: leftmost, never overlapping, and at least one character escaped. */
const ESCAPED_TOKEN = new RegExp(
  `${Array.from('xcoat_', spelling).join('')}${spelling('0123456789abcdefghjkmnpqrstvwxyz')}{26}`,
  'g',
)

function reference(text: string): number {
  return Array.from(text.matchAll(ESCAPED_TOKEN)).filter(([match]) => match.length > 32).length
}

const escapes: readonly ((code: number) => string)[] = [
  (code) => String.fromCharCode(code),
  (code) => `%${code.toString(16)}`,
  (code) => `%25${code.toString(16).toUpperCase()}`,
  (code) => `\\u00${code.toString(16)}`,
  (code) => `\\\\u00${code.toString(16).toUpperCase()}`,
  (code) => `&#${code};`,
  (code) => `&#x${code.toString(16)};`,
  (code) => `&amp;#0${code};`,
]

/** A token, most often whole, with some characters escaped. */
const spelled = fc
  .tuple(fc.array(fc.nat(escapes.length * 3), { minLength: 32, maxLength: 32 }), fc.nat(60))
  .map(([ways, cut]) => {
    const text = Array.from(
      mintToken(),
      (character, i) => escapes[ways[i] as number]?.(character.charCodeAt(0)) ?? character,
    )
    return cut < 32 ? text.slice(0, cut).join('') : text.join('')
  })
const filler = fc.string({
  unit: fc.constantFrom(
    'x',
    'c',
    'xc',
    'xcoat_',
    '%',
    '%25',
    '%78',
    '\\',
    '\\u00',
    '\\u0078',
    '&',
    '&#120;',
    ' ',
    'i',
    '0',
    'Z',
  ),
  maxLength: 12,
})

describe('placeholders in encoded form', () => {
  const rows = vectorRows('bodies/encoded.json') as readonly { why: string; text: string; count: number }[]

  it.each(rows)('$why: $count', ({ text, count }) => {
    const bytes = Buffer.from(text, 'latin1')
    expect(counted(bytes, [])).toBe(count)
    for (let cut = 1; cut < bytes.length; cut++) expect(counted(bytes, [cut])).toBe(count)
    expect(counted(bytes, Array<number>(bytes.length).fill(1))).toBe(count)
    expect(counted(Buffer.from(`${'.'.repeat(50)}${text}${'.'.repeat(50)}`, 'latin1'), [])).toBe(count)
  })

  it('are counted as the definition counts them, for any text and any cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(spelled, filler), { maxLength: 8 }),
        fc.array(fc.nat(70), { maxLength: 20 }),
        (parts, sizes) => {
          const text = parts.join('')
          expect(counted(Buffer.from(text, 'latin1'), sizes)).toBe(reference(text))
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('are found in base64 and UTF-16 of any text, for any cut', () => {
    const text = fc.tuple(fc.string({ maxLength: 9 }), fc.string({ maxLength: 9 }))
    const coding = fc.constantFrom('base64' as const, 'base64url' as const, 'utf16le' as const)
    fc.assert(
      fc.property(text, coding, fc.array(fc.nat(40), { maxLength: 9 }), ([before, after], as, sizes) => {
        const bytes = Buffer.from(before + mintToken() + after, as === 'utf16le' ? as : 'utf8')
        const body = as === 'utf16le' ? bytes : Buffer.from(bytes.toString(as))
        expect(counted(body, sizes)).toBe(1)
      }),
      { numRuns: 1000 },
    )
  })
})
