import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inspectable, Masker, MaskerCache } from '../../src/core/masking.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import { SecretValue } from '../../src/core/secret.ts'
import type { Release } from '../../src/core/substitution.ts'
import { releaseOf } from './mounted.ts'
import { vectorRows } from './vector-rows.ts'

interface BodyRow {
  readonly why: string
  readonly values: readonly string[]
  readonly in: string
  /** `{0}`: the placeholder of the first value. */
  readonly out: string
}

function releases(values: readonly string[]): Release[] {
  return values.map((value, i) => releaseOf({ name: `s${i}`, placeholder: `sk-${mintToken()}`, value }))
}

function expectedOf(row: BodyRow, of: readonly Release[]): string {
  return row.out.replace(/\{(\d)\}/g, (_text, which: string) => of[Number(which)]?.secret.placeholder ?? '')
}

function throughBody(masker: Masker, bytes: Buffer, size: number): string {
  const body = masker.body()
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) out.push(body.push(bytes.subarray(at, at + size)))
  out.push(body.finish())
  return Buffer.concat(out).toString('utf8')
}

const sizes = fc.integer({ min: 1, max: 90 })

describe('masking', () => {
  it.each(vectorRows('masking/bodies.json') as readonly BodyRow[])('$why', (row) => {
    const of = releases(row.values)
    const masker = new Masker(of)
    const bytes = Buffer.from(row.in, 'utf8')
    for (const size of [bytes.length, 1, 7]) expect(throughBody(masker, bytes, size)).toBe(expectedOf(row, of))
    const text = bytes.toString('latin1')
    expect(Buffer.from(masker.maskText(text), 'latin1').toString('utf8')).toBe(expectedOf(row, of))
    const masked = masker.maskText(text)
    expect(masker.maskHeaders(['X-Echo', text])).toEqual(['X-Echo', masked])
  })

  it('is done in names in whatever case, and leaves other names as they are', () => {
    const of = releases(['sk-Live-0123456789ABCDEF'])
    const masker = new Masker(of)
    const placeholder = of[0]?.secret.placeholder
    for (const name of ['X-sk-Live-0123456789ABCDEF', 'x-sk-live-0123456789abcdef']) {
      expect(masker.maskHeaders([name, 'y'])).toEqual([name.slice(0, 2).toLowerCase() + placeholder, 'y'])
    }
    const hex = Buffer.from('sk-Live-0123456789ABCDEF').toString('hex').toUpperCase()
    expect(masker.maskHeaders([`X-${hex}`, ''])[0]).toBe(`x-${placeholder}`)
    const others = ['Access-Control-Allow-Origin', '*', 'X-Live-0123456789ABCDEF', 'sk-live']
    expect(masker.maskHeaders(others)).toEqual(others)
  })

  it('gives back whole texts that had a value in them as they were received, unless the value is short', () => {
    const of = releases(['value-number-one-xx'])
    const sent = SecretValue.fromText(Buffer.from('user:value-number-one-xx').toString('base64'))
    const received = Buffer.from(`user:${of[0]?.secret.placeholder}`).toString('base64')
    const text = `Basic ${sent.reveal().toString()}`
    expect(new Masker(of, [{ sent, received, valueBytes: 19 }]).maskText(text)).toBe(`Basic ${received}`)
    expect(new Masker([], [{ sent, received, valueBytes: 15 }]).maskText(text)).toBe(text)
  })

  it('keeps every length where it must, and then the forms of whole bytes say the placeholder as far as it fits', () => {
    const value = fc.stringMatching(/^[!-~]{16,80}$/).filter((text) => !text.includes('xcoat_'))
    const coding = fc.constantFrom('latin1' as const, 'base64' as const, 'hex' as const, 'utf16le' as const)
    fc.assert(
      fc.property(value, coding, sizes, (text, encoding, size) => {
        const of = releases([text])
        const write = (held: string) =>
          encoding === 'utf16le' ? Buffer.from(held, 'utf16le') : Buffer.from(Buffer.from(held).toString(encoding))
        const echo = Buffer.concat([Buffer.from('before '), write(`${text}...`)])
        const masker = new Masker(of).body(true)
        const parts: Buffer[] = []
        for (let at = 0; at < echo.length; at += size) parts.push(masker.push(echo.subarray(at, at + size)))
        const out = Buffer.concat([...parts, masker.finish()])
        expect(out).toHaveLength(echo.length)
        const shown = (of[0]?.secret.placeholder ?? '').slice(0, text.length).padEnd(text.length)
        // The last character of base64 also holds bits of the value's last byte.
        expect(out.subarray(7, 7 + write(shown).length - 6)).toEqual(write(shown).subarray(0, -6))
      }),
    )
  })

  it('is inactive when every value is under 16 bytes, and changes nothing then', () => {
    const masker = new Masker(releases(['short', 'fifteen-bytes-x']))
    expect(masker.active).toBe(false)
    const chunk = Buffer.from('short fifteen-bytes-x')
    expect(masker.body().push(chunk)).toBe(chunk)
    expect(masker.maskHeaders(['A', 'fifteen-bytes-x'])).toEqual(['A', 'fifteen-bytes-x'])
  })

  it('is active when one value is long enough', () => {
    expect(new Masker(releases(['short', 'sixteen-bytes-xy'])).active).toBe(true)
  })

  it('finds any value in base64 and hex, whatever stands around it', () => {
    const bytes = fc.uint8Array({ maxLength: 12 }).map((list) => Buffer.from(list))
    const value = fc.stringMatching(/^[!-~]{16,60}$/).filter((text) => !text.includes('xcoat_'))
    const coding = fc.constantFrom('base64' as const, 'base64url' as const, 'hex' as const)
    fc.assert(
      fc.property(bytes, value, bytes, coding, (before, text, after, encoding) => {
        const of = releases([text])
        const echo = Buffer.concat([before, Buffer.from(text), after]).toString(encoding)
        expect(new Masker(of).maskText(echo)).toContain(of[0]?.secret.placeholder)
      }),
    )
  })

  it('lets no whole value through, raw or as a library would encode it', () => {
    const value = fc
      .string({ unit: 'binary', minLength: 16, maxLength: 40 })
      .filter((text) => text.isWellFormed() && !text.includes('xcoat_'))
    const encode = fc.constantFrom<(text: string) => string>(
      (text) => text,
      (text) => JSON.stringify({ text }),
      (text) => encodeURIComponent(text),
      (text) => new URLSearchParams({ text }).toString(),
      (text) => Buffer.from(text, 'utf8').toString('base64'),
    )
    fc.assert(
      fc.property(value, encode, (text, write) => {
        const of = releases([text])
        const echo = Buffer.from(write(text), 'utf8')
        expect(throughBody(new Masker(of), echo, 5)).toContain(of[0]?.secret.placeholder)
      }),
    )
  })

  it('leaves clean bytes as they are', () => {
    const masker = new Masker(releases(['sk-live-0123456789abcdef']))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 50 }), (list, size) => {
        const bytes = Buffer.from(list)
        const body = masker.body()
        const out: Buffer[] = []
        for (let at = 0; at < bytes.length; at += size) out.push(body.push(bytes.subarray(at, at + size)))
        expect(Buffer.concat([...out, body.finish()])).toEqual(bytes)
      }),
    )
  })
})

