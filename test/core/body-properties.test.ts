import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mediaOf } from '../../src/core/body-media.ts'
import { BodySubstituter, substituteWhole } from '../../src/core/body-substitution.ts'
import { Masker } from '../../src/core/masking.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import type { Release } from '../../src/core/substitution.ts'
import { bodyRelease, deciding, pieces, runBody } from './body-rows.ts'

const BOUNDARY = 'b0123456789'
const MEDIA = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
  multipart: `multipart/form-data; boundary=${BOUNDARY}`,
  xml: 'application/xml',
  text: 'text/plain',
} as const
type Kind = keyof typeof MEDIA
const KINDS = Object.keys(MEDIA) as readonly Kind[]

/** A piece of a body: bytes that stay, or the value. */
type Part = string | { readonly value: true }
const SWAPPED: Part = { value: true }

function joined(parts: readonly Part[], value: string): Buffer {
  return Buffer.from(parts.map((part) => (typeof part === 'string' ? part : value)).join(''), 'utf8')
}

/** How the value is written in each of them: by the platform's own encoders, not by ours. */
const ENCODERS: Readonly<Record<Kind, (value: string) => string>> = {
  json: (value) => JSON.stringify(value).slice(1, -1),
  form: (value) =>
    encodeURIComponent(value).replace(
      /[!'()*]/g,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    ),
  multipart: (value) => value,
  xml: (value) =>
    value.replace(
      /[&<>"']/g,
      (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c] as string,
    ),
  text: (value) => value,
}

const plain = fc.string({ unit: fc.constantFrom('a', 'Z', '0', '-', '.', '_', 'x', 'é'), maxLength: 8 })
const blank = fc.constantFrom('', ' ', '\n', '\r\n\t')
const dress = fc.constantFrom('', 'sk-', 'ghp_', 'a'.repeat(40))
/** Begins with a character that is nowhere else, so that no other text can make a part of it. */
const value = fc
  .string({
    unit: fc.constantFrom('"', '\\', '/', '<', '&', "'", '%', '+', '=', ' ', 'a', 'é', '鍵', '😀', 'x'),
    minLength: 16,
    maxLength: 40,
  })
  .map((rest) => `~${rest}`)

/** Text of a string, field, part or element, most often with the placeholder in it. */
function content(escape: fc.Arbitrary<string>): fc.Arbitrary<readonly Part[]> {
  const text = fc.array(fc.oneof(plain, escape), { maxLength: 3 }).map((parts) => parts.join(''))
  // The blank keeps an escape from reaching into the dress; the vectors have rows for that.
  return fc
    .tuple(text, fc.boolean(), text)
    .map(([before, has, after]) => (has ? [before, ' ', SWAPPED, after] : [before]))
}

const jsonString = content(fc.constantFrom('\\"', '\\\\', '\\n', '\\u00e9', '\\/', '}', ']', ',', ':'))
const { json } = fc.letrec<{ json: readonly Part[] }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    jsonString.map((parts) => ['"', ...parts, '"']),
    fc.constantFrom('1', '-2.5e+3', 'true', 'null').map((word) => [word]),
    fc
      .array(fc.tuple(blank, tie('json')), { maxLength: 4 })
      .map((items) => ['[', ...items.flatMap(([gap, item], i) => [i === 0 ? gap : `,${gap}`, ...item]), ']']),
    fc
      .array(fc.tuple(plain, blank, tie('json')), { maxLength: 4 })
      .map((members) => [
        '{',
        ...members.flatMap(([key, gap, item], i) => [`${i === 0 ? '' : ','}${gap}"${key}"${gap}:`, ...item]),
        ' }',
      ]),
  ),
}))
const form = fc
  .array(fc.tuple(plain, content(fc.constantFrom('%20', '+', '%C3%A9', '=')), fc.boolean()), { maxLength: 5 })
  .map((fields) =>
    fields.flatMap(([name, parts, bare]): Part[] =>
      bare ? [`${name}&`] : [`${name}=`, ...parts.map((part) => (part === ' ' ? '+' : part)), '&'],
    ),
  )
