/**
 * Contract: what the documents name exists. Every relative link and its anchor, every file named by path, every test
 * named in docs/invariants.md, every command and option of the command line, every setting.
 */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize, relative } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { programFor } from '../../src/cli/main.ts'
import { SETTING_PATHS, variableOf } from '../../src/settings-table.ts'

const CHECKOUT = join(import.meta.dirname, '../..')
const OTHERS = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'deploy/README.md',
  'deploy/redirect/README.md',
  'certs/README.md',
]

const read = (path: string): Promise<string> => readFile(join(CHECKOUT, path), 'utf8')
const documents = [...OTHERS, ...(await readdir(join(CHECKOUT, 'docs'))).map((name) => `docs/${name}`)]
const texts = await Promise.all(documents.map(async (path) => ({ path, text: await read(path) })))

/** Files that exist only while the program runs, or only for its operator. */
const NOT_IN_A_CHECKOUT = /^(certs\/coatcheck-ca\.pem|data\/|backup\/)/

/** What follows the program's name without being a command: the name of an authority, a placeholder for any command. */
const NO_COMMAND = /^(authority|…)/

/** Text without its fenced blocks. */
function prose(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '')
}

function fences(text: string): string[] {
  return [...text.matchAll(/^```[a-z]*\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '')
}

/** As repository hosts make anchors of headings. */
function anchors(text: string): string[] {
  return [...prose(text).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe.each(texts)('$path', ({ path, text }) => {
  it('links only to what exists', async () => {
    const missing: string[] = []
    for (const [, target = ''] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const found = file === '' ? path : normalize(join(dirname(path), file))
      if (found.startsWith('..') || !existsSync(join(CHECKOUT, found))) missing.push(target)
      else if (anchor !== undefined && !anchors(await read(found)).includes(anchor)) missing.push(target)
    }
    expect(missing).toEqual([])
  })

  it('names only files that exist', () => {
    const named = [...prose(text).matchAll(/`((?:src|test|config|docs|deploy|certs|bench)\/[\w./-]*\w)`/g)]
    const missing = named.map(([, name = '']) => name).filter((name) => !NOT_IN_A_CHECKOUT.test(name))
    expect(missing.filter((name) => !existsSync(join(CHECKOUT, name)))).toEqual([])
  })
})

describe('docs/invariants.md', () => {
  const items = texts.find(({ path }) => path === 'docs/invariants.md')?.text.split(/^(?=- |#)/m) ?? []

  it('names only tests that exist, by path and name', async () => {
    const missing: string[] = []
    let named = 0
    for (const item of items) {
      const path = /^- \[(test\/[^\]]+\.test\.ts)\]/.exec(item)?.[1]
      if (path === undefined) continue
      const source = await read(path)
      for (const [, name = ''] of item.replaceAll(/\s+/g, ' ').matchAll(/"([^"]+)"/g)) {
        named += 1
        const literals = [`'${name}'`, `"${name}"`, `\`${name}\``]
        if (!literals.some((literal) => source.includes(literal))) missing.push(`${path}: ${name}`)
      }
    }
    expect(missing).toEqual([])
    expect(named).toBeGreaterThan(30)
  })

  it('has the fifteen rules, each with code and a test', () => {
    const rules = items
      .join('')
      .split(/^## (?=\d)/m)
      .slice(1)
    expect(rules.map((rule) => Number.parseInt(rule, 10))).toEqual(Array.from({ length: 15 }, (_none, at) => at + 1))
    for (const rule of rules) {
      expect(rule).toMatch(/^Code: \[src\//m)
      expect(rule).toMatch(/^- \[test\//m)
    }
  })
})

describe('commands', () => {
  const refuse = () => Promise.reject(new Error('nothing runs here'))
  const sink = new PassThrough()
  const io = { stdin: new PassThrough(), stdout: sink, stderr: sink, env: {}, isTty: false }
  const deps = {
    version: '0',
    openLocal: refuse,
    restore: refuse,
    locate: refuse,
    serve: refuse,
    run: refuse,
    demo: refuse,
  }
  const program = programFor({ io, deps, now: 0, exitCode: 0 })

  /** `coatcheck …`, as documents show it in examples and in running text. */
  const shown = texts.flatMap(({ path, text }) => {
    const inText = [...prose(text).matchAll(/`(?:npx )?coatcheck ([^`]+)`/g)].map((match) => match[1] ?? '')
    const inExamples = fences(text)
      .flatMap((fence) => fence.split('\n'))
      .flatMap((line) => /^(?:\$ )?(?:npx )?(?:coatcheck|cc|node src\/main\.ts) (.+)$/.exec(line)?.[1] ?? [])
    const lines = [...inText, ...inExamples].filter((line) => !NO_COMMAND.test(line))
    return lines.map((line) => ({ path, line: line.split(/ (?:#|[|>]) ?| --( |$)/)[0] ?? '' }))
  })

  /** What the program would not take of this line; undefined when it takes all of it. */
  function refused(line: string): string | undefined {
    let command: Command = program
    for (const word of line.split(/\s+/)) {
      if (word.startsWith('--')) {
        const known = command.options.map((option) => option.long)
        if (word !== '--help' && !known.includes(word.replace(/=.*/, ''))) return word
        continue
      }
      const child = command.commands.find((each) => each.name() === word)
      if (child === undefined && command.commands.length > 0 && /^[a-z]/.test(word)) return word
      command = child ?? command
    }
    return undefined
  }

  it('are taken by the command line, with their options', () => {
    expect(shown.length).toBeGreaterThan(20)
    const wrong = shown.flatMap(({ path, line }) => (refused(line) === undefined ? [] : `${path}: coatcheck ${line}`))
    expect(wrong).toEqual([])
  })

  it('show a help of their own', async () => {
    const visit = (command: Command): string[] => [command.helpInformation(), ...command.commands.flatMap(visit)]
    for (const help of visit(program)) expect(help).toMatch(/^Usage: coatcheck/)
  })
})

describe('settings', () => {
  const known: readonly string[] = SETTING_PATHS
  const groups = new Set(known.map((path) => path.split('.')[0] ?? ''))
  const variables = new Set([...SETTING_PATHS.map(variableOf), 'COATCHECK_URL', 'COATCHECK_TOKEN', 'COATCHECK_CONFIG'])
  /** An example of a variable that holds a keyring. */
  const others = new Set(['COATCHECK_KEY'])

  it('named by path exist', () => {
    const wrong = texts.flatMap(({ path, text }) =>
      [...prose(text).matchAll(/`([a-z]+\.[a-zA-Z]+)(?:`|: )/g)]
        .map(([, name = '']) => name)
        .filter((name) => groups.has(name.split('.')[0] ?? '') && !/\.(ts|md|js|json|yaml)$/.test(name))
        .filter((name) => !known.includes(name))
        .map((name) => `${path}: ${name}`),
    )
    expect(wrong).toEqual([])
  })

  it('named by variable exist', () => {
    const wrong = texts.flatMap(({ path, text }) =>
      [...text.matchAll(/\bCOATCHECK_[A-Z_]+[A-Z]\b/g)]
        .map(([name]) => name)
        .filter((name) => !variables.has(name) && !others.has(name) && !/_(SERVICE|PORT)_/.test(name))
        .map((name) => `${relative('.', path)}: ${name}`),
    )
    expect(wrong).toEqual([])
  })
})
