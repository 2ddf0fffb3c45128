/**
 * `node bench/store.ts`, or `npm run bench -- --store`: what the control plane and the reader of the proxy do with ten secrets, and
 * with up to a million. Prints ratios to the smallest. Every process is ended and everything written is removed, whatever happens.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isRatio, type PhaseTable, type Spread, spreadOf } from './ratios.ts'
import type { Figures, Groups } from './store-load.ts'
import { formatTables } from './table.ts'

interface StoreOptions {
  readonly sizes: readonly number[]
  /** Of each kind of call. */
  readonly secs: number
  /** Each size in turn; ratios are taken within a round, and the median of the rounds counts. */
  readonly rounds: number
  /** No round begins after this. */
  readonly lastStartMs: number
  /** After it the run fails. */
  readonly limitMs: number
}

const FULL: StoreOptions = {
  sizes: [10, 10_000, 1_000_000],
  secs: 0.8,
  rounds: 3,
  lastStartMs: 90_000,
  limitMs: 175_000,
}
const QUICK: StoreOptions = { sizes: [10, 10_000, 100_000], secs: 0.4, rounds: 1, lastStartMs: 0, limitMs: 39_000 }

const STEPS = fileURLToPath(new URL('store-process.ts', import.meta.url))
const NOTES = [
  'Ten secrets of each store were made by the store; the others are copies of the first by SQL, which are never opened.',
  'A rate is that of one caller who waits for each answer. Writes wait for the disk (synchronous=FULL), and so does their audit event.',
  'A page has 10 secrets. The API is called in process, without a network.',
]

interface Measured {
  readonly round: number
  readonly size: number
  readonly groups: Groups
}

/** Up to here a round's writes would change what the next one measures. */
const REFILLED = 10_000

type Step = <T>(...args: readonly (string | number)[]) => Promise<T>

/** Measures and prints: one JSON line on standard output, a table on standard error. */
export async function runStore(quick: boolean): Promise<void> {
  const options = quick ? QUICK : FULL
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-bench-store-'))
  const stop = new AbortController()
  const end = () => stop.abort(new Error('interrupted'))
  const late = setTimeout(() => stop.abort(new Error('the time is up')), options.limitMs)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  try {
    const measured: Measured[] = []
    const filled = new Map<number, number>()
    const start = performance.now()
    for (let round = 0; round < options.rounds; round += 1) {
      if (round > 0 && performance.now() - start > options.lastStartMs) break
      for (const size of options.sizes) {
        const home = join(dir, String(size))
        const step = stepIn(home, stop.signal)
        if (size <= REFILLED) await rm(home, { recursive: true, force: true })
        if (round === 0 || size <= REFILLED) filled.set(size, (await step<{ fileMiB: number }>('fill', size)).fileMiB)
        const groups = await measure(step, size, options.secs)
        measured.push({
          round,
          size,
          groups: { ...groups, start: { ...groups['start'], fileMiB: filled.get(size) ?? 0 } },
        })
      }
    }
    print(tablesOf(measured, null), tablesOf(measured, options.sizes[0] ?? null))
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error
  } finally {
    clearTimeout(late)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, end)
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function measure(step: Step, size: number, secs: number): Promise<Groups> {
  const start = await step<Figures>('start')
  const { groups, residentMiB } = await step<{ groups: Groups; residentMiB: number }>('load', size, secs)
  return { ...groups, start: { ...start, loadedMiB: residentMiB } }
}

/** Runs `store-process.ts` on that directory; `NODE_OPTIONS` and trust variables of this process stay outside. */
function stepIn(home: string, signal: AbortSignal): Step {
  return <T>(...[name = '', ...rest]: readonly (string | number)[]) =>
    new Promise<T>((resolve, reject) => {
      const args = [STEPS, String(name), home, ...rest.map(String)]
      const options = { env: { PATH: process.env['PATH'] ?? '' }, signal, killSignal: 'SIGKILL' } as const
      execFile(process.execPath, args, options, (error, out, complaint) => {
        if (error === null) resolve(JSON.parse(out) as T)
        else reject(new Error(`${name}: ${complaint}`))
      })
    })
}

/** group -> size -> figure; with a base, what is a ratio is one to that size in the same round. */
function tablesOf(measured: readonly Measured[], base: number | null): Record<string, PhaseTable> {
  const tables: Record<string, Record<string, Record<string, Spread>>> = {}
  for (const { size, groups } of measured) {
    for (const [group, figures] of Object.entries(groups)) {
      const row = ((tables[group] ??= {})[`${size} secrets`] ??= {})
      for (const figure of Object.keys(figures)) row[figure] ??= spreadOf(valuesOf(measured, base, size, group, figure))
    }
  }
  return tables
}

function valuesOf(measured: readonly Measured[], base: number | null, size: number, group: string, figure: string) {
  const of = (round: number, wanted: number | null) =>
    measured.find((each) => each.round === round && each.size === wanted)?.groups[group]?.[figure] ?? Number.NaN
  const rounds = measured.filter((each) => each.size === size).map(({ round }) => round)
  return rounds.map((round) => of(round, size) / (base !== null && isRatio(figure) ? of(round, base) : 1))
}

function print(measured: Record<string, PhaseTable>, ratios: Record<string, PhaseTable>): void {
  say(formatTables(ratios, measured))
  say('Ratios are to the smallest store; in brackets the measured values, which depend on the machine.')
  for (const note of NOTES) say(`note: ${note}`)
  const setup = { cores: availableParallelism(), node: process.versions.node }
  const result = { bench: 'store', setup, notes: NOTES, ratios, measured }
  process.stdout.write(`${JSON.stringify(result, rounded)}\n`)
}

/** Four digits say all that such figures know. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

if (import.meta.main) {
  await runStore(process.argv.includes('--quick')).catch((error: unknown) => {
    say(error instanceof Error ? error.message : String(error))
    process.exitCode = 1
  })
}
