/** Settings come from defaults, file, environment and overrides; the later wins, and what is read is in normal form. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { defaultSettings, loadSettings } from '../../src/config.ts'
import { CoatcheckError } from '../../src/core/errors.ts'
import type { SettingPath, Settings } from '../../src/settings.ts'
import { SETTING_PATHS, SETTINGS, variableOf } from '../../src/settings-table.ts'

let directory: string
let file: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'coatcheck-settings-'))
  file = join(directory, 'coatcheck.yaml')
})
afterAll(() => rmSync(directory, { recursive: true }))

function at(settings: Settings, path: SettingPath): unknown {
  return path.split('.').reduce<unknown>((part, name) => (part as Record<string, unknown>)[name], settings)
}

function load(text: string): Settings {
  writeFileSync(file, text)
  return loadSettings({ file, env: {} })
}

/** The value as a file has it: `proxy: { listen: … }`. */
function asFile(path: SettingPath, written: unknown): string {
  return stringify(path.split('.').reduceRight<unknown>((value, name) => ({ [name]: value }), written))
}

/** The value as a variable has it: text as it stands, everything else as JSON. */
function asVariable(written: unknown): string {
  return typeof written === 'string' ? written : JSON.stringify(written)
}

describe('a value', () => {
  interface Row {
    readonly path: SettingPath
    readonly written: unknown
    readonly read: unknown
  }
  const rows = JSON.parse(
    readFileSync(join(import.meta.dirname, '../vectors/settings/values.json'), 'utf8'),
  ) as readonly Row[]

  it.each(rows)('is read alike from file, variable and override: $path $written', ({ path, written, read }) => {
    expect(at(load(asFile(path, written)), path)).toEqual(read)
    expect(at(loadSettings({ file: null, env: { [variableOf(path)]: asVariable(written) } }), path)).toEqual(read)
    expect(at(loadSettings({ file: null, env: {}, overrides: { [path]: written } }), path)).toEqual(read)
  })

  it('has a vector for every setting', () => {
    expect([...new Set(rows.map(({ path }) => path))].toSorted()).toEqual([...SETTING_PATHS].toSorted())
  })
})

describe('precedence', () => {
  it('is default, file, variable, override, each taking the setting whole', () => {
    writeFileSync(file, 'egress: { ports: [1], default: deny }\nupstream: { resolve: { a.test: 10.0.0.1 } }\n')
    const env = { COATCHECK_EGRESS_PORTS: '[2]', COATCHECK_UPSTREAM_RESOLVE: '{"b.test":"10.0.0.2"}' }
    const settings = loadSettings({ file, env, overrides: { 'egress.ports': [3] } })
    expect(settings.egress).toEqual({ default: 'deny', ports: [3], rules: [], privateAddresses: [] })
    expect(settings.upstream.resolve).toEqual({ 'b.test': '10.0.0.2' })
    expect(loadSettings({ file, env }).egress.ports).toEqual([2])
    expect(loadSettings({ file, env: {} }).egress.ports).toEqual([1])
  })

  it('takes the file from COATCHECK_CONFIG when none is named, and no file at all for null', () => {
    writeFileSync(file, 'log: { level: warn }')
    expect(loadSettings({ env: { COATCHECK_CONFIG: file } }).log.level).toBe('warn')
    expect(loadSettings({ file: null, env: { COATCHECK_CONFIG: file } }).log.level).toBe('info')
  })

  it('takes ./coatcheck.yaml when nothing names a file, and does without when there is none', () => {
    writeFileSync(file, 'log: { level: error }')
    const before = process.cwd()
    try {
      process.chdir(directory)
      expect(loadSettings({ env: {} }).log.level).toBe('error')
      rmSync(file)
      expect(loadSettings({ env: {} })).toEqual(defaultSettings())
    } finally {
      process.chdir(before)
    }
  })

  it('has an empty file, an empty map and empty groups mean the defaults', () => {
    for (const text of ['', '# nothing\n', '---\n', '{}', 'proxy:\nlimits: {}\n', '\uFEFFlog:\n']) {
      expect(load(text)).toEqual(defaultSettings())
    }
  })
})

