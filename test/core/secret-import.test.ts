/** Texts of many secrets are read whole or refused with the place of each mistake, and what is written reads back the same. */
import { assert, property, record, string, stringMatching, uniqueArray } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDotenv, parseDotenv } from '../../src/core/dotenv.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { formatSecrets, parseSecrets } from '../../src/core/secret-import.ts'
import files from '../vectors/dotenv/files.json' with { type: 'json' }

const reading = (text: string) => () => parseSecrets('json', text)

describe('dotenv', () => {
  it.each(files.filter((file) => file.entries !== undefined))('$name', ({ text, entries }) => {
    expect(parseDotenv(text).map(({ name, value }) => [name, value])).toEqual(entries)
  })

  it.each(files.filter((file) => file.mistake !== undefined))('refuses $name', ({ text, mistake }) => {
    expect(() => parseDotenv(text)).toThrow(mistake)
    expect(() => parseDotenv(text)).not.toThrow('secretvalue')
  })

  it('reads back any value it wrote', () => {
    const name = stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/)
    const value = string({ unit: 'binary', maxLength: 60 }).filter((text) => !text.includes('\0'))
    const entries = uniqueArray(record({ name, value }), { selector: (entry) => entry.name, maxLength: 8 })
    assert(
      property(entries, (given) => {
        expect(parseDotenv(formatDotenv(given))).toEqual(given)
      }),
    )
  })

  it('is not written for names and values it cannot hold', () => {
    expect(() => formatDotenv([{ name: 'prod/key', value: 'x' }])).toThrow(/prod\/key/)
    const bytes = new SecretValue(Buffer.from([0xff, 0xfe]))
    expect(() => formatSecrets('dotenv', [{ name: 'A', value: bytes }])).toThrow(/not UTF-8/)
  })
})

describe('JSON', () => {
  it('reads names and values, or secrets with what goes with them', () => {
    const plain = parseSecrets('json', '{"A":"1","B":"2"}')
    expect(plain.map(({ name, value }) => [name, value.reveal().toString()])).toEqual([
      ['A', '1'],
      ['B', '2'],
    ])
    const [full] = parseSecrets(
      'json',
      '{"secrets":[{"name":"a/b","value":"v","hosts":["x.test"],"labels":{"k":"v"}}]}',
    )
    expect(full).toMatchObject({ name: 'a/b', hosts: ['x.test'], labels: { k: 'v' } })
  })

  it('writes what it reads', () => {
    const secrets = [{ name: 'a', value: SecretValue.fromText('"ü"\n'), hosts: ['x.test'], description: null }]
    const [read] = parseSecrets('json', formatSecrets('json', secrets))
    expect(read?.value.reveal().toString()).toBe('"ü"\n')
    expect(read).toMatchObject({ name: 'a', hosts: ['x.test'], description: null })
  })

  it.each([
    ['secretvalue', /not a JSON object/],
    ['["secretvalue"]', /not a JSON object/],
    ['{"A":{"x":"secretvalue"}}', /A is not a string/],
    ['{"secrets":[{"name":"a","value":1}]}', /secrets\[0\]\.value/],
    ['{"secrets":[{"name":"a","value":"secretvalue","hosts":"x"}]}', /secrets\[0\]\.hosts/],
    ['{"secrets":[{"name":"a","value":"v","secretvalue":1}]}', /not known/],
    ['{"secrets":[{"name":"a","value":"v"},{"name":"a","value":"v"}]}', /twice/],
    ['{"secrets":[null]}', /secrets\[0\]\.name/],
    ['{"secrets":[{"name":"a","value":"v","constructor":1}]}', /not known/],
  ])('refuses %s and repeats no value', (text, mistake) => {
    expect(reading(text)).toThrow(mistake)
    expect(reading(text)).not.toThrow('secretvalue')
  })
})