const multipart = fc
  .array(fc.tuple(plain, content(fc.constantFrom('\r\n', '\r\n--', `\r\n--${BOUNDARY.slice(0, -1)}`, '\n'))), {
    maxLength: 4,
  })
  .map((parts): Part[] => [
    ...parts.flatMap(([name, inside]): Part[] => [
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`,
      ...inside,
      '\r\n',
    ]),
    `--${BOUNDARY}--\r\n`,
  ])
const xml = fc
  .array(fc.tuple(plain, content(fc.constantFrom('&amp;', '&#10;', '>')), content(fc.constantFrom('&lt;', '>'))), {
    maxLength: 4,
  })
  .map((elements): Part[] => [
    '<r>',
    ...elements.flatMap(([, attribute, text]): Part[] => ['<e a="', ...attribute, '">', ...text, '</e><!-- - -->']),
    '</r>',
  ])
const BODIES: Readonly<Record<Kind, fc.Arbitrary<readonly Part[]>>> = {
  json,
  form,
  multipart,
  xml,
  text: content(plain),
}

const STRUCTURE = '{ } [ ] " : , \\ \\u00 & = ; %2 %20 < > / <!-- --> <![CDATA[ ]]> ? -- a sk- xcoat_ \u0001'.split(' ')
const SCRAPS = [
  ...STRUCTURE,
  '\r\n',
  '\r\n\r\n',
  `--${BOUNDARY}`,
  `\r\n--${BOUNDARY}\r\n`,
  'Content-Disposition: form-data; name="a"\r\n\r\n',
  'Content-Type: application/json\r\n',
  ...Array.from({ length: 9 }, () => '«»'),
]
const sizes = fc.array(fc.nat(50), { maxLength: 30 })

function releaseFor(text: string, withDress: string): Release {
  const release = bodyRelease({ name: 'A', placements: ['body'], value: text, dress: withDress, maxOccurrences: 1e9 })
  const token = mintToken()
  return { ...release, secret: { ...release.secret, token, placeholder: withDress + token } }
}

function masked(body: Buffer, release: Release, cuts: readonly number[]): Buffer {
  const masker = new Masker([release]).body()
  const out: Buffer[] = []
  for (const piece of pieces(body, cuts)) out.push(Buffer.from(masker.push(piece)))
  return Buffer.concat([...out, masker.finish()])
}

describe.each(KINDS)('a body of %s, whatever is in it and however it is cut', (kind) => {
  it('gets the value wherever its placeholder is, as the platform would write it, and stays as it is elsewhere', async () => {
    await fc.assert(
      fc.asyncProperty(BODIES[kind], value, dress, sizes, async (parts, text, withDress, cuts) => {
        const release = releaseFor(text, withDress)
        const body = joined(parts, release.secret.placeholder)
        const expected = joined(parts, ENCODERS[kind](text))
        const { out, withheld } = await runBody(body, MEDIA[kind], [release], cuts)
        expect(out.toString()).toBe(expected.toString())
        expect(withheld).toBe(0)
        expect((await substituteWhole(body, substituterFor(kind), deciding([release]))).equals(expected)).toBe(true)
      }),
      { numRuns: 400 },
    )
  })

  it('is the same again when what was swapped is masked', async () => {
    await fc.assert(
      fc.asyncProperty(BODIES[kind], value, dress, sizes, async (parts, text, withDress, cuts) => {
        const release = releaseFor(text, withDress)
        const body = joined(parts, release.secret.placeholder)
        const { out } = await runBody(body, MEDIA[kind], [release], cuts)
        expect(masked(out, release, cuts).toString()).toBe(body.toString())
      }),
      { numRuns: 400 },
    )
  })

  it('comes out the same for every cut, even when it is malformed', async () => {
    const scrap = fc.constantFrom(...SCRAPS)
    await fc.assert(
      fc.asyncProperty(fc.array(scrap, { maxLength: 40 }), sizes, async (scraps, cuts) => {
        const release = releaseFor('the-value-of-the-secret', 'sk-')
        const body = Buffer.from(scraps.join('').replaceAll('«»', release.secret.placeholder), 'latin1')
        const whole = await runBody(body, MEDIA[kind], [release])
        expect(await runBody(body, MEDIA[kind], [release], cuts)).toEqual(whole)
        const back = whole.out.toString('latin1').replaceAll('the-value-of-the-secret', release.secret.placeholder)
        expect(back).toBe(body.toString('latin1'))
      }),
      { numRuns: 600 },
    )
  })
})

function substituterFor(kind: Kind): BodySubstituter {
  return new BodySubstituter({ media: mediaOf(MEDIA[kind]) })
}

describe('JSON that a parser reads', () => {
  it('holds the value in the same strings afterwards, and in no key', async () => {
    const keyed = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<unknown>('«»', 'a «» b', 'x', 1, null),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', '«»', '"', '/', '__proto_'), tie('node'), { maxKeys: 3 }),
      ),
    })).node
    await fc.assert(
      fc.asyncProperty(keyed, value, fc.constantFrom(0, 2), sizes, async (document, text, indent, cuts) => {
        const release = releaseFor(text, '')
        const { placeholder } = release.secret
        const body = Buffer.from(JSON.stringify(document, null, indent).replaceAll('«»', placeholder))
        const { out } = await runBody(body, MEDIA.json, [release], cuts)
        const expected: unknown = JSON.parse(body.toString(), (_key, node: unknown) =>
          typeof node === 'string' ? node.replaceAll(placeholder, () => text) : node,
        )
        expect(JSON.parse(out.toString())).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('has the pointers that a walk over the document gives', async () => {
    const keys = fc.constantFrom('a', 'b/c', 'd~e', 'é', '', '0', 'client_secret')
    const tree = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc.constant<unknown>('«»'),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(keys, tie('node'), { maxKeys: 3 }),
      ),
    })).node
    await fc.assert(
      fc.asyncProperty(tree, sizes, async (document, cuts) => {
        const release = releaseFor('v'.repeat(16), '')
        const body = Buffer.from(JSON.stringify(document).replaceAll('«»', release.secret.placeholder))
        const { spots } = await runBody(body, MEDIA.json, [release], cuts)
        expect(spots).toEqual(pointersOf(document, '').map((pointer) => (pointer === '' ? 'body' : `body:${pointer}`)))
      }),
      { numRuns: 500 },
    )
  })
})

function pointersOf(node: unknown, at: string): readonly string[] {
  if (typeof node !== 'object' || node === null) return [at]
  return Object.entries(node).flatMap(([key, child]) =>
    pointersOf(child, `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`),
  )
}