describe('settings', () => {
  it('cannot be changed once they are read', () => {
    const settings = load('upstream: { resolve: { a.test: 10.0.0.1 } }\negress: { rules: [{ deny: example.com }] }')
    const parts = [settings, settings.egress, settings.egress.ports, settings.egress.rules, settings.egress.rules[0]]
    for (const part of [...parts, settings.upstream.resolve, settings.proxy.listen, settings.proxy.identity]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })

  it('have one variable each, which is read and never taken for one that Kubernetes sets', () => {
    const names = SETTING_PATHS.map(variableOf)
    expect(new Set(names).size).toBe(names.length)
    expect(variableOf('egress.privateAddresses')).toBe('COATCHECK_EGRESS_PRIVATEADDRESSES')
    for (const path of SETTING_PATHS) {
      const wrong = { [variableOf(path)]: '{"neither": ["here", "nor"]}' }
      const accepted = path === 'dataDir' || path === 'upstream.extraCa'
      if (accepted) expect(at(loadSettings({ file: null, env: wrong }), path)).toBe(wrong[variableOf(path)])
      else expect(() => loadSettings({ file: null, env: wrong })).toThrow(`${variableOf(path)}: ${path}`)
    }
  })

  it('let both listeners ask the system for a port', () => {
    const overrides = { 'proxy.listen': '127.0.0.1:0', 'api.listen': '127.0.0.1:0' }
    expect(loadSettings({ file: null, env: {}, overrides }).api.listen.port).toBe(0)
  })

  it('bind one sandbox to any loopback address', () => {
    for (const listen of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1']) {
      const overrides = { 'proxy.listen': listen, 'proxy.identity': 'sandbox:agent' }
      expect(loadSettings({ file: null, env: {}, overrides }).proxy.identity.kind).toBe('sandbox')
    }
  })
})

describe('whatever is written', () => {
  const word = fc.constantFrom(...SETTING_PATHS.flatMap((path) => path.split('.')), '__proto__', '*', '&a', '<<', '? ')
  const shape = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, fc.string(), fc.integer(), fc.constant(null), tie('list'), tie('map')),
    list: fc.array(tie('value'), { maxLength: 3 }),
    map: fc.dictionary(fc.oneof(word, fc.string()), tie('value'), { maxKeys: 4 }),
  }))
  const text = fc.oneof(
    shape.map.map((value) => JSON.stringify(value)),
    shape.map.map((value) => stringify(value)),
    fc
      .array(fc.oneof(word, fc.constantFrom(': ', '\n', '  ', '- ', '{', '}', '[', ']', '"', '\t', '|', '!x ')), {
        maxLength: 30,
      })
      .map((parts) => parts.join('')),
  )

  it('is read or refused with one line for each mistake, and touches no prototype', () => {
    fc.assert(
      fc.property(text, (written) => {
        let lines: string[] = []
        try {
          load(written)
        } catch (error) {
          expect(error).toBeInstanceOf(CoatcheckError)
          expect((error as CoatcheckError).code).toBe('config_invalid')
          lines = (error as CoatcheckError).message.split('\n')
        }
        expect(lines.filter((line) => !line.startsWith(`${file}:`))).toEqual([])
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('is refused by each kind of value, never thrown at', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SETTING_PATHS), fc.jsonValue(), (path, value) => {
        try {
          loadSettings({ file: null, env: {}, overrides: { [path]: value } })
        } catch (error) {
          expect((error as CoatcheckError).code).toBe('config_invalid')
        }
      }),
      { numRuns: 500 },
    )
  })

  it('is a default that its own kind accepts', () => {
    for (const path of SETTING_PATHS) {
      const overrides = { [path]: SETTINGS[path].default }
      expect(at(loadSettings({ file: null, env: {}, overrides }), path)).toEqual(at(defaultSettings(), path))
    }
  })
})
