/** What every command shares: its common options, its context, and how it ends. */
import type { Command } from 'commander'
import { EXIT, usage } from './failure.ts'
import type { CliDeps, CliIo } from './io.ts'
import { type Session, withSession } from './session.ts'

/** Options of every command that talks to the API. */
export interface CommonOptions {
  readonly json?: boolean
  readonly config?: string
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

/** Runs a command's work in a session and keeps its exit code; a work that returns none is done. */
export async function inSession(
  context: Context,
  options: CommonOptions,
  work: (session: Session) => Promise<number | void>,
): Promise<void> {
  const { io, deps } = context
  const local = options.config === undefined ? {} : { config: options.config }
  context.exitCode = (await withSession(io, deps, local, work)) ?? EXIT.done
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

/** A name or id as one segment of a path. */
export function segment(idOrName: string): string {
  // `.` and `..` would be resolved away by whoever parses the URL.
  if (/^\.{0,2}$/.test(idOrName)) throw usage('This is not a name.', 'Give the name or id that list shows.')
  return encodeURIComponent(idOrName)
}
