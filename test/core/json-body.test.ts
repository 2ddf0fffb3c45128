import { describe, expect, it } from 'vitest'
import { JsonReader } from '../../src/core/json-body.ts'

/** Where the reader stands after these bytes, in two pieces, the second of which stands amid quotes. */
function after(bytes: Buffer, cut: number): string {
  const reader = new JsonReader()
  reader.advance(bytes, 0, cut)
  reader.advance(Buffer.concat([Buffer.from('""'), bytes.subarray(cut), Buffer.from('""')]), 2, bytes.length - cut + 2)
  const place = reader.here()
  return place.open ? `${place.selector}` : place.why
}

function everywhere(bytes: Buffer): Set<string> {
  return new Set(Array.from({ length: bytes.length + 1 }, (_none, cut) => after(bytes, cut)))
}

describe('a string in JSON', () => {
  const before = Array.from({ length: 20 }, (_none, length) => 'plain text'.repeat(2).slice(0, length))

  it('goes on after every byte but quotes, backslashes and controls, wherever in it that stands', () => {
    for (let byte = 0; byte < 256; byte++) {
      const expected = byte === 0x22 ? 'outside' : byte === 0x5c || byte < 0x20 ? 'malformed' : '/0'
      for (const text of before) {
        const bytes = Buffer.concat([Buffer.from(`["${text}`, 'latin1'), Buffer.from([byte])])
        expect(after(bytes, bytes.length)).toBe(expected)
        expect(after(bytes, 2)).toBe(expected)
      }
    }
  })

  it('goes on after every escape, wherever in it that stands', () => {
    for (const escape of ['\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t', '\\u00e9', '\\n\\"\\u0022\\\\']) {
      for (const text of before) {
        const bytes = Buffer.from(`{"${text}${escape}":["${text}${escape}${text}`)
        const key = (JSON.parse(`"${text}${escape}"`) as string).replaceAll('/', '~1')
        // oxlint-disable-next-line no-control-regex -- such a place has no pointer
        const expected = /[\x00-\x1f]/.test(key) ? 'null' : `/${key}/0`
        expect(everywhere(bytes)).toEqual(new Set([expected]))
      }
    }
  })

  it('ends the rest of the body with an escape that is none', () => {
    for (const escape of ['\\x', '\\U', '\\u00g0', '\\u 000', '\\\n']) {
      for (const text of before) expect(everywhere(Buffer.from(`["${text}${escape}`))).toEqual(new Set(['malformed']))
    }
  })
})

describe('what is between strings in JSON', () => {
  it.each([
    ['{ } [ ] 1 "a', 'null'],
    ['[1 , -2.5e+3,\n\ttrue,[ ],{ }, "', '/5'],
    ['{"a":1,"b":{"c":[[0],"', '/b/c/1'],
    ['{"a" : null , "b', 'name'],
    ['\ufeff["', '/0'],
    ['1 2 [', 'outside'],
  ])('%j leads to %s', (text, expected) => {
    expect(everywhere(Buffer.from(text))).toEqual(new Set([expected]))
  })

  const malformed = `[1 2|[1,]|{"a":1,}|{"a" 1|{"a"}|{1|[}|{]|]|}|,|:|["a" "|{"a":"b" "|{,|[1\ufeff|['|[/|[1]]|{"a":]|[:|["a":`

  it.each(malformed.split('|'))('%j ends the rest of the body', (text) => {
    expect(everywhere(Buffer.from(`${text} "`))).toEqual(new Set(['malformed']))
  })
})
