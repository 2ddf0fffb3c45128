/** A wrong file or variable is answered with every mistake, each with its place and its fix, and with nothing else. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LoadOptions } from '../../src/config.ts'
import { loadSettings } from '../../src/config.ts'
import { CoatcheckError } from '../../src/core/errors.ts'

const vectors = join(import.meta.dirname, '../vectors/settings')

/** The message of the refusal, or '' when the settings are accepted. */
function refusal(options: LoadOptions): string {
  try {
    loadSettings(options)
    return ''
  } catch (error) {
    expect(error).toBeInstanceOf(CoatcheckError)
    expect((error as CoatcheckError).code).toBe('config_invalid')
    return (error as CoatcheckError).message
  }
}

describe('a wrong file', () => {
  const directory = join(vectors, 'mistakes')
  const files = readdirSync(directory).filter((name) => name.endsWith('.yaml'))

  // Each NAME.yaml has its mistakes, one a line and without the name of the file, in NAME.txt.
  it.each(files)('is refused with every mistake it has: %s', (name) => {
    const file = join(directory, name)
    const expected = readFileSync(join(directory, `${basename(name, '.yaml')}.txt`), 'utf8')
    const lines = refusal({ file, env: {} }).split('\n')
    expect(`${lines.map((line) => line.replace(`${file}:`, '')).join('\n')}\n`).toBe(expected)
    expect(lines.every((line) => line.startsWith(`${file}:`))).toBe(true)
  })

  let scratch: string
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'coatcheck-settings-'))
  })
  afterAll(() => rmSync(scratch, { recursive: true }))

  function refusalOf(text: string): string {
    const file = join(scratch, 'coatcheck.yaml')
    writeFileSync(file, text)
    return refusal({ file, env: {} }).replaceAll(file, 'FILE')
  }

  it('is refused when it nests deeper than any setting', () => {
    expect(refusalOf(`egress: { ports: ${'['.repeat(40)}1${']'.repeat(40)} }`)).toContain('nests too deeply')
    expect(refusalOf('['.repeat(100_000))).toMatch(/^FILE:1: /)
    expect(refusalOf(`${'{a: '.repeat(20_000)}1${'}'.repeat(20_000)}`)).toMatch(/^FILE:1: /)
  })

  it('is refused unread when it is longer than any settings', () => {
    expect(refusalOf(`# ${'x'.repeat(300_000)}`)).toBe(
      'FILE:1: the text is longer than 262144 characters. Keep to settings.',
    )
  })

  it('is refused when it is missing or a directory, but only if it was asked for', () => {
    const missing = join(scratch, 'missing.yaml')
    expect(refusal({ file: missing, env: {} })).toBe(
      `${missing}: the settings file cannot be read (ENOENT). Check --config and COATCHECK_CONFIG.`,
    )
    expect(refusal({ env: { COATCHECK_CONFIG: scratch } })).toContain('cannot be read (EISDIR)')
  })

  it('is refused even where a variable overrides the mistake', () => {
    const text = refusalOf('proxy: { listen: nowhere }')
    const file = join(scratch, 'coatcheck.yaml')
    expect(refusal({ file, env: { COATCHECK_PROXY_LISTEN: '127.0.0.1:0' } }).replaceAll(file, 'FILE')).toBe(text)
  })

  it('never has a password quoted, nor text of lines that do not parse', () => {
    const canary = 'hunter2-canary'
    const told = [
      `database: postgres:/user:${canary}@db`,
      `database: mysql://user:${canary}@db/x`,
      `upstream: { proxy: "ftp://user:${canary}@proxy:1" }`,
      `upstream: { proxy: "http://user:${canary}%@proxy:1" }`,
      `upstream: { proxy: "user:${canary}@proxy:3128" }`,
      `proxy: { listen: "http://user:${canary}@proxy:3128", passthrough: ["https://user:${canary}@example.com"] }`,
      `keyring: { source: "${canary}" }`,
      `keyring: { source: "env:${canary}=" }`,
      `database: "${canary}`,
      `database: @${canary}`,
      `database: !${canary} x`,
      `database: *${canary}`,
      `database: [${canary}`,
    ].map(refusalOf)
    expect(told.every((text) => text.startsWith('FILE:1: '))).toBe(true)
    expect(told.join('\n')).not.toContain(canary)
  })
})

describe('a wrong variable', () => {
  interface Row {
    readonly name: string
    readonly env: Readonly<Record<string, string>>
    readonly mistakes: readonly string[]
  }
  const rows = JSON.parse(readFileSync(join(vectors, 'environment.json'), 'utf8')) as Row[]

  it.each(rows)('$name', ({ env, mistakes }) => {
    expect(refusal({ file: null, env })).toBe(mistakes.join('\n'))
  })
})
