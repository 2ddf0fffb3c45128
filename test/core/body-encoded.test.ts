import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EncodedPlaceholderScanner } from '../../src/core/encoded-scanner.ts'
import { isToken, mintToken } from '../../src/core/placeholder.ts'
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

/** How many bytes before a token share its first characters of base64, and how many of those there are. */
const ALIGNMENTS = [
  { before: 0, skip: 0 },
  { before: 1, skip: 2 },
  { before: 2, skip: 3 },
]

/** The length of the token in base64 or UTF-16 at this place; 0 for none. */
function wideLength(text: string, at: number): number {
  const utf16 = text.slice(at, at + 63)
  if (utf16.length === 63 && /^.(\0.)*$/s.test(utf16) && isToken(utf16.replaceAll('\0', ''))) return 63
  for (const { before, skip } of ALIGNMENTS) {
    const piece = text.slice(at, at + Math.ceil(((before + 32) * 4) / 3) - skip)
    const decoded = Buffer.from('A'.repeat(skip) + piece, 'base64').toString('latin1')
    const token = `x${decoded.slice(before + 1, before + 32)}`
    if (!isToken(token)) continue
    const again = Buffer.from('\0'.repeat(before) + token, 'latin1')
      .toString('base64')
      .slice(skip)
    if (again.startsWith(piece.slice(0, -1))) return piece.length
  }
  return 0
}

/** The definition again: at every place, from the left. */
function wideReference(text: string): number {
  let count = 0
  for (let at = 0; at < text.length; ) {
    const length = wideLength(text, at)
    if (length > 0) count++
    at += Math.max(1, length)
  }
  return count
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

/** What bodies are full of that resembles a token, and what is hard to tell from one. */
const FILL = [
  '%',
  '%7',
  '%78',
  '%25',
  '%20',
  '%E3%81%82',
  '\\',
  '\\n',
  '\\u',
  '\\u0078',
  '&',
  '&amp;',
  '&#',
  '&#120;',
  '&lt;',
  'x',
  'xc',
  'xcoat_',
  'a',
  '0',
  '0123456789abcdef',
  'MDEy',
  'eGNv',
  'x\0',
  '\0',
  ' ',
  '. ',
  '"},{"',
  'word ',
]

describe('placeholders in encoded form', () => {
  const rows = vectorRows('bodies/encoded.json') as readonly { why: string; text: string; count: number }[]

  it.each(rows)('$why: $count', ({ text, count }) => {
    const bytes = Buffer.from(text, 'latin1')
    expect(counted(bytes, [])).toBe(count)
    for (let cut = 1; cut < bytes.length; cut++) expect(counted(bytes, [cut])).toBe(count)
    expect(counted(bytes, Array<number>(bytes.length).fill(1))).toBe(count)
    for (let before = 1; before < 50; before++) {
      expect(counted(Buffer.from(`${'.'.repeat(before)}${text}${'.'.repeat(50)}`, 'latin1'), [])).toBe(count)
    }
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

  it('are counted as the definition counts them, whatever is around them, in whichever form', () => {
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array).toString('latin1'))
    const repeated = fc.tuple(fc.constantFrom(...FILL), fc.nat(80)).map(([unit, times]) => unit.repeat(times))
    const wide = fc
      .tuple(bytes, bytes, fc.constantFrom('base64' as const, 'base64url' as const, 'utf16le' as const), fc.nat(300))
      .map(([before, after, as, cut]) => {
        const text = before + mintToken() + (cut % 2 === 0 ? mintToken() : '') + after
        return as === 'utf16le'
          ? Buffer.from(text, as)
              .toString('latin1')
              .slice(cut % 3)
          : Buffer.from(text, 'latin1').toString(as).slice(0, cut)
      })
    fc.assert(
      fc.property(
        fc.array(fc.oneof(spelled, filler, bytes, repeated, wide), { maxLength: 12 }),
        fc.array(fc.nat(300), { maxLength: 6 }),
        (parts, sizes) => {
          const text = parts.join('')
          expect(counted(Buffer.from(text, 'latin1'), sizes)).toBe(reference(text) + wideReference(text))
        },
      ),
      { numRuns: 1500 },
    )
  })

  it('are counted in the midst of what looks like them', () => {
    const token = mintToken()
    const forms = [
      token.replace('_', '%5f'),
      token.replace('_', '\\u005f'),
      token.replace('_', '&#95;'),
      Buffer.from(token).toString('base64').slice(0, 43),
      Buffer.from(token, 'utf16le').toString('latin1').slice(0, 63),
    ]
    for (const unit of FILL) {
      const text = forms.map((form) => unit.repeat(700) + form).join('') + unit.repeat(700)
      const expected = reference(text) + wideReference(text)
      for (const sizes of [[], [1000, 3000, 1]]) expect(counted(Buffer.from(text, 'latin1'), sizes)).toBe(expected)
    }
  })
})
