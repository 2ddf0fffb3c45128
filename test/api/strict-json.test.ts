/** Contract: a body is accepted only when every reader would understand it alike, and a refusal repeats none of it. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../src/api/strict-json.ts'
import { CoatcheckError } from '../../src/core/errors.ts'
import vectors from '../vectors/api/json-bodies.json' with { type: 'json' }

const parse = (text: string) => parseStrictJson(Buffer.from(text, 'utf8'))

describe('strict JSON', () => {
  for (const { name, body, accepted } of vectors) {
    it(`${accepted ? 'accepts' : 'refuses'} ${name}`, () => {
      if (accepted) expect(parse(body)).toEqual(JSON.parse(body))
      else expect(() => parse(body)).toThrow(CoatcheckError)
    })
  }

  it('takes an empty body as no document', () => {
    expect(parse('')).toBeUndefined()
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseStrictJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow(/UTF-8/)
  })

  it('refuses 100,000 levels without running out of stack', () => {
    expect(() => parse('['.repeat(100_000) + ']'.repeat(100_000))).toThrow(/nests/)
    expect(() => parse('{"a":'.repeat(100_000))).toThrow(/nests/)
  })

  it('agrees with JSON.parse on every document that JSON.stringify writes', () => {
    const forbidden = /^(__proto__|constructor|prototype)$/
    const key = fc.string({ unit: 'grapheme' }).filter((text) => !forbidden.test(text))
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.string({ unit: 'grapheme' }),
        fc.double(),
        fc.boolean(),
        tie('list'),
        tie('map'),
      ),
      list: fc.array(tie('tree'), { maxLength: 4 }),
      map: fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        expect(parse(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it('answers any bytes with a document or a refusal of its own, which holds nothing of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('', '{"canary":"', '[['), (bytes, prefix) => {
        try {
          parseStrictJson(Buffer.concat([Buffer.from(prefix), bytes]))
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CoatcheckError)
          expect((thrown as CoatcheckError).message).not.toContain('canary')
          expect((thrown as CoatcheckError).cause).toBeUndefined()
        }
      }),
    )
  })
})
