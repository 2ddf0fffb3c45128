/**
 * Contract: the rules of docs/invariants.md that are about what the source may hold, read from the source itself, and
 * what a value shows of itself.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'

const SOURCE = join(import.meta.dirname, '../../src')

/** Path below src/ -> text, of every source file. */
async function sources(): Promise<ReadonlyMap<string, string>> {
  const names = (await readdir(SOURCE, { recursive: true })).filter((name) => name.endsWith('.ts')).sort()
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(SOURCE, name), 'utf8')] as const)),
  )
}

async function filesWith(pattern: RegExp): Promise<string[]> {
  return [...(await sources())].filter(([, text]) => pattern.test(text)).map(([name]) => name)
}

it('6: a value prints, serialises and inspects as [secret]', () => {
  const text = 'a-value-that-nobody-sees'
  const value = SecretValue.fromText(text)
  const shown = [
    String(value),
    JSON.stringify({ value }),
    inspect(value),
    inspect({ deep: { value } }, { depth: null, showHidden: true }),
    JSON.stringify(Object.entries(value)),
    inspect(structuredClone(value)),
  ]
  expect(shown.slice(0, 3)).toEqual(['[secret]', '{"value":"[secret]"}', '[secret]'])
  const bytes = Array.from(Buffer.from(text), (byte) => byte.toString(16)).join(' ')
  for (const each of shown) expect(each.includes(text) || each.includes(bytes)).toBe(false)
})

it('6: reveal() is called in core/ and in vault/seal.ts only', async () => {
  const outside = (await filesWith(/\.reveal\(\)/)).filter((name) => !name.startsWith('core/'))
  expect(outside).toEqual(['vault/seal.ts'])
})

it('10: no code switches verification off', async () => {
  expect(await filesWith(/rejectUnauthorized:(?!\s*true\b)|insecureHTTPParser:(?!\s*false\b)/)).toEqual([])
  expect(await filesWith(/rejectUnauthorized: true/)).toContain('proxy/upstream-tls.ts')
})

it('14: every cipher names its tag length', async () => {
  const calls = [...(await sources())].flatMap(([name, text]) =>
    [...text.matchAll(/create(?:C|Dec)ipheriv\([^)]*\)?[^)]*\}?/g)].map(([call]) => `${name}: ${call}`),
  )
  expect(calls.length).toBeGreaterThan(0)
  expect(calls.filter((call) => !/'aes-256-gcm'[\s\S]*authTagLength: TAG_BYTES/.test(call))).toEqual([])
})