describe('kept maskers', () => {
  it('serve the same value and placeholder again, and no other', () => {
    const cache = new MaskerCache()
    const [a, b] = releases(['value-number-one-xx', 'value-number-one-xx']) as [Release, Release]
    expect(cache.of([a])).toBe(cache.of([{ ...a }]))
    expect(cache.of([b])).not.toBe(cache.of([a]))
    const moved = { secret: b.secret, value: a.value }
    expect(cache.of([moved]).maskText('value-number-one-xx')).toBe(b.secret.placeholder)
    expect(cache.of([a]).maskText('value-number-one-xx')).toBe(a.secret.placeholder)
  })

  it('are another for other credentials that the value is in', () => {
    const cache = new MaskerCache()
    const [release] = releases(['value-number-one-xx']) as [Release]
    const text = (sent: string, received: string) => ({ sent: SecretValue.fromText(sent), received, valueBytes: 19 })
    const kept = cache.of([release], [text('QQ==QQ==', 'first')])
    expect(cache.of([release], [text('QQ==QQ==', 'first')])).toBe(kept)
    expect(cache.of([release], [text('QQ==QQ==', 'second')]).maskText('QQ==QQ==')).toBe('second')
    expect(cache.of([release]).maskText('QQ==QQ==')).toBe('QQ==QQ==')
  })

  it('are made afresh for several releases and for none', () => {
    const cache = new MaskerCache()
    const both = releases(['value-number-one-xx', 'value-number-two-xx'])
    expect(cache.of(both).maskText('value-number-two-xx')).toBe(both[1]?.secret.placeholder)
    expect(cache.of([]).active).toBe(false)
  })
})

describe('whether a response can be inspected', () => {
  interface Row {
    readonly why: string
    readonly status: number
    readonly headers: readonly string[]
    readonly method: string
    readonly ok: boolean
  }

  it.each(vectorRows('masking/inspectable.json') as readonly Row[])('$status $headers: $why', (row) => {
    const inspection = inspectable(row.status, row.headers, row.method)
    expect(inspection.ok).toBe(row.ok)
    if (!inspection.ok) expect(inspection.why).not.toMatch(/gzip|foo|br\b|zstd/)
  })
})
