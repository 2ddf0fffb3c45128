/** Generated values are of the length and alphabet asked for, and every character of it turns up. */
import { describe, expect, it } from 'vitest'
import { CHARSETS, type Charset, generateValue } from '../../src/core/generate.ts'

describe('a generated value', () => {
  it.each(Object.entries(CHARSETS))('of %s holds every character of its alphabet and no other', (charset, alphabet) => {
    const seen = new Set<string>()
    for (let round = 0; round < 20; round++) {
      const text = generateValue({ length: 1024, charset: charset as Charset })
        .reveal()
        .toString('latin1')
      expect(text).toHaveLength(1024)
      for (const character of text) seen.add(character)
    }
    expect([...seen].sort().join('')).toBe(alphabet.split('').sort().join(''))
  })

  it('is 32 hexadecimal characters when nothing is said, and never the same twice', () => {
    const values = Array.from({ length: 100 }, () => generateValue({}).reveal().toString('latin1'))
    expect(values.every((value) => /^[0-9a-f]{32}$/.test(value))).toBe(true)
    expect(new Set(values).size).toBe(100)
  })

  it.each([{ length: 7 }, { length: 1025 }, { length: 8.5 }, { length: Number.NaN }, { charset: 'toString' as 'hex' }])(
    'is refused for %j',
    (spec) => {
      expect(() => generateValue(spec)).toThrow(expect.objectContaining({ code: 'invalid_input' }))
    },
  )
})
