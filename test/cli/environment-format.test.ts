/** Contract: whatever an environment holds, the program that reads the format gets exactly that, or it is refused. */
import { execFileSync } from 'node:child_process'
import { parseEnv } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatEnvironment } from '../../src/cli/environment-format.ts'

const AWKWARD = {
  PLAIN: 'xcoat_0123',
  EMPTY: '',
  URL: 'http://a:b@127.0.0.1:8080',
  QUOTES: `it's "quoted" \`now\``,
  EXPANSION: '$HOME ${HOME} $(id) !! \\n \\',
  HASH: 'a # b',
  SPACES: '  a  b  ',
  JAVA: '"-Djavax.net.ssl.trustStore=/a b/c.p12" -Dx=y',
}

function throughShell(env: Record<string, string>): Record<string, string> {
  const script = `${formatEnvironment('shell', env)}${Object.keys(env)
    .map((name) => `printf '%s\\0' "$${name}"`)
    .join('\n')}\n`
  const values = execFileSync('/bin/sh', ['-c', script], { env: {} }).toString().split('\0')
  return Object.fromEntries(Object.keys(env).map((name, index) => [name, values[index] ?? '']))
}

describe('shell', () => {
  it('gives sh exactly what was there', () => {
    expect(throughShell(AWKWARD)).toEqual(AWKWARD)
  })

  it('gives sh exactly any printable text', () => {
    const text = fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .filter((value) => !/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(value))
    const envs = fc.array(text, { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(envs, (values) => {
        const env = Object.fromEntries(values.map((value, index) => [`V${index}`, value]))
        expect(throughShell(env)).toEqual(env)
      }),
      { numRuns: 20 },
    )
  })

  it('writes controls as escapes, which bash reads back', () => {
    const text = formatEnvironment('shell', { A: 'a\u001b[31m\nb' })
    expect(text).toMatch(/^export A=\$'[\\0-7]+'\n$/)
    const read = execFileSync('bash', ['--norc', '-c', `${text}printf %s "$A"`], { env: {} }).toString()
    expect(read).toBe('a\u001b[31m\nb')
  })

  it('refuses names that a shell would run', () => {
    for (const name of ['A;id', 'A B', '$(id)', '1A', '']) {
      expect(() => formatEnvironment('shell', { [name]: 'x' })).toThrow(/not an environment variable name/)
    }
  })
})

describe('dotenv', () => {
  it('gives its reader exactly what was there, and refuses what quotes cannot hold', () => {
    const { QUOTES: _unholdable, ...holdable } = AWKWARD
    expect(parseEnv(formatEnvironment('dotenv', holdable))).toEqual(holdable)
    expect(parseEnv(formatEnvironment('dotenv', { A: "it's" }))).toEqual({ A: "it's" })
    for (const value of [AWKWARD.QUOTES, 'a\nb', '\u001b[31m']) {
      expect(() => formatEnvironment('dotenv', { A: value })).toThrow(/cannot be written as dotenv/)
    }
  })
})

describe('docker', () => {
  it('writes values without quotes, as --env-file reads them, and refuses line breaks', () => {
    expect(formatEnvironment('docker', { A: `a "b" 'c' #d` })).toBe(`A=a "b" 'c' #d\n`)
    expect(() => formatEnvironment('docker', { A: 'a\nB=c' })).toThrow(/cannot be written as docker/)
  })
})

it('json is JSON', () => {
  expect(JSON.parse(formatEnvironment('json', { ...AWKWARD, A: 'a\nb' }))).toEqual({ ...AWKWARD, A: 'a\nb' })
})
