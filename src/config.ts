/**
 * Settings from the file, the environment and the command line: all of them, checked, or every mistake at once.
 *
 * What is given later wins: default, file, variable, override. A setting is taken whole; lists and maps are not merged.
 * Nothing is created, opened or connected here but the settings file.
 */
import { readFileSync } from 'node:fs'
import { CoatcheckError } from './core/errors.ts'
import type { SettingAt, SettingPath, Settings } from './settings.ts'
import type { DocumentMistake, ReadDocument, Tree, TreeMap } from './settings-document.ts'
import { readDocument } from './settings-document.ts'
import { ruleMistake } from './settings-egress-rule.ts'
import { listenerMistakes, type Read } from './settings-listeners.ts'
import { isForeignVariable, nearest } from './settings-names.ts'
import { SETTING_PATHS, SETTINGS, variableOf } from './settings-table.ts'

export type { ListenAddress, Settings } from './settings.ts'

export interface LoadOptions {
  /** Path of the file; null = none; undefined = COATCHECK_CONFIG, else ./coatcheck.yaml where it exists. */
  readonly file?: string | null | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  /** Setting path -> value as a file would have it. */
  readonly overrides?: Readonly<Partial<Record<SettingPath, unknown>>>
}

/** What mistakes are listed by; those of a file also have a line. */
const SOURCES = ['file', 'variable', 'override', 'default'] as const

/** Where a value was given: the name of the file or variable. */
interface Source {
  readonly kind: (typeof SOURCES)[number]
  readonly name: string
}

interface Given {
  readonly tree: Tree
  readonly source: Source
}

interface Mistake extends DocumentMistake {
  readonly source: Source
}

/** Everything given for the settings, the winner of each last, and all that is wrong with it. */
interface Draft {
  readonly given: Map<SettingPath, Given[]>
  readonly mistakes: Mistake[]
}

type Flat = Map<SettingPath, unknown>

const GROUPS: readonly string[] = [
  ...new Set(SETTING_PATHS.filter((path) => path.includes('.')).map((path) => path.replace(/\..*/, ''))),
]

const DEFAULT_FILE = 'coatcheck.yaml'

const OVERRIDE: Source = { kind: 'override', name: 'override' }
const DEFAULT: Source = { kind: 'default', name: 'default' }

/**
 * Throws CoatcheckError `config_invalid`; its message has one line for each mistake: `file:line: path: what. Fix.`,
 * or the variable's name in place of file and line.
 */
export function loadSettings(options: LoadOptions): Settings {
  const draft: Draft = { given: new Map(), mistakes: [] }
  addFile(draft, options)
  addVariables(draft, options.env)
  addOverrides(draft, options.overrides ?? {})
  const flat = readAll(draft)
  checkVariableNames(draft, options.env, flat)
  checkTogether(draft, flat)
  if (draft.mistakes.length > 0) throw invalid(draft.mistakes)
  return assemble(flat)
}

/** What holds with no file, no variable and no override. */
export function defaultSettings(): Settings {
  return loadSettings({ file: null, env: {} })
}

function addFile(draft: Draft, options: LoadOptions): void {
  const asked = options.file === undefined ? options.env['COATCHECK_CONFIG'] : options.file
  if (asked === null) return
  const file = asked ?? DEFAULT_FILE
  const source: Source = { kind: 'file', name: file }
  const content = contentOf(draft, file, source, asked !== undefined)
  if (content === undefined) return
  const { tree, mistakes } = readDocument(content)
  for (const { line, what, fix } of mistakes) add(draft, source, line, what, fix)
  if (!tree || isNothing(tree)) return
  if (tree.kind === 'map') return addGroups(draft, tree, source)
  add(draft, source, tree.line, 'the file is not a map of settings', 'Write "proxy:" and below it "  http2: true"')
}

function contentOf(draft: Draft, file: string, source: Source, mustExist: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    if (code === 'ENOENT' && !mustExist) return undefined
    return add(draft, source, 0, `the settings file cannot be read (${code})`, 'Check --config and COATCHECK_CONFIG')
  }
}

function addGroups(draft: Draft, tree: TreeMap, source: Source): void {
  for (const [key, { line, value }] of tree.entries) {
    if (!GROUPS.includes(key)) addSetting(draft, key, { tree: value, source }, line)
    else if (value.kind === 'map') {
      for (const [name, entry] of value.entries) {
        addSetting(draft, `${key}.${name}`, { tree: entry.value, source }, entry.line)
      }
    } else if (!isNothing(value)) {
      add(
        draft,
        source,
        line,
        `${key} is a group of settings, not a value`,
        `Write "${key}:" and its settings below it`,
      )
    }
  }
}

function addSetting(draft: Draft, path: string, given: Given, line: number): void {
  if (isSettingPath(path)) draft.given.set(path, [...(draft.given.get(path) ?? []), given])
  else add(draft, given.source, line, `${path} is not a setting`, instead(path, [...SETTING_PATHS, ...GROUPS]))
}

function addVariables(draft: Draft, env: LoadOptions['env']): void {
  for (const path of SETTING_PATHS) {
    const name = variableOf(path)
    const value = env[name]
    if (value === undefined) continue
    const source = variable(name)
    if (value === '') add(draft, source, 0, 'the variable is empty', 'Unset it, or give it a value')
    else addText(draft, path, source, value)
  }
}

