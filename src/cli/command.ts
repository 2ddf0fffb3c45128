/** What every command shares: its common options, its context, and how it ends. */
import type { Command } from 'commander'
import { EXIT, usage } from './failure.ts'
import type { CliDeps, CliIo } from './io.ts'
import { type Session, withSession } from './session.ts'
import type { Headers } from './transport.ts'

const SCOPE_HEADER = 'coatcheck-scope'

/** Options of every command that talks to the API. */
export interface CommonOptions {
  readonly json?: boolean
  readonly config?: string
  readonly workspace?: string
  readonly vault?: string
  readonly account?: boolean
}

/** One run of the program. */
export interface Context {
  readonly io: CliIo
  readonly deps: CliDeps
  readonly now: number
  /** The exit code of the command that ran. */
  exitCode: number
}

/** Adds `--json` and `--config`. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', "print one JSON document, in the API's own shape")
    .option('--config <file>', 'settings file, when working on the data directory itself')
}

/** Adds, beside the common ones, where the command acts. */
export function withScopeOptions(command: Command): Command {
  return withCommonOptions(command)
    .option('--workspace <name>', 'act in this workspace, by name, id or external key')
    .option('--vault <name>', 'act in this vault of the workspace')
    .option('--account', 'act in the account itself')
}

/** Runs a command's work in a session and keeps its exit code; a work that returns none is done. */
export async function inSession(
  context: Context,
  options: CommonOptions,
  work: (session: Session) => Promise<number | void>,
): Promise<void> {
  const { io, deps } = context
  const local = options.config === undefined ? {} : { config: options.config }
  context.exitCode = (await withSession(io, deps, local, scopeOf(options), work)) ?? EXIT.done
}

/** The header that says where to act; none when nothing is named. */
function scopeOf({ account, workspace, vault }: CommonOptions): Headers {
  if (account === true) {
    if (workspace === undefined && vault === undefined) return { [SCOPE_HEADER]: 'account' }
    throw usage('--account excludes --workspace and --vault.', 'Say one place to act in.')
  }
  const levels = Object.entries({ workspace, vault }).flatMap(([level, ref]) =>
    ref === undefined ? [] : `${level}=${segment(ref)}`,
  )
  return levels.length === 0 ? {} : { [SCOPE_HEADER]: levels.join('; ') }
}

/** For options that can be given more than once. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value]
}

/** For lists that can be given more than once and with commas. */
export function collectList(value: string, before: readonly string[] = []): string[] {
  const entries = value.split(',').map((entry) => entry.trim())
  return [...before, ...entries.filter((entry) => entry !== '')]
}

/** `KEY=VALUE` arguments as a map. The value may hold `=`; a key twice is a mistake. */
export function pairs(entries: readonly string[], what: string, form: string): Record<string, string> {
  const map = new Map<string, string>()
  for (const entry of entries) {
    const split = entry.indexOf('=')
    if (split < 1) throw usage(`A ${what} is not written as ${form}.`, `Write ${form}.`)
    const key = entry.slice(0, split)
    if (map.has(key)) throw usage(`The same ${what} is given twice.`, `Give each ${what} once.`)
    map.set(key, entry.slice(split + 1))
  }
  return Object.fromEntries(map)
}

/** A whole number that is at least `from`. */
export function wholeNumber(text: string, option: string, from = 1): number {
  const number = Number(text)
  if (/^\d{1,10}$/.test(text) && number >= from) return number
  throw usage(`${option} is not a whole number from ${from}.`, `Write ${option} ${Math.max(from, 5)}.`)
}

/** As `wholeNumber`; `none` is null. */
export function numberOrNone(text: string, option: string): number | null {
  return text === 'none' ? null : wholeNumber(text, option)
}

/** A JSON object, as it was written. */
export function jsonObject(text: string, option: string): Readonly<Record<string, unknown>> {
  const parsed = parsedJson(text)
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed }
  throw usage(`${option} is not a JSON object.`, `Write something like ${option} '{"team":"a"}'.`)
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A name or id as one segment of a path. */
export function segment(idOrName: string): string {
  // `.` and `..` would be resolved away by whoever parses the URL.
  if (/^\.{0,2}$/.test(idOrName)) throw usage('This is not a name.', 'Give the name or id that list shows.')
  return encodeURIComponent(idOrName)
}
