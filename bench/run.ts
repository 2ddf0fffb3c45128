/**
 * `npm run bench`: compares coatcheck with a direct connection and with nginx, all on loopback in one run, and prints
 * ratios. Everything it starts is stopped and everything it writes is removed, whatever happens.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { runBodies } from './bodies.ts'
import { writeCertificates } from './certificates.ts'
import { CAN_PIN } from './child.ts'
import { type BenchOptions, readOptions, type SubjectName, USAGE } from './options.ts'
import { startOrigins } from './origins.ts'
import { isMeasured, type PhaseParts, runPhase, TIMED, warmUp } from './phases.ts'
import { CAN_READ_COST } from './process-cost.ts'
import { runProfile } from './profile-run.ts'
import { type Measurement, tabulate } from './ratios.ts'
import { runStore } from './store.ts'
import { type Subject, startSubjects } from './subjects.ts'
import { formatTables } from './table.ts'
import { findTools, type Tools } from './tools.ts'

/** Above it, noise shows in every figure. */
const DOUBTFUL_SHARE = 0.1

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2))
  if (options === null) {
    process.stderr.write(`${USAGE}\n`)
    return
  }
  if (options.store) {
    await runStore(options.quick)
    return
  }
  if (options.bodies) {
    await runBodies(options.quick)
    return
  }
  const tools = findTools()
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-bench-'))
  const stops: (() => Promise<void>)[] = [() => rm(dir, { recursive: true, force: true })]
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopAll(stops).then(() => process.exit(1)))
  }
  try {
    const files = await writeCertificates(dir)
    const origins = await startOrigins(dir, tools, files)
    stops.unshift(() => origins.stop())
    const subjects = await startSubjects({ dir, options, tools, files, origins })
    stops.unshift(() => subjects.stop())
    const parts = { tools, options }
    const result =
      options.profileDir === null
        ? await compare(parts, subjects.list, origins.program)
        : await runProfile(parts, subjects, options.profileDir)
    process.stdout.write(`${JSON.stringify(result, rounded)}\n`)
  } finally {
    await stopAll(stops)
  }
}

/** In order: what uses a thing before the thing itself. */
async function stopAll(stops: readonly (() => Promise<void>)[]): Promise<void> {
  for (const stop of stops) await stop().catch((error: unknown) => say(String(error)))
}

async function compare(parts: PhaseParts, subjects: readonly Subject[], origin: string): Promise<unknown> {
  const base = baseOf(subjects)
  const notes = notesOf(parts, base)
  const { measured, rounds } = await measure(parts, subjects)
  if (rounds < parts.options.rounds) notes.push(`The time was up after ${rounds} of ${parts.options.rounds} rounds.`)
  const others = Math.max(0, ...measured.map(({ figures }) => figures['othersShare'] ?? 0))
  if (others > DOUBTFUL_SHARE)
    notes.push(`Other programs took up to ${(others * 100).toFixed(0)}% of the measured core.`)
  const ratios = tabulate(measured, base)
  const figures = tabulate(measured, null)
  say(formatTables(ratios, figures))
  say(`Ratios are to ${base}; in brackets the measured medians, which depend on the machine.`)
  for (const note of notes) say(`note: ${note}`)
  const loadgen = parts.tools.compiled ? 'c' : 'node'
  const setup = { cores: availableParallelism(), pinned: CAN_PIN, node: process.versions.node, loadgen, origin }
  return { bench: 'coatcheck', ratioTo: base, rounds, setup, notes, ratios, measured: figures }
}

/** Memory and large bodies first, while the processes are fresh; then the timed phases, one subject after the other. */
async function measure(parts: PhaseParts, subjects: readonly Subject[]) {
  const { options } = parts
  const measured: Measurement[] = []
  const start = performance.now()
  const one = async (round: number, phase: Measurement['phase'], subject: Subject) => {
    const figures = await runPhase(parts, phase, subject).catch((error: unknown) => {
      throw new Error(`${phase} of ${subject.name}: ${error instanceof Error ? error.message : String(error)}`)
    })
    measured.push({ round, phase, subject: subject.name, figures })
  }
  for (const phase of options.phases.filter((each) => !TIMED.has(each))) {
    for (const subject of subjects.filter(({ name }) => isMeasured(phase, name))) await one(0, phase, subject)
  }
  const timed = options.phases.filter((each) => TIMED.has(each))
  let rounds = 0
  if (timed.length > 0) for (const subject of subjects) await warmUp(parts, subject)
  while (rounds < options.rounds && (rounds === 0 || performance.now() - start < options.lastStartMs)) {
    for (const phase of timed) for (const subject of subjects) await one(rounds, phase, subject)
    rounds += 1
  }
  return { measured, rounds }
}

function baseOf(subjects: readonly Subject[]): SubjectName {
  const names = subjects.map((subject) => subject.name)
  const base = names.includes('nginx') ? 'nginx' : names.includes('direct') ? 'direct' : names[0]
  if (base === undefined) throw new Error('nothing to measure: nginx is not installed')
  return base
}

function notesOf({ tools, options }: { tools: Tools; options: BenchOptions }, base: SubjectName): string[] {
  const without = options.subjects.includes('nginx') && !tools.nginx
  return [
    ...(without ? ['nginx is not installed: ratios are to a direct connection, CPU to that of the origin.'] : []),
    ...(tools.compiled ? [] : ['gcc or the OpenSSL headers are missing: the client is slower than what it measures.']),
    ...(CAN_PIN ? [] : ['processes are not bound to cores: expect more noise.']),
    ...(CAN_READ_COST ? [] : ['this system has no /proc: CPU and memory are not known.']),
    ...(base === 'nginx' || base === 'direct' ? [] : [`ratios are to ${base} itself.`]),
  ]
}

/** Four digits say all that such figures know. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(4)) : value
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
})
