import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CoatcheckError } from '../../src/core/errors.ts'
import { Masker } from '../../src/core/masking.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import { formatSpot } from '../../src/core/placement.ts'
import { decideRelease } from '../../src/core/policy.ts'
import { SecretValue } from '../../src/core/secret.ts'
import {
  checkHeaderSafe,
  findPlaceholders,
  matchesDress,
  type Release,
  type RequestHead,
  substitute,
} from '../../src/core/substitution.ts'
import { releaseOf, type SecretRow } from './mounted.ts'
import { vectorRows } from './vector-rows.ts'

interface Row {
  readonly why: string
  readonly secrets: readonly SecretRow[]
  readonly head: RequestHead
  readonly spots: readonly string[]
  readonly expected?: RequestHead
  readonly refused?: string
}

const rows = vectorRows('header-substitution/requests.json') as readonly Row[]

function releasesOf(secrets: readonly SecretRow[]): Map<string, Release> {
  return new Map(secrets.map(releaseOf).map((release) => [release.secret.token, release]))
}

/** What an exchange does with a head: find, decide for each, and only then substitute. */
function send(head: RequestHead, secrets: readonly SecretRow[]): RequestHead | string {
  const occurrences = findPlaceholders(head)
  const releases = releasesOf(secrets)
  for (const occurrence of occurrences) {
    const secret = releases.get(occurrence.token)?.secret
    const known = secret !== undefined && matchesDress(head, occurrence, secret) ? secret : undefined
    const decision = decideRelease(known, occurrence.spot, { host: 'api.test', scheme: 'https', now: 0 })
    if (!decision.allow) return decision.reason
  }
  return substitute(head, occurrences, releases)
}

describe('a request head', () => {
  it.each(rows)('$why', ({ head, secrets, spots, expected, refused }) => {
    expect(findPlaceholders(head).map(({ spot }) => formatSpot(spot))).toEqual(spots)
    const before = structuredClone(head)
    try {
      expect(send(head, secrets)).toEqual(expected ?? refused)
    } catch (error) {
      if (!(error instanceof CoatcheckError)) throw error
      expect(error.code).toBe(refused)
      for (const { value } of secrets) if (value.length > 3) expect(inspect(error)).not.toContain(value)
    }
    expect(head).toEqual(before)
  })

  it('without a placeholder is neither copied nor searched for long', () => {
    const head = { method: 'GET', path: '/', headers: ['Host', 'api.test'] }
    expect(findPlaceholders(head)).toBe(findPlaceholders({ ...head, path: '/other' }))
    expect(substitute(head, findPlaceholders(head), new Map())).toBe(head)
  })
})

describe('substitution on its own', () => {
  const a: SecretRow = { name: 'a', placeholder: `xcoat_${'a'.repeat(26)}`, value: 'value-of-a' }
  const b: SecretRow = { name: 'b', placeholder: `xcoat_${'b'.repeat(26)}`, value: 'value-of-b' }

  it('leaves occurrences alone that were not released', () => {
    const head = { method: 'GET', path: `/${a.placeholder}`, headers: ['Authorization', b.placeholder + a.placeholder] }
    expect(substitute(head, findPlaceholders(head), releasesOf([a]))).toEqual({
      ...head,
      headers: ['Authorization', `${b.placeholder}value-of-a`],
    })
  })

  it('puts no value where the secret has no placement, even if asked to', () => {
    const head = { method: 'GET', path: `/${a.placeholder}`, headers: ['Cookie', a.placeholder, a.placeholder, 'x'] }
    expect(substitute(head, findPlaceholders(head), releasesOf([a]))).toBe(head)
  })

  it('puts no value where another dress stands, even if asked to', () => {
    const head = { method: 'GET', path: '/', headers: ['Authorization', a.placeholder] }
    const dressed = { ...a, placeholder: `sk-${a.placeholder}` }
    expect(substitute(head, findPlaceholders(head), releasesOf([dressed]))).toBe(head)
  })

  it('does not depend on the order of the occurrences', () => {
    const text = `${a.placeholder},${b.placeholder},${a.placeholder}`
    const head = { method: 'GET', path: '/', headers: ['Authorization', text, 'X-Api-Key', text] }
    const occurrences = findPlaceholders(head)
    const all = releasesOf([a, b])
    expect(substitute(head, [...occurrences].reverse(), all)).toEqual(substitute(head, occurrences, all))
  })

  it('fails as a whole when one of several values does not fit', () => {
    const head = { method: 'GET', path: '/', headers: ['Authorization', a.placeholder, 'X-Api-Key', b.placeholder] }
    expect(() => substitute(head, findPlaceholders(head), releasesOf([a, { ...b, value: 'b\n' }]))).toThrow(
      expect.objectContaining({ code: 'value_not_placeable' }),
    )
    expect(head.headers[1]).toBe(a.placeholder)
  })

  it('replaces ten thousand occurrences in one pass', () => {
    const head = { method: 'GET', path: '/', headers: ['Authorization', a.placeholder.repeat(10_000)] }
    const sent = substitute(head, findPlaceholders(head), releasesOf([a]))
    expect(sent.headers[1]).toBe(a.value.repeat(10_000))
  })
})

