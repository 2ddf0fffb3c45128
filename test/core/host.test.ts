import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CoatcheckError } from '../../src/core/errors.ts'
import {
  canonicalAddress,
  canonicalHost,
  formatAuthority,
  isIpLiteral,
  parseAbsoluteTarget,
  parseAuthority,
} from '../../src/core/host.ts'
import absoluteTargets from '../vectors/hosts/absolute-target.json' with { type: 'json' }
import authorities from '../vectors/hosts/authority.json' with { type: 'json' }
import hosts from '../vectors/hosts/canonical-host.json' with { type: 'json' }

/** The result, or the code of the CoatcheckError; any other error escapes and fails the test. */
function outcome<T>(run: () => T): T | { error: string } {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof CoatcheckError)) throw error
    return { error: error.code }
  }
}

const hostOrError = (raw: string) => outcome(() => ({ host: canonicalHost(raw) }))

describe('a host', () => {
  for (const { id, input, expected, why } of hosts) {
    test(`${id} ${why}`, () => {
      expect(hostOrError(input)).toEqual(expected)
    })
  }

  test('A18 a refusal repeats nothing of what it refuses', () => {
    const secret = 'hunter2canary'
    for (const raw of [`u:${secret}@a.test`, `${secret}%00`, `${secret} x`, `[${secret}]`, `a.test:${secret}`]) {
      try {
        parseAuthority(raw, 80)
        expect.unreachable()
      } catch (error) {
        const { message, hint } = error as CoatcheckError
        expect(`${message} ${hint}`).not.toContain(secret)
      }
    }
  })
})

describe('an authority', () => {
  for (const { id, input, expected, why } of authorities) {
    test(`${id} ${why}`, () => {
      expect(outcome(() => parseAuthority(input.text, input.defaultPort))).toEqual(expected)
    })
  }

  test('is written with brackets around IPv6 and without its default port', () => {
    expect(formatAuthority(canonicalHost('[::1]'), 443, 443)).toBe('[::1]')
    expect(formatAuthority(canonicalHost('[::1]'), 443)).toBe('[::1]:443')
    expect(formatAuthority(canonicalHost('a.test'), 8443, 443)).toBe('a.test:8443')
    expect(formatAuthority(canonicalHost('127.0.0.1'), 80, 80)).toBe('127.0.0.1')
  })
})

describe('an absolute target', () => {
  for (const { id, input, expected, why } of absoluteTargets) {
    test(`${id} ${why}`, () => {
      const read = outcome(() => {
        const { scheme, authority, path } = parseAbsoluteTarget(input)
        return { scheme, host: authority.host, port: authority.port, path }
      })
      expect(read).toEqual(expected)
    })
  }
})

test('A25 literals are told from names', () => {
  expect(['127.0.0.1', '::1', '::ffff:1.2.3.4'].map(isIpLiteral)).toEqual([true, true, true])
  expect(['a.test', '1.2.3.4.test', 'localhost', 'a1'].map(isIpLiteral)).toEqual([false, false, false, false])
})

test('A25 an address from a resolver has the canonical form of the same literal on the wire', () => {
  expect(canonicalAddress('2001:DB8:0::1')).toBe(canonicalHost('[2001:db8::1]'))
  expect(canonicalAddress('::ffff:7f00:1')).toBe('::ffff:127.0.0.1')
  expect(outcome(() => canonicalAddress('fe80::1%eth0'))).toEqual({ error: 'invalid_host' })
  expect(outcome(() => canonicalAddress('a.test'))).toEqual({ error: 'invalid_host' })
})

describe('properties', () => {
  const nearHost = fc
    .array(
      fc.constantFrom(
        'a',
        'Z',
        '0',
        '9',
        '-',
        '_',
        '.',
        ':',
        '[',
        ']',
        '%',
        '@',
        '0x',
        'xn--',
        '\u212a',
        ' ',
        'é',
        '127',
        '::',
      ),
      {
        maxLength: 40,
      },
    )
    .map((parts) => parts.join(''))
  const anyText = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), nearHost, fc.domain(), fc.ipV4())
  const wireForm = (host: string) => (host.includes(':') ? `[${host}]` : host)

  test('A13 canonicalHost is total: a canonical host or invalid_host, never another error', () => {
    fc.assert(
      fc.property(anyText, (raw) => {
        const read = hostOrError(raw)
        if ('error' in read) return read.error === 'invalid_host'
        return /^[a-z0-9_.:-]+$/.test(read.host) && read.host.length <= 253 && !read.host.endsWith('.')
      }),
      { numRuns: 3000 },
    )
  })

  test('A14 canonicalHost is idempotent on names and IPv4, and on IPv6 in its brackets', () => {
    const ipv6 = fc.ipV6().map((ip) => `[${ip}]`)
    fc.assert(
      fc.property(fc.oneof(anyText, ipv6), (raw) => {
        const read = hostOrError(raw)
        if ('host' in read) expect(canonicalHost(wireForm(read.host))).toBe(read.host)
      }),
      { numRuns: 3000 },
    )
  })

  test('A15 every spelling of one IPv6 address is one host, the one that URL parsers write', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }), (groups) => {
        const long = `[${groups.map((group) => group.toString(16).padStart(4, '0').toUpperCase()).join(':')}]`
        const host = canonicalHost(long)
        expect(canonicalHost(new URL(`http://${long}/`).hostname)).toBe(host)
        if (!host.includes('.')) expect(`[${host}]`).toBe(new URL(`http://${long}/`).hostname)
      }),
    )
  })

  test('A16 a host we accept is the host that a URL parser would dial', () => {
    fc.assert(
      fc.property(nearHost, (raw) => {
        const read = hostOrError(raw)
        if ('host' in read && !raw.startsWith('['))
          expect(new URL(`http://${raw}/`).hostname.replace(/\.$/, '')).toBe(read.host)
      }),
      { numRuns: 5000 },
    )
  })

  test('A26 an authority survives being written and read again', () => {
    const host = fc
      .oneof(
        fc.domain(),
        fc.ipV4(),
        fc.ipV6().map((ip) => `[${ip}]`),
      )
      .map((raw) => hostOrError(raw))
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65_535 }), (read, port) => {
        fc.pre('host' in read)
        if (!('host' in read)) return
        expect(parseAuthority(formatAuthority(read.host, port, 443), 443)).toEqual({ host: read.host, port })
      }),
    )
  })

  test('A01 parseAbsoluteTarget is total', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), anyText, fc.string({ unit: 'binary' }), (scheme, host, path) => {
        for (const raw of [`${scheme}://${host}${path}`, `http://${host}/${path}`]) {
          const read = outcome(() => parseAbsoluteTarget(raw))
          if (!('error' in read)) expect(raw.endsWith(read.path.slice(1))).toBe(true)
        }
      }),
    )
  })
})
