import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { escapeUnprintable, Scrubber } from '../../src/core/scrub.ts'
import { SecretValue } from '../../src/core/secret.ts'
import forms from '../vectors/scrub/forms.json' with { type: 'json' }

function watching(...values: string[]): Scrubber {
  const scrubber = new Scrubber()
  for (const value of values) scrubber.watch(SecretValue.fromText(value))
  return scrubber
}

describe('a watched value', () => {
  for (const { why, value, line, expected } of forms) {
    test(`is replaced: ${why}`, () => {
      expect(watching(value).scrub(line)).toBe(expected)
    })
  }

  test('never stays in any form, whatever stands around it', () => {
    const spellings = [
      (value: string) => value,
      (value: string) => JSON.stringify(value).slice(1, -1),
      (value: string) => encodeURIComponent(value),
      (value: string) => Buffer.from(value).toString('hex'),
    ]
    const value = fc.string({ minLength: 4, maxLength: 40, unit: 'binary' }).filter((text) => text.isWellFormed())
    fc.assert(
      fc.property(value, fc.string(), fc.string(), (secret, before, after) => {
        const scrubber = watching(secret)
        for (const spell of spellings) {
          const text = spell(secret)
          for (const part of scrubber.scrub(before + text + after).split('[secret]')) expect(part).not.toContain(text)
        }
      }),
    )
  })

  test('inside user:password base64 leaves nothing that decodes to most of it', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ -~]{8,40}$/), fc.stringMatching(/^[a-z]{0,5}$/), (secret, user) => {
        const basic = Buffer.from(`${user}:${secret}`).toString('base64')
        const left = watching(secret).scrub(`Basic ${basic}`)
        expect(left).toContain('[secret]')
        expect(left.length).toBeLessThanOrEqual('Basic [secret]'.length + Math.ceil(((user.length + 1) * 4) / 3) + 5)
      }),
    )
  })

  test('is found among a thousand others, and replaced by nothing of theirs', () => {
    const values = Array.from({ length: 1000 }, (_, i) => `sk-proj-${i}-${'k'.repeat(20)}`)
    const scrubber = watching(...values)
    for (const value of values) expect(scrubber.scrub(`"${value}"`)).toBe('"[secret]"')
  })

  test('that contains another one is replaced whole', () => {
    expect(watching('inner-value', 'outer-inner-value-outer').scrub('<outer-inner-value-outer>')).toBe('<[secret]>')
  })

  test('of binary bytes is found in hex and base64', () => {
    const bytes = Buffer.from('00ff10fe20fd30fc40fb', 'hex')
    const scrubber = new Scrubber()
    scrubber.watch(new SecretValue(bytes))
    expect(scrubber.scrub(bytes.toString('hex'))).toBe('[secret]')
    expect(scrubber.scrub(bytes.toString('latin1'))).toBe('[secret]')
    expect(scrubber.scrub(bytes.toString('base64'))).toMatch(/^\[secret\].?=*$/)
  })
})

describe('the registry', () => {
  test('forgets the least recently opened value beyond a thousand, and not one that was opened again', () => {
    const scrubber = new Scrubber()
    const again = SecretValue.fromText('opened-again')
    scrubber.watch(again)
    scrubber.watch(SecretValue.fromText('opened-once'))
    for (let i = 0; i < 999; i += 1) {
      scrubber.watch(SecretValue.fromText(`value-number-${i}`))
      scrubber.watch(again)
    }
    expect(scrubber.scrub('opened-again opened-once value-number-0')).toBe('[secret] opened-once [secret]')
  })

  test('keeps the newest value however large, and forgets others for it', () => {
    const scrubber = watching('small-value')
    const large = 'x1'.repeat(400_000)
    scrubber.watch(SecretValue.fromText(large))
    expect(scrubber.scrub(`small-value ${large}`)).toBe('small-value [secret]')
  })

  test('the same value opened anew takes no second place', () => {
    const scrubber = watching('first-value')
    for (let i = 0; i < 2000; i += 1) scrubber.watch(SecretValue.fromText('second-value'))
    expect(scrubber.scrub('first-value second-value')).toBe('[secret] [secret]')
  })

  test('a line with nothing to hide comes back as the same text', () => {
    fc.assert(
      fc.property(fc.string(), (line) => {
        expect(watching('no-such-value-anywhere').scrub(line)).toBe(line)
      }),
    )
  })
})

test('characters a terminal or a line reader acts on are escaped, and the JSON means the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const line = escapeUnprintable(JSON.stringify({ text }))
      expect(JSON.parse(line)).toEqual(JSON.parse(JSON.stringify({ text })))
      // oxlint-disable-next-line no-control-regex
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/)
    }),
  )
})
