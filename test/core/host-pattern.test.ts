import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CoatcheckError } from '../../src/core/errors.ts'
import { isCanonicalName } from '../../src/core/host.ts'
import {
  certificateNameCovers,
  compileHosts,
  HostIndex,
  normalizeHostPattern,
  normalizeHosts,
} from '../../src/core/host-pattern.ts'
import certificateNames from '../vectors/host-patterns/certificate-names.json' with { type: 'json' }
import entries from '../vectors/host-patterns/entries.json' with { type: 'json' }
import matches from '../vectors/host-patterns/matches.json' with { type: 'json' }

function refusal(run: () => unknown): CoatcheckError {
  try {
    run()
  } catch (error) {
    if (error instanceof CoatcheckError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('an entry', () => {
  for (const { id, input, expected, why } of entries) {
    test(`${id} ${why}`, () => {
      if (expected.pattern !== undefined) {
        const { pattern, warnings } = normalizeHostPattern(input)
        expect({ pattern, warnings: warnings.length }).toEqual(expected)
        return
      }
      const { code, message, hint } = refusal(() => normalizeHostPattern(input))
      expect(code).toBe('invalid_input')
      expect(message).toContain(expected.message)
      expect(hint).toContain(expected.hint)
    })
  }

  test('A21 a mixed-script name is warned of by its A-label', () => {
    expect(normalizeHostPattern('аpi.openai.com').warnings).toEqual([
      'xn--pi-6kc.openai.com mixes scripts within a label: it may look like another name without being it.',
    ])
  })

  test('A24 a wildcard is warned of, because any name below it may be taken over', () => {
    expect(normalizeHostPattern('*.example.com').warnings[0]).toContain(
      'trusts whoever serves any name below example.com',
    )
  })

  test('A18 a refusal does not repeat what was typed', () => {
    const { message, hint } = refusal(() => normalizeHostPattern('https://user:hunter2@api.example.com/hunter2'))
    expect(`${message} ${hint}`).not.toContain('hunter2')
  })
})

describe('the hosts of a secret', () => {
  test('keep their order and lose their duplicates', () => {
    const { hosts } = normalizeHosts(['b.test', 'A.test', '*.c.test', 'a.test.', 'b.test'])
    expect(hosts).toEqual(['b.test', 'a.test', '*.c.test'])
  })

  test('A23 every bad entry is named at once, by its place', () => {
    const { code, message, hint } = refusal(() => normalizeHosts(['a.test', '*.com', 'https://b.test/x', '1.2.3.4']))
    expect(code).toBe('invalid_input')
    expect(message).toMatch(/^hosts\[1\]: .* hosts\[2\]: This host has a scheme\. hosts\[3\]: /)
    expect(hint).toContain('hosts[2]: Write b.test.')
  })

  test('A23 an empty list is refused, and so are 101 entries', () => {
    expect(refusal(() => normalizeHosts([])).code).toBe('invalid_input')
    const many = Array.from({ length: 101 }, (_, index) => `h${index}.test`)
    expect(refusal(() => normalizeHosts(many)).code).toBe('invalid_input')
    expect(normalizeHosts(many.slice(1)).hosts).toHaveLength(100)
  })
})

describe('a compiled list', () => {
  for (const { id, input, expected, why } of matches) {
    test(`${id} ${why}`, () => {
      expect(compileHosts(input.entries).allows(input.host)).toBe(expected)
    })
  }

  test('shows its entries', () => {
    expect(compileHosts(null).entries).toBeNull()
    expect(compileHosts(['a.test']).entries).toEqual(['a.test'])
  })

  test.each(['*', '*.', 'A.test', 'a.test.', '', '{a,b}', '(a+)+$', '127.0.0.1', '*.*.test', 'bücher.example'])(
    'G09 an entry that is not in stored form is refused before any glob sees it: %s',
    (entry) => {
      expect(refusal(() => compileHosts([entry])).code).toBe('invalid_input')
    },
  )
})

describe('a name in a certificate', () => {
  for (const { id, input, expected, why } of certificateNames) {
    test(`${id} ${why}`, () => {
      expect(certificateNameCovers(input.name, input.host)).toBe(expected)
    })
  }
})

test('an index gives exact values first, then the longest suffix first', () => {
  const index = new HostIndex<string>()
  for (const pattern of ['*.test', '*.a.test', 'b.a.test', '*.b.a.test', 'a.test']) index.add(pattern, pattern)
  expect(index.matching('b.a.test')).toEqual(['b.a.test', '*.b.a.test', '*.a.test', '*.test'])
  expect(index.matching('evil')).toEqual([])
})

test('A25 an index matches literals exactly, never by the text after a dot', () => {
  const index = new HostIndex<string>()
  for (const pattern of ['*.0.1', '*.1', '127.0.0.1']) index.add(pattern, pattern)
  expect(index.matching('127.0.0.1')).toEqual(['127.0.0.1'])
  expect(index.matching('10.0.0.1')).toEqual([])
  expect(index.matching('::ffff:10.0.0.1')).toEqual([])
})

describe('properties', () => {
  const label = fc.constantFrom('a', 'b', 'wild', 'evilwild', 'x-y', '_z', 'test', 'com', '1')
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
  const entry = fc.tuple(fc.boolean(), name).map(([wildcard, text]) => (wildcard ? `*.${text}` : text))
  const stored = fc.array(
    entry.filter((text) => isCanonicalName(text.replace(/^\*\./, ''))),
    { maxLength: 6 },
  )
  const host = fc.oneof(
    name,
    fc.string({ unit: 'binary' }),
    entry,
    fc.domain(),
    name.map((text) => `.${text}`),
  )

  const covers = (entry: string, host: string): boolean => {
    const wanted = entry.split('.').toReversed()
    const labels = host.split('.').toReversed()
    if (wanted.at(-1) !== '*') return entry === host
    return wanted.slice(0, -1).every((label, at) => labels[at] === label)
  }

  test('A22 a list allows exactly the canonical names that end in an entry, label by label', () => {
    fc.assert(
      fc.property(stored, host, (entries, host) => {
        const expected = isCanonicalName(host) && entries.some((entry) => covers(entry, host))
        expect(compileHosts(entries).allows(host)).toBe(expected)
      }),
      { numRuns: 5000 },
    )
  })

  test('A22 normalising a stored entry gives it back', () => {
    fc.assert(
      fc.property(fc.oneof(entry, fc.string(), fc.domain()), (raw) => {
        let first: string
        try {
          first = normalizeHostPattern(raw).pattern
        } catch (error) {
          if (!(error instanceof CoatcheckError)) throw error
          return
        }
        expect(normalizeHostPattern(first).pattern).toBe(first)
        expect(compileHosts([first]).allows(first.replace(/^\*\./, ''))).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})
