/**
 * The kinds of value a setting can have: each reads a tree into its type or reports what is wrong, and knows its JSON schema.
 *
 * Every mistake is reported, never only the first. A mistake shows the text it is about only through `shown`.
 */
import { CoatcheckError } from './core/errors.ts'
import type { Problem, Tree } from './settings-document.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

/** Takes a mistake at `path` (`egress.ports[1]`); returns undefined so that a reader can return it. */
export type Report = (line: number, path: string, problem: Problem) => undefined

export interface Kind<T> {
  /** How a variable writes it: as it stands; as it stands but for numbers, true, false and null; or as JSON. */
  readonly form: 'text' | 'literal' | 'json'
  readonly schema: JsonSchema
  /** Undefined when something was reported. */
  read(tree: Tree, path: string, report: Report): T | undefined
}

/** How a value that may not stay as it is appears in a mistake: cut short, and not at all when it may hold a password. */
export function shown(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return String(value)
  if (/[@]|:\/\//.test(value)) return 'the value'
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
}

/** Stops the reading of one text; `text` turns it into a mistake. */
export function refuse(what: string, fix: string): never {
  throw new CoatcheckError('invalid_input', what, fix)
}

/** A text that `parse` turns into its value; `parse` throws CoatcheckError with the reason and the fix. */
export function text<T>(parse: (given: string) => T, schema: JsonSchema = {}): Kind<T> {
  return {
    form: 'text',
    schema: { type: 'string', ...schema },
    read(tree, path, report) {
      if (tree.kind !== 'scalar') return report(tree.line, path, notA('text', tree))
      if (tree.value === null) return report(tree.line, path, EMPTY)
      const given = tree.value
      const parsed = attempt(() => parse(String(given)), tree.line, path, report)
      if (typeof given === 'string' || parsed === undefined) return parsed
      return report(tree.line, path, { what: `${given} is not text`, fix: 'Put it in quotes' })
    },
  }
}

/** One of a few words. */
export function choice<const T extends string>(...words: readonly T[]): Kind<T> {
  const parse = (given: string): T =>
    words.find((word) => word === given) ?? refuse(`${shown(given)} is not one of its values`, `Write ${either(words)}`)
  const kind = text(parse)
  return { ...kind, schema: { enum: words } }
}

export const trueOrFalse: Kind<boolean> = {
  form: 'literal',
  schema: { type: 'boolean' },
  read(tree, path, report) {
    if (tree.kind === 'scalar' && typeof tree.value === 'boolean') return tree.value
    return report(tree.line, path, { what: `${describe(tree)} is not true or false`, fix: 'Write true or false' })
  },
}

export function wholeNumber(least: number, most: number): Kind<number> {
  return {
    form: 'literal',
    schema: { type: 'integer', minimum: least, maximum: most },
    read(tree, path, report) {
      const value = tree.kind === 'scalar' ? tree.value : null
      if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
      const what = `${describe(tree)} is not a whole number from ${least} to ${most}`
      return report(tree.line, path, { what, fix: `Write one, without quotes` })
    },
  }
}

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const LONGEST = 24 * 3_600_000

/** `250ms`, `10s`, `5m` or `1h`, as milliseconds; more than zero, at most 24 hours. */
export const duration: Kind<number> = text(
  (given) => {
    const [, digits = '', unit = ''] = /^(\d{1,9})(ms|s|m|h)$/.exec(given) ?? []
    const value = Number(digits) * (MILLISECONDS[unit] ?? 0)
    if (value > 0 && value <= LONGEST) return value
    return refuse(
      `${shown(given)} is not a time between 1ms and 24h`,
      'Write a number with its unit, such as 250ms, 10s or 5m',
    )
  },
  { pattern: '^[0-9]{1,9}(ms|s|m|h)$', examples: ['250ms', '10s', '5m'] },
)

const SIZES: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** `65536`, `64KiB`, `16MiB` or `1GiB`, as bytes. */
export function byteSize(least: number, most: number): Kind<number> {
  const fix = `Write a size from ${least} to ${most} bytes, such as 65536, 64KiB or 16MiB`
  const sized = text(
    (given) => {
      const [, digits = '', unit = ''] =
        /^(\d{1,12})(KiB|MiB|GiB)?$/.exec(given) ?? refuse(`${shown(given)} is not a size`, fix)
      return withinSize(Number(digits) * (SIZES[unit] ?? 1))
    },
    { type: ['string', 'integer'], pattern: '^[0-9]{1,12}(KiB|MiB|GiB)?$', minimum: least, maximum: most },
  )
  const withinSize = (bytes: number): number =>
    Number.isInteger(bytes) && bytes >= least && bytes <= most ? bytes : refuse(`${bytes} bytes is out of range`, fix)
  return {
    ...sized,
    read(tree, path, report) {
      if (tree.kind !== 'scalar' || typeof tree.value !== 'number') return sized.read(tree, path, report)
      return attempt(() => withinSize(Number(tree.value)), tree.line, path, report)
    },
  }
}

/** The kind, or null; a variable writes null as `null`. */
export function orNull<T>(kind: Kind<T>): Kind<T | null> {
  return {
    form: kind.form === 'text' ? 'literal' : kind.form,
    schema: { anyOf: [{ type: 'null' }, kind.schema] },
    read: (tree, path, report) =>
      tree.kind === 'scalar' && tree.value === null ? null : kind.read(tree, path, report),
  }
}

export interface ListOptions {
  /** Why the list may not be empty; without it, it may. */
  readonly whyNotEmpty?: string
}

/** Each item once, by what it is read as. */
export function list<T>(item: Kind<T>, { whyNotEmpty }: ListOptions = {}): Kind<readonly T[]> {
  const minItems = whyNotEmpty === undefined ? {} : { minItems: 1 }
  return {
    form: 'json',
    schema: { type: 'array', items: item.schema, ...minItems },
    read(tree, path, report) {
      if (tree.kind !== 'list') return report(tree.line, path, notA('a list', tree))
      if (tree.items.length === 0 && whyNotEmpty !== undefined) {
        return report(tree.line, path, { what: `the list is empty: ${whyNotEmpty}`, fix: 'Write at least one' })
      }
      const seen = new Set<string>()
      const read = tree.items.map((entry, index) => {
        const value = item.read(entry, `${path}[${index}]`, report)
        const key = JSON.stringify(value)
        if (value === undefined || (!seen.has(key) && seen.add(key))) return value
        return report(entry.line, `${path}[${index}]`, { what: 'the same is listed before', fix: 'Remove one of them' })
      })
      return allOf(read)
    },
  }
}

/** Name -> value, any number of them; `name` gives a key its normal form or refuses it. */
export function mapOf<T>(name: (given: string) => string, value: Kind<T>): Kind<Readonly<Record<string, T>>> {
  return {
    form: 'json',
    schema: { type: 'object', additionalProperties: value.schema },
    read(tree, path, report) {
      if (tree.kind !== 'map') return report(tree.line, path, notA('a map', tree))
      const entries = [...tree.entries].map(([key, entry]): [string, T] | undefined => {
        const normal = attempt(() => name(key), entry.line, path, report)
        const read = value.read(entry.value, `${path}.${key}`, report)
        return normal === undefined || read === undefined ? undefined : [normal, read]
      })
      const sound = allOf(entries)
      return sound && Object.freeze(Object.fromEntries(sound))
    },
  }
}

/** The values, unless one of them is missing because it was reported. */
export function allOf<T>(values: readonly (T | undefined)[]): readonly T[] | undefined {
  const sound = values.filter((value) => value !== undefined)
  return sound.length === values.length ? Object.freeze(sound) : undefined
}

/** The result, or what the CoatcheckError it threw says, as a mistake. */
export function attempt<T>(read: () => T, line: number, path: string, report: Report): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof CoatcheckError)) throw error
    return report(line, path, { what: error.message.replace(/\.$/, ''), fix: error.hint.replace(/\.$/, '') })
  }
}

export function notA(wanted: 'text' | 'a list' | 'a map', tree: Tree): Problem {
  if (tree.kind === 'scalar' && tree.value === null) return EMPTY
  const how = {
    text: 'Write one text value',
    'a list': 'Write it as ["a", "b"]',
    'a map': 'Write it as {"name": "value"}',
  }
  return { what: `${describe(tree)} is not ${wanted}`, fix: how[wanted] }
}

const EMPTY: Problem = { what: 'there is no value', fix: 'Write one, or remove the key to have the default' }

function describe(tree: Tree): string {
  if (tree.kind === 'list') return 'a list'
  return tree.kind === 'map' ? 'a map' : shown(tree.value)
}

function either(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

export interface SettingRow<T> {
  /** One sentence or two; the comment in config/coatcheck.yaml and the description in the schema. */
  readonly comment: string
  /** As it is written in a file; read by `kind` like any other value. */
  readonly default: unknown
  readonly kind: Kind<T>
}