/** A variable's text, read as its kind says. */
function addText(draft: Draft, path: SettingPath, source: Source, value: string): void {
  const { form } = SETTINGS[path].kind
  if (form === 'text' || (form === 'literal' && !/^(true|false|null|-?\d{1,15})$/.test(value))) {
    addSetting(draft, path, { tree: { kind: 'scalar', line: 0, value }, source }, 0)
    return
  }
  const { tree, mistakes } = readJson(value)
  for (const { line, what, fix } of mistakes) add(draft, source, line, `${path}: ${what}`, fix)
  if (tree) addSetting(draft, path, { tree, source }, 0)
}

/** JSON, read by the reader of the file, which also knows keys that are given twice or must not be. */
function readJson(value: string): ReadDocument {
  try {
    JSON.parse(value)
  } catch {
    const fix = `Write JSON, such as ["a","b"] or {"name":"value"}`
    return { tree: undefined, mistakes: [{ line: 0, what: 'the value is not JSON', fix }] }
  }
  return readDocument(value)
}

function addOverrides(draft: Draft, overrides: NonNullable<LoadOptions['overrides']>): void {
  for (const [path, value] of Object.entries(overrides)) {
    if (value === undefined) continue
    const { tree, mistakes } = readDocument(JSON.stringify(value))
    for (const { line, what, fix } of mistakes) add(draft, OVERRIDE, line, what, fix)
    if (tree) addSetting(draft, path, { tree, source: OVERRIDE }, 0)
  }
}

/** The last value given for each setting wins, but all of them must be right. */
function readAll(draft: Draft): Flat {
  const flat: Flat = new Map()
  for (const path of SETTING_PATHS) {
    const { kind, default: standard } = SETTINGS[path]
    const { tree: defaultTree } = readDocument(JSON.stringify(standard))
    const given = draft.given.get(path) ?? (defaultTree ? [{ tree: defaultTree, source: DEFAULT }] : [])
    for (const { tree, source } of given) {
      const value: unknown = kind.read(tree, path, (line, at, { what, fix }) =>
        add(draft, source, line, `${at}: ${what}`, fix),
      )
      if (value !== undefined) flat.set(path, value)
    }
  }
  return flat
}

function checkVariableNames(draft: Draft, env: LoadOptions['env'], flat: Flat): void {
  const known = SETTING_PATHS.map(variableOf)
  const keyringSource = flat.get('keyring.source') as string | undefined
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('COATCHECK_') || value === undefined || known.includes(name)) continue
    if (isForeignVariable(name, value, keyringSource)) continue
    add(draft, variable(name), 0, 'there is no such setting', instead(name, known))
  }
}

/** What no setting can know alone. */
function checkTogether(draft: Draft, flat: Flat): void {
  const read: Read = <P extends SettingPath>(path: P) => flat.get(path) as SettingAt<P> | undefined
  for (const { path, what, fix } of listenerMistakes(read)) addAt(draft, path, what, fix)
  checkRules(draft, flat)
}

/** Rules that mean nothing under the default they stand beside. */
function checkRules(draft: Draft, flat: Flat): void {
  const rules = (flat.get('egress.rules') ?? []) as Settings['egress']['rules']
  const standard = (flat.get('egress.default') ?? 'deny') as Settings['egress']['default']
  const given = draft.given.get('egress.rules')?.at(-1)
  for (const [index, rule] of rules.entries()) {
    const problem = ruleMistake(rule, standard)
    const line = given?.tree.kind === 'list' ? given.tree.items[index]?.line : 0
    if (problem) add(draft, given?.source ?? DEFAULT, line ?? 0, `egress.rules[${index}]: ${problem.what}`, problem.fix)
  }
}

function assemble(flat: Flat): Settings {
  const settings: Record<string, unknown> = {}
  for (const [path, value] of flat) {
    const [group, name] = path.split('.') as [string, string | undefined]
    if (name === undefined) settings[group] = value
    else settings[group] = { ...(settings[group] as object | undefined), [name]: value }
  }
  for (const group of Object.values(settings)) Object.freeze(group)
  return Object.freeze(settings) as unknown as Settings
}

function variable(name: string): Source {
  return { kind: 'variable', name }
}

/** A mistake of the value that won. */
function addAt(draft: Draft, path: SettingPath, what: string, fix: string): void {
  const given = draft.given.get(path)?.at(-1)
  add(draft, given?.source ?? DEFAULT, given?.tree.line ?? 0, `${path}: ${what}`, fix)
}

function add(draft: Draft, source: Source, line: number, what: string, fix: string): undefined {
  draft.mistakes.push({ source, line: source.kind === 'file' ? line : 0, what, fix })
  return undefined
}

function invalid(mistakes: readonly Mistake[]): CoatcheckError {
  const lines = mistakes.toSorted(bySource).map(describe)
  const number = lines.length === 1 ? 'one mistake' : `${lines.length} mistakes`
  const hint = `The settings have ${number}; nothing was started. config/coatcheck.yaml shows every setting.`
  return new CoatcheckError('config_invalid', lines.join('\n'), hint)
}

function bySource(a: Mistake, b: Mistake): number {
  const rank = SOURCES.indexOf(a.source.kind) - SOURCES.indexOf(b.source.kind)
  return rank || a.line - b.line || Number(a.source.name > b.source.name) - Number(a.source.name < b.source.name)
}

function describe({ source, line, what, fix }: Mistake): string {
  return `${source.name}${line > 0 ? `:${line}` : ''}: ${what}. ${fix}${fix.endsWith('?') ? '' : '.'}`
}

function instead(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? 'Remove it; config/coatcheck.yaml shows every setting' : `Did you mean ${near}?`
}

function isNothing(tree: Tree): boolean {
  return tree.kind === 'scalar' && tree.value === null
}

function isSettingPath(path: string): path is SettingPath {
  return Object.hasOwn(SETTINGS, path)
}
