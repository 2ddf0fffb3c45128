import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileEgress, type EgressRequest, type EgressRule, type EgressSettings } from '../../src/core/egress.ts'
import { CoatcheckError } from '../../src/core/errors.ts'
import { canonicalHost } from '../../src/core/host.ts'
import badRules from '../vectors/egress/bad-rules.json' with { type: 'json' }
import decisions from '../vectors/egress/decisions.json' with { type: 'json' }

const answer = (settings: EgressSettings, request: EgressRequest): string => {
  const decision = compileEgress(settings).decide(request)
  return decision.allow ? 'allow' : decision.reason
}

describe('a request', () => {
  for (const { id, input, expected, why } of decisions) {
    test(`${id} ${why}`, () => {
      expect(answer(input.settings as EgressSettings, input.request as EgressRequest)).toBe(expected)
    })
  }

  test('A26 a refused port says how it is opened', () => {
    const policy = compileEgress({ default: 'allow', ports: [443], rules: [] })
    const decision = policy.decide({ host: canonicalHost('a.test'), port: 22 })
    expect(decision).toMatchObject({
      allow: false,
      reason: 'port_denied',
      message: 'Port 22 of this host is not open.',
    })
  })
})

describe('a rule', () => {
  for (const { id, input, expected, why } of badRules) {
    test(`${id} ${why}`, () => {
      const rules = [input.rule] as EgressRule[]
      const settings: EgressSettings = { default: input.default as 'allow' | 'deny', ports: [443], rules }
      expect(() => compileEgress(settings)).toThrow(CoatcheckError)
      expect(() => compileEgress(settings)).toThrow(expected)
    })
  }

  test('H11 every mistake of every rule is named at once', () => {
    const rules: EgressRule[] = [
      { action: 'deny', host: 'a.test', ports: [0], methods: [] },
      { action: 'deny', host: 'https://b.test/' },
    ]
    expect(() => compileEgress({ default: 'allow', ports: [70_000], rules })).toThrow(
      /ports are .*rules\[0\]: methods is empty.*rules\[0\]: ports are .*rules\[1\]: This host has a scheme/,
    )
  })
})

test('A38 a host whose methods or paths are judged is no place for a blind tunnel', () => {
  const rules: EgressRule[] = [
    { action: 'deny', host: '*.a.test', methods: ['POST'] },
    { action: 'deny', host: 'b.test', paths: ['/x'], ports: [80] },
    { action: 'deny', host: 'c.test' },
  ]
  const policy = compileEgress({ default: 'allow', ports: [443], rules })
  const asked = (host: string, port: number) => policy.needsRequest(canonicalHost(host), port)
  expect(asked('x.a.test', 443)).toBe(true)
  expect(asked('b.test', 80)).toBe(true)
  expect(asked('b.test', 443)).toBe(false)
  expect(asked('c.test', 443)).toBe(false)
})

describe('properties', () => {
  const host = fc.constantFrom('a.test', 'x.a.test', 'b.test', '127.0.0.1').map(canonicalHost)
  const some = <T>(values: readonly T[]) => fc.option(fc.subarray([...values], { minLength: 1 }), { nil: undefined })
  const rule = fc
    .record({
      action: fc.constantFrom('allow' as const, 'deny' as const),
      host: fc.constantFrom('*', '*.a.test', 'a.test', 'b.test', '127.0.0.1'),
      ports: some([80, 443, 8443]),
      methods: some(['GET', 'POST']),
      paths: some(['/v1/*', '/admin', '*']),
    })
    .map(
      (made) =>
        Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)) as unknown as EgressRule,
    )
  const rules = fc.array(rule, { maxLength: 6 })
  const request = fc.record({
    host,
    port: fc.constantFrom(80, 443, 8443),
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    path: fc.constantFrom('/', '/v1/x', '/admin', '/%61dmin', '/v1/../admin'),
  })
  const settings = (rules: readonly EgressRule[]): EgressSettings => ({ default: 'deny', ports: [443], rules })

  test('H11 the order of rules never matters', () => {
    fc.assert(
      fc.property(rules, request, (rules, request) => {
        expect(answer(settings(rules.toReversed()), request)).toBe(answer(settings(rules), request))
      }),
    )
  })

  test('H11 adding a deny rule never allows what was refused', () => {
    fc.assert(
      fc.property(rules, rule, request, (rules, added, request) => {
        const narrowed = answer(settings([...rules, { ...added, action: 'deny' }]), request)
        if (narrowed === 'allow') expect(answer(settings(rules), request)).toBe('allow')
      }),
    )
  })

  test('H11 what passes with its method and path passes without them', () => {
    fc.assert(
      fc.property(rules, request, (rules, request) => {
        if (answer(settings(rules), request) !== 'allow') return
        expect(answer(settings(rules), { host: request.host, port: request.port })).toBe('allow')
      }),
    )
  })

  test('H11 no spelling of a path slips past a deny rule that its decoded form meets', () => {
    const unit = fc.constantFrom(
      'a',
      'd',
      'm',
      'i',
      'n',
      '/',
      '.',
      ';',
      '%',
      '%2e',
      '%2F',
      '%61',
      '%25',
      '%5c',
      '?',
      '\\',
    )
    const path = fc.array(unit, { maxLength: 12 }).map((parts) => `/${parts.join('')}`)
    fc.assert(
      fc.property(
        fc.oneof(
          path,
          path.map((text) => `/admin${text}`),
        ),
        (path) => {
          const rules: EgressRule[] = [{ action: 'deny', host: 'a.test', paths: ['/admin', '/admin/*'] }]
          const request = { host: canonicalHost('a.test'), port: 443, method: 'GET', path }
          if (answer({ default: 'allow', ports: [443], rules }, request) !== 'allow') return
          // A URL parser resolves dot segments and backslashes as the loosest servers do.
          const seen = decodeURIComponent(new URL(`http://a.test${path}`).pathname)
          expect(seen === '/admin' || seen.startsWith('/admin/')).toBe(false)
        },
      ),
      { numRuns: 5000 },
    )
  })
})