describe('a value for a header', () => {
  it.each([
    ['sk-123', true],
    ['a b\tc', true],
    ['', false],
    [' a', false],
    ['a ', false],
    ['\ta', false],
    ['a\r\nb', false],
    ['a\0b', false],
    ['a\u007f', false],
    ['a\u00e9', false],
    ['\u65e5', false],
    ['a\u001bb', false],
  ])('%j is safe: %s', (text, ok) => {
    const safety = checkHeaderSafe(SecretValue.fromText(text))
    expect(safety.ok).toBe(ok)
    if (!safety.ok && text.trim().length > 1) expect(safety.why).not.toContain(text)
  })
})

/** Header-safe values without the marker; long enough to be masked. */
const value = fc
  .stringMatching(/^[!-~]{8}[ -~]{0,30}[!-~]{8}$/)
  .filter((text) => !text.includes('xcoat_') && !text.includes('|'))
const glue = fc.stringMatching(/^[|\u00e9 ]{0,6}$/)

describe('properties', () => {
  it('equals a simple reference: split at the placeholders, join with the values', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(glue, fc.nat(2)), { maxLength: 8 }),
        fc.tuple(value, value, value),
        (parts, values) => {
          const secrets = values.map((text, i) => ({ name: `s${i}`, placeholder: `d${i}-${mintToken()}`, value: text }))
          const write = (of: 'placeholder' | 'value') =>
            parts.map(([text, i]) => text + (secrets[i]?.[of] ?? '')).join('')
          const head = { method: 'GET', path: '/', headers: ['X-Auth-Token', write('placeholder'), 'Other', 'xcoat_'] }
          expect(send(head, secrets)).toEqual({ ...head, headers: ['X-Auth-Token', write('value'), 'Other', 'xcoat_'] })
        },
      ),
    )
  })

  it('swap, then mask, is the identity for headers and for the target', () => {
    const placements = ['credential-headers', 'query', 'path']
    fc.assert(
      fc.property(fc.array(glue, { maxLength: 5 }), value, (glues, text) => {
        const secret = { name: 's', placeholder: `sk-${mintToken()}`, value: text, placements }
        const path = `/${secret.placeholder}/x?k=${secret.placeholder}&z=1`
        const head = { method: 'GET', path, headers: ['Authorization', `B${glues.join(`|${secret.placeholder}|`)}`] }
        const releases = releasesOf([secret])
        const sent = substitute(head, findPlaceholders(head), releases)
        const masker = new Masker(releases.values())
        expect(masker.maskHeaders(sent.headers)).toEqual(head.headers)
        expect(masker.maskText(sent.path)).toBe(head.path)
      }),
    )
  })

  it('Basic credentials decode to what a decoder of the original, with the value put in, would see', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[^:]{0,10}$/), fc.uint8Array({ maxLength: 9 }), value, (user, rest, text) => {
        const secret = { name: 's', placeholder: mintToken(), value: text }
        const credentials = (middle: string) =>
          Buffer.concat([Buffer.from(`${user}:${middle}`), rest]).toString('base64')
        const head = {
          method: 'GET',
          path: '/',
          headers: ['Authorization', `Basic ${credentials(secret.placeholder)}`],
        }
        expect(send(head, [secret])).toEqual({ ...head, headers: ['Authorization', `Basic ${credentials(text)}`] })
      }),
    )
  })

  it('never throws anything but a CoatcheckError on whatever a sandbox sends', () => {
    const token = `xcoat_${'a'.repeat(26)}`
    const bit = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 6 }),
      fc.constantFrom(token, '%', '%5f', '?', '&', '=', 'Basic ', 'xcoat_'),
    )
    const text = fc.array(bit, { maxLength: 8 }).map((bits) => bits.join(''))
    fc.assert(
      fc.property(text, text, text, (name, field, path) => {
        const secret = {
          name: 's',
          placeholder: token,
          value: 'v'.repeat(20),
          placements: ['header:*', 'query', 'path'],
        }
        try {
          send({ method: 'GET', path, headers: [name, field, 'Authorization', field] }, [secret])
        } catch (error) {
          expect(error).toBeInstanceOf(CoatcheckError)
        }
      }),
    )
  })
})
