/** What may be stored and under which name, from vectors: adding a case is adding a row in test/vectors/secret-names. */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CoatcheckError } from '../../src/core/errors.ts'
import { isUuid, uuidv7 } from '../../src/core/id.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import { type Placement, parsePlacement } from '../../src/core/placement.ts'
import { type SecretType, SecretValue } from '../../src/core/secret.ts'
import { checkSecretName, nameKeyOf } from '../../src/core/secret-name.ts'
import {
  checkDescription,
  checkEnvName,
  checkExpiry,
  checkLabels,
  checkMounts,
  checkPlacementCount,
  checkSandboxName,
  checkTokenName,
  checkType,
  checkValue,
  hintOf,
  secretWarnings,
} from '../../src/core/secret-rules.ts'

interface NameVector {
  readonly name: string
  readonly allowed: boolean
  readonly why: string
}

interface HintVector {
  readonly value: string
  readonly type: SecretType
  readonly hint: string | null
  readonly why: string
}

function vectors(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../vectors/secret-names/${file}`, import.meta.url), 'utf8'))
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return error instanceof CoatcheckError ? error.code : String(error)
  }
}

const headers = [parsePlacement('credential-headers')]

describe('names', () => {
  for (const { name, allowed, why } of vectors('names.json') as readonly NameVector[]) {
    it(`${allowed ? 'accepts' : 'refuses'} the secret name ${JSON.stringify(name)}: ${why}`, () => {
      expect(codeOf(() => checkSecretName(name))).toBe(allowed ? undefined : 'invalid_input')
    })
  }

  for (const { name, allowed, why } of vectors('env-names.json') as readonly NameVector[]) {
    it(`${allowed ? 'accepts' : 'refuses'} the environment variable ${JSON.stringify(name)}: ${why}`, () => {
      expect(codeOf(() => checkEnvName(name))).toBe(allowed ? undefined : 'invalid_input')
    })
  }

  it('accepts 256 characters and refuses 257', () => {
    expect(checkSecretName('a'.repeat(256))).toHaveLength(256)
    expect(codeOf(() => checkSecretName('a'.repeat(257)))).toBe('invalid_input')
  })

  it('keeps a name composed, and compares it as what its characters stand for', () => {
    expect(checkSecretName('ke\u0301y')).toBe('k\u00e9y')
    expect(nameKeyOf('\uff53\uff54\uff52\uff49\uff50\uff45')).toBe('stripe')
    expect(checkSecretName('\ud801\udc37'.repeat(256))).toHaveLength(512)
    expect(codeOf(() => checkSecretName('\ud801\udc37'.repeat(257)))).toBe('invalid_input')
  })

  it('takes any text for a name or none, and a name it took again, with the same key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 12 }), (text) => {
        if (codeOf(() => checkSecretName(text)) !== undefined) return
        const name = checkSecretName(text)
        expect(checkSecretName(name)).toBe(name)
        expect(nameKeyOf(text)).toBe(nameKeyOf(name))
        expect(checkSecretName(nameKeyOf(name))).toBe(nameKeyOf(name))
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses what could not stand in a proxy URL as the name of a sandbox or token', () => {
    for (const check of [checkSandboxName, checkTokenName]) {
      expect(check('build-7.x_Y')).toBe('build-7.x_Y')
      for (const name of ['', '-a', 'a b', 'a:b', 'a@b', 'a/b', 'a%62', 'ä', 'a\n', 'a'.repeat(65), uuidv7(0)]) {
        expect(
          codeOf(() => check(name)),
          name,
        ).toBe('invalid_input')
      }
    }
  })

  it('never repeats a refused name in what it says', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8 }), (name) => {
        try {
          checkSecretName(name)
        } catch (error) {
          expect(String(error) + (error as CoatcheckError).hint).not.toContain(name)
        }
      }),
    )
  })
})

describe('values', () => {
  const check = (bytes: Uint8Array | string, placements: readonly Placement[] = headers) =>
    codeOf(() => checkValue(new SecretValue(Buffer.from(bytes)), placements))

  it('accepts 1 to 65,536 bytes', () => {
    expect(check('a')).toBeUndefined()
    expect(check('a'.repeat(65_536))).toBeUndefined()
    expect(check('')).toBe('invalid_input')
    expect(check('a'.repeat(65_537))).toBe('invalid_input')
  })

  it('refuses a value that holds the marker of a placeholder, wherever it is to be placed', () => {
    for (const placements of [headers, [parsePlacement('query')]]) {
      expect(check(mintToken(), placements)).toBe('invalid_input')
      expect(check('abc xcoat_ def', placements)).toBe('invalid_input')
    }
    expect(check('XCOAT_')).toBeUndefined()
  })

  it('refuses what a header cannot carry, only when a header is among the placements', () => {
    for (const bad of ['a\nb', 'a\r\nb: c', 'a\u0000', ' a', 'a ', 'é']) {
      expect(check(bad), JSON.stringify(bad)).toBe('invalid_input')
      expect(check(bad, [parsePlacement('path'), parsePlacement('header:x-key')])).toBe('invalid_input')
      expect(check(bad, [parsePlacement('query')])).toBeUndefined()
    }
  })

  it('never repeats the value in what it says', () => {
    const value = new SecretValue(Buffer.from('canary-5d1f\nsecond line'))
    try {
      checkValue(value, headers)
      expect.unreachable()
    } catch (error) {
      expect(JSON.stringify([String(error), (error as CoatcheckError).hint])).not.toMatch(/canary|second/)
    }
  })

  it('warns of short values and of missing hosts', () => {
    expect(secretWarnings(SecretValue.fromText('a'.repeat(15)), null)).toHaveLength(2)
    expect(secretWarnings(SecretValue.fromText('a'.repeat(16)), ['a.test'])).toEqual([])
    expect(secretWarnings(null, ['a.test'])).toEqual([])
  })
})

describe('hints', () => {
  for (const row of vectors('hints.json') as readonly HintVector[]) {
    it(`${row.hint === null ? 'shows nothing' : 'shows the end'}: ${row.why}`, () => {
      expect(hintOf(SecretValue.fromText(row.value), row.type)).toBe(row.hint)
    })
  }

  it('never shows more than four characters of any value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (bytes) => {
        const hint = hintOf(new SecretValue(bytes), 'generic')
        if (hint === null) return
        expect(hint).toBe(`••••${Buffer.from(bytes).subarray(-4).toString('latin1')}`)
        expect(bytes.length).toBeGreaterThanOrEqual(12)
      }),
    )
  })
})

describe('the rest of a secret', () => {
  const now = Date.parse('2030-01-01T00:00:00Z')

  it('keeps an expiry as UTC with milliseconds and refuses one that is past or vague', () => {
    expect(checkExpiry('2031-02-03T04:05:06+02:00', now)).toBe('2031-02-03T02:05:06.000Z')
    expect(checkExpiry(null, now)).toBeNull()
    for (const text of [
      '2029-12-31T23:59:59Z',
      '2030-01-01T00:00:00Z',
      '2031-02-03',
      '2031-02-03T04:05:06',
      'tomorrow',
      '',
      '2031-13-03T04:05:06Z',
    ]) {
      expect(
        codeOf(() => checkExpiry(text, now)),
        text,
      ).toBe('invalid_input')
    }
  })

  it('sorts labels, and refuses keys that mean something to JavaScript or nothing to people', () => {
    expect(Object.keys(checkLabels({ b: '1', a: '2' }))).toEqual(['a', 'b'])
    for (const labels of [{ '': 'x' }, { ['__proto__']: 'x' }, { 'a b': 'x' }, { a: 'x\n' }, { a: 'x'.repeat(257) }]) {
      expect(
        codeOf(() => checkLabels(labels)),
        JSON.stringify(labels),
      ).toBe('invalid_input')
    }
    expect(codeOf(() => checkLabels(Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`k${at}`, '']))))).toBe(
      'invalid_input',
    )
  })

  it('knows its types and nothing that every object has', () => {
    expect(checkType('api_key')).toBe('api_key')
    for (const type of ['', 'toString', 'constructor', 'API_KEY']) {
      expect(
        codeOf(() => checkType(type)),
        type,
      ).toBe('invalid_input')
    }
  })

  it('bounds descriptions, placements and mounts', () => {
    expect(checkDescription('two\nlines')).toBe('two\nlines')
    expect(codeOf(() => checkDescription('\u001b[2J'))).toBe('invalid_input')
    expect(codeOf(() => checkDescription('a'.repeat(2_001)))).toBe('invalid_input')
    expect(codeOf(() => checkPlacementCount(0))).toBe('invalid_input')
    expect(codeOf(() => checkPlacementCount(51))).toBe('invalid_input')
    const many = Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`E${at}`, 's']))
    expect(codeOf(() => checkMounts(many))).toBe('invalid_input')
  })
})

describe('ids', () => {
  it('sort by time, are version 7 and never repeat', () => {
    const ids = Array.from({ length: 10_000 }, (_, at) => uuidv7(1_700_000_000_000 + at))
    expect(new Set(ids).size).toBe(ids.length)
    expect([...ids].sort()).toEqual(ids)
    for (const id of ids) expect(id).toMatch(/^018bcfe5-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(isUuid(ids[0] ?? '')).toBe(true)
  })
})
