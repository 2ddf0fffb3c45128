/** What a run of the bench was asked to measure, and for how long. */
import { parseArgs } from 'node:util'

export const PHASES = ['idle', 'down', 'up', 'ka1', 'ka32', 'new'] as const
export type Phase = (typeof PHASES)[number]

export const SUBJECTS = ['direct', 'nginx', 'released', 'passed', 'unshipped'] as const
export type SubjectName = (typeof SUBJECTS)[number]

export interface BenchOptions {
  readonly phases: readonly Phase[]
  readonly subjects: readonly SubjectName[]
  /** How often the timed phases are repeated; ratios are taken within a round, and the median of the rounds counts. */
  readonly rounds: number
  /** Seconds of ka32; the other timed phases take a half and two thirds of it. */
  readonly secs: number
  readonly bodyBytes: number
  readonly idleTunnels: number
  /** Seconds of load before anything timed: below five, a Node process still compiles its code. */
  readonly warmUpSecs: number
  /** No round begins after this. */
  readonly lastStartMs: number
  /** Where the profile of the proxy goes; null = nothing is profiled. */
  readonly profileDir: string | null
  /** Measure the store instead; of everything else only `quick` counts then. */
  readonly store: boolean
  /** The same for bodies and HTTP/2. */
  readonly bodies: boolean
  readonly quick: boolean
}

export const USAGE = `npm run bench -- [options]

  --quick              one short round, small bodies
  --only a,b           phases, of: ${PHASES.join(', ')}
  --subjects a,b       of: ${SUBJECTS.join(', ')} (default: all but unshipped)
  --rounds N           how often the timed phases are repeated (default 3)
  --secs S             seconds of ka32 (default 3)
  --profile DIR        profile the proxy under ka32 with one released header instead; DIR gets its .cpuprofile
  --store              measure the store of secrets at 10 to 1,000,000 of them instead; of the others only --quick counts
  --bodies             measure what bodies and HTTP/2 cost instead; of the others only --quick counts

Prints one JSON line on standard output and a table on standard error.`

const FULL = { rounds: 3, secs: 3, bodyBytes: 1024 ** 3, idleTunnels: 500, warmUpSecs: 10, lastStartMs: 120_000 }
const QUICK = {
  rounds: 1,
  secs: 1.2,
  bodyBytes: 64 * 1024 ** 2,
  idleTunnels: 100,
  warmUpSecs: 1.5,
  lastStartMs: 20_000,
}
const PROFILED = { phases: ['ka32'], subjects: ['released'], rounds: 1, secs: 8 } as const

/** Null: help was asked for. Throws when an option is unknown or a value is not one of those possible. */
export function readOptions(args: readonly string[]): BenchOptions | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      subjects: { type: 'string' },
      rounds: { type: 'string' },
      secs: { type: 'string' },
      profile: { type: 'string' },
      store: { type: 'boolean', default: false },
      bodies: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const length = values.quick ? QUICK : FULL
  const usual = { phases: PHASES, subjects: SUBJECTS.filter((name) => name !== 'unshipped'), ...length }
  const start = values.profile === undefined ? usual : { ...length, ...PROFILED }
  return {
    ...length,
    phases: values.only === undefined ? start.phases : chosen('--only', values.only, PHASES),
    subjects: values.subjects === undefined ? start.subjects : chosen('--subjects', values.subjects, SUBJECTS),
    rounds: values.rounds === undefined ? start.rounds : positive('--rounds', values.rounds),
    secs: values.secs === undefined ? start.secs : positive('--secs', values.secs),
    profileDir: values.profile ?? null,
    store: values.store,
    bodies: values.bodies,
    quick: values.quick,
  }
}

/** In the order of `known`, whatever order they were given in. */
function chosen<T extends string>(option: string, list: string, known: readonly T[]): readonly T[] {
  const wanted = list.split(',')
  const wrong = wanted.find((each) => !known.includes(each as T))
  if (wrong !== undefined) throw new Error(`${option}: "${wrong}" is none of ${known.join(', ')}`)
  return known.filter((each) => wanted.includes(each))
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (value > 0) return value
  throw new Error(`${option}: "${text}" is no positive number`)
}
