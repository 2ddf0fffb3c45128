import { BlockList } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  classifyAddress,
  compileAddressGuard,
  formatAddress,
  isOwnListener,
  parseAddress,
} from '../../src/core/address.ts'
import { CoatcheckError } from '../../src/core/errors.ts'
import badRanges from '../vectors/addresses/bad-ranges.json' with { type: 'json' }
import guarded from '../vectors/addresses/guard.json' with { type: 'json' }
import kinds from '../vectors/addresses/kinds.json' with { type: 'json' }
import ownListeners from '../vectors/addresses/own-listeners.json' with { type: 'json' }

const compile = (allowed: readonly string[]) => compileAddressGuard({ allowed, own: () => [] })

describe('an address', () => {
  for (const { id, input, expected, why } of kinds) {
    test(`${id} ${why}`, () => {
      expect(classifyAddress(input)).toBe(expected)
    })
  }
})

describe('the guard', () => {
  for (const { id, input, expected, why } of guarded) {
    test(`${id} ${why}`, () => {
      const decision = compileAddressGuard({ allowed: input.allowed, own: () => input.own }).check(input.ip)
      expect(decision.allow ? 'allow' : decision.kind).toBe(expected)
    })
  }

  test('E17 a refusal says the kind and the fix, and not the address', () => {
    const decision = compile([]).check('10.9.8.7')
    expect(decision).toMatchObject({ allow: false, reason: 'address_denied', kind: 'private' })
    expect(JSON.stringify(decision)).toContain('egress.privateAddresses')
    expect(JSON.stringify(decision)).not.toContain('10.9.8.7')
  })

  test('E16 our own addresses are asked for at every check', () => {
    const own: string[] = []
    const guard = compileAddressGuard({ allowed: [], own: () => own })
    expect(guard.check('203.1.2.3').allow).toBe(true)
    own.push('203.1.2.3')
    expect(guard.check('203.1.2.3').allow).toBe(false)
  })

  for (const { id, input, expected, why } of badRanges) {
    test(`${id} ${why}`, () => {
      expect(() => compile([input])).toThrow(CoatcheckError)
      expect(() => compile([input])).toThrow(expected)
    })
  }

  test('E17 every bad range is named at once', () => {
    expect(() => compile(['10.0.0.0/8', '10/8', '::1/129'])).toThrow(/Range 2 .*; Range 3 /)
  })
})

describe('our own listeners', () => {
  for (const { id, input, expected, why } of ownListeners) {
    test(`${id} ${why}`, () => {
      expect(isOwnListener(input.ip, input.port, input.own, input.local)).toBe(expected)
    })
  }
})

describe('properties', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6())

  test('E17 classifying is total', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary' }), address),
        (text) => typeof classifyAddress(text) === 'string',
      ),
    )
  })

  test('E17 an address survives being written and read again', () => {
    fc.assert(
      fc.property(address, (text) => {
        const parsed = parseAddress(text)
        if (parsed === undefined) throw new Error(`${text} was not read`)
        expect(parseAddress(formatAddress(parsed))).toEqual(parsed)
      }),
    )
  })

  test('E17 an IPv4 address and its IPv4-mapped form are judged alike', () => {
    fc.assert(
      fc.property(fc.ipV4(), (ip) => {
        expect(classifyAddress(`::ffff:${ip}`)).toBe(classifyAddress(ip))
      }),
    )
  })

  test('E17 ranges cover what the block list of Node covers', () => {
    const cidr = fc.tuple(fc.ipV4(), fc.integer({ min: 8, max: 32 }))
    fc.assert(
      fc.property(cidr, fc.ipV4(), fc.nat(0xffff), ([base, bits], other, near) => {
        const value = (parseAddress(base)?.value ?? 0n) & ~((1n << BigInt(32 - bits)) - 1n)
        const network = formatAddress({ family: 4, value })
        const list = new BlockList()
        list.addSubnet(network, bits, 'ipv4')
        const guard = compile([`${network}/${bits}`])
        for (const ip of [other, formatAddress({ family: 4, value: (value + BigInt(near)) & 0xffffffffn })]) {
          const kind = classifyAddress(ip)
          const expected = kind === 'public' || (kind !== 'metadata' && list.check(ip, 'ipv4'))
          expect(guard.check(ip).allow).toBe(expected)
        }
      }),
    )
  })

  test('E17 metadata is refused under every list of ranges', () => {
    const metadata = kinds.filter((row) => row.expected === 'metadata').map((row) => row.input)
    const ranges = fc.subarray([
      '0.0.0.0/0',
      '::/0',
      ...metadata.filter((ip) => !ip.startsWith('::ffff:a9') && !ip.startsWith('::ffff:1')),
    ])
    fc.assert(fc.property(ranges, fc.constantFrom(...metadata), (allowed, ip) => !compile(allowed).check(ip).allow))
  })
})
