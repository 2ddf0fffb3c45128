import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Needle, NeedleSet, StreamingReplacer } from '../../src/core/streaming-replace.ts'

function needles(...finds: readonly string[]): Needle[] {
  return finds.map((find, i) => ({ find: Buffer.from(find, 'latin1'), replacement: Buffer.from(`<${i}>`) }))
}

/** The definition: at each position the longest needle that stands there, of equal ones the first; else the byte. */
function reference(text: string, set: readonly Needle[]): string {
  let out = ''
  for (let at = 0; at < text.length; ) {
    let best: Needle | undefined
    for (const needle of set) {
      if (!text.startsWith(needle.find.toString('latin1'), at)) continue
      if (best === undefined || needle.find.length > best.find.length) best = needle
    }
    out += best?.replacement.toString('latin1') ?? text.charAt(at)
    at += best?.find.length ?? 1
  }
  return out
}

function stream(text: string, set: readonly Needle[], sizes: readonly number[]): string {
  const replacer = new StreamingReplacer(new NeedleSet(set))
  const bytes = Buffer.from(text, 'latin1')
  const out: Buffer[] = []
  let from = 0
  for (const size of [...sizes, bytes.length]) {
    const chunk = Buffer.from(bytes.subarray(from, from + size))
    out.push(Buffer.from(replacer.push(chunk)))
    // What is held must not be a view of a chunk that its owner uses again.
    chunk.fill(0)
    from += size
  }
  out.push(replacer.finish())
  return Buffer.concat(out).toString('latin1')
}

/** Few letters, so that needles overlap, repeat and begin one another. */
const dense = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: min, maxLength: max })
const sizes = fc.array(fc.nat(9), { maxLength: 40 })

describe('replacing in a stream', () => {
  it('equals the reference for any needles, any text and any cut', () => {
    fc.assert(
      fc.property(fc.array(dense(2, 7), { minLength: 1, maxLength: 6 }), dense(0, 80), sizes, (finds, text, cuts) => {
        const set = needles(...finds)
        expect(stream(text, set, cuts)).toBe(reference(text, set))
      }),
      { numRuns: 5000 },
    )
  })

  it('equals the reference for needles of the lengths that values have', () => {
    const finds = fc.array(dense(16, 70), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(
        finds,
        fc.array(fc.tuple(fc.nat(9), fc.nat(80), dense(0, 9)), { maxLength: 8 }),
        sizes,
        (list, plan, cuts) => {
          const set = needles(...list)
          const text = plan
            .map(([which, length, rest]) => (list[which % list.length] ?? '').slice(0, length) + rest)
            .join('')
          expect(stream(text, set, cuts)).toBe(reference(text, set))
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('equals the reference for any bytes and a hundred needles', () => {
    const bytes = fc.uint8Array({ minLength: 2, maxLength: 40 }).map((list) => Buffer.from(list).toString('latin1'))
    fc.assert(
      fc.property(
        fc.array(bytes, { minLength: 100, maxLength: 110 }),
        fc.array(fc.nat(140), { maxLength: 9 }),
        sizes,
        (list, picks, cuts) => {
          const set = needles(...list)
          const text = picks.map((pick) => list[pick] ?? `\0${pick}`).join('\u00ff')
          expect(stream(text, set, cuts)).toBe(reference(text, set))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('equals the reference for every cut in two and byte by byte', () => {
    const set = needles('0123456789abcdef', '0123456789abcdefXYZ', '89abcdefXYZ01234', 'aaaaaaaaaaaaaaab')
    const text = `.0123456789abcdefXY0123456789abcdefXYZ01234..${'a'.repeat(20)}b89abcdefXYZ0123456789abcdef`
    const expected = reference(text, set)
    expect(expected).toContain('<3>')
    for (let cut = 0; cut <= text.length; cut++) expect(stream(text, set, [cut])).toBe(expected)
    expect(
      stream(
        text,
        set,
        Array.from(text, () => 1),
      ),
    ).toBe(expected)
  })

  it('passes a chunk on as the very object when nothing in it is a needle or begins one', () => {
    const replacer = new StreamingReplacer(new NeedleSet(needles('secret-secret-secret')))
    const chunk = Buffer.from('data: {"x":1}\n\n')
    expect(replacer.push(chunk)).toBe(chunk)
    expect(replacer.finish()).toHaveLength(0)
  })

  it('holds back the beginning of a needle and no byte more', () => {
    const replacer = new StreamingReplacer(new NeedleSet(needles('secret-secret-secret')))
    expect(replacer.push(Buffer.from('data: sec')).toString()).toBe('data: ')
    expect(replacer.push(Buffer.from('ond\n\n')).toString()).toBe('second\n\n')
    expect(replacer.push(Buffer.from('secret-secret-sec')).toString()).toBe('')
    expect(replacer.push(Buffer.from('ret-secret-sec')).toString()).toBe('<0>-')
    expect(replacer.push(Buffer.from('!')).toString()).toBe('secret-sec!')
  })

  it('waits for the longer needle while it can still come', () => {
    const replacer = new StreamingReplacer(new NeedleSet(needles('abcd', 'abcdefgh')))
    expect(replacer.push(Buffer.from('abcdef')).toString()).toBe('')
    expect(replacer.push(Buffer.from('gX')).toString()).toBe('<0>efgX')
    expect(replacer.push(Buffer.from('abcdefg')).toString()).toBe('')
    expect(replacer.finish().toString()).toBe('<0>efg')
  })

  it('replaces two hundred thousand decoys and what comes after them', () => {
    const set = needles('0123456789abcdef', 'the-real-secret-value')
    const text = `${'0123456789abcdef'.repeat(200_000)}the-real-secret-value`
    const cuts = Array.from({ length: 60 }, () => 65_521)
    expect(stream(text, set, cuts)).toBe(`${'<0>'.repeat(200_000)}<1>`)
  })

  it('with no needles passes everything', () => {
    const set = new NeedleSet([])
    expect([set.isEmpty, new StreamingReplacer(set).push(Buffer.from('abc')).toString()]).toEqual([true, 'abc'])
  })
})
