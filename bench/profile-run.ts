/** `--profile`: where the time of the proxy goes under ka32, by function on the main thread and by thread. */

import { readMainProfile, type Share, selfTime } from './cpu-profile.ts'
import { runLoad } from './load.ts'
import { type PhaseParts, warmUp } from './phases.ts'
import { type ThreadCost, threadCosts } from './process-cost.ts'
import type { Subjects } from './subjects.ts'
import { columns } from './table.ts'

const TOP = 40
/** The profiler's own thread. */
const PROFILER = /ProfEvnt/
const PERCENT = 100

/** Stops the proxy, because it writes its profile when it ends. */
export async function runProfile({ tools, options }: PhaseParts, subjects: Subjects, dir: string): Promise<unknown> {
  const [subject] = subjects.list
  if (subject === undefined) throw new Error('nothing to profile')
  await warmUp({ tools, options }, subject)
  const { pid } = subject.small
  const before = threadCosts(pid)
  const from = monotonicMicroseconds()
  const load = { mode: 'ka', connections: 32, secs: options.secs } as const
  const { figures, cpu } = await runLoad(tools, subject.small, load)
  const to = monotonicMicroseconds()
  const threads = threadShares(before, threadCosts(pid))
  await subjects.stop()
  const { functions, areas } = selfTime(await readMainProfile(dir), from, to)
  say('share of CPU by thread', threads)
  say('self time on the main thread, by part', areas)
  say('self time on the main thread, by function', functions)
  const cpuPerRequestUs = (cpu / figures.total) * 1e6
  return {
    bench: 'coatcheck-profile',
    subject: subject.name,
    cpuPerRequestUs,
    threads,
    areas,
    functions: functions.slice(0, TOP),
  }
}

function monotonicMicroseconds(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

function threadShares(before: readonly ThreadCost[], after: readonly ThreadCost[]): Share[] {
  const used = after
    .filter(({ name }) => !PROFILER.test(name))
    .map(({ id, name, cpu }) => ({
      what: `${name} ${id}`,
      cpu: cpu - (before.find((each) => each.id === id)?.cpu ?? 0),
    }))
  const all = used.reduce((sum, each) => sum + each.cpu, 0)
  return used.map(({ what, cpu }) => ({ what, share: cpu / all })).sort((a, b) => b.share - a.share)
}

function say(heading: string, shares: readonly Share[]): void {
  const rows = shares.slice(0, TOP).map(({ what, share }) => [`${(share * PERCENT).toFixed(1)}%`, what])
  process.stderr.write(`\n${heading}\n${columns([['', ''], ...rows])}\n`)
}
