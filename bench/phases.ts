/** One phase on one subject: what is asked of it, and which figures come of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { CAN_PIN } from './child.ts'
import { holdOpen, type Load, runLoad } from './load.ts'
import type { BenchOptions, Phase, SubjectName } from './options.ts'
import { CAN_READ_COST, highestResidentMiB, residentMiB } from './process-cost.ts'
import type { Subject } from './subjects.ts'
import type { Tools } from './tools.ts'

/** Figure -> value: `…PerSecond`, `…Ms`, `…Us` of CPU, `…MiB`, `kib…`; `othersShare` of the core. */
export type Figures = Readonly<Record<string, number>>

/** Phases that are repeated in every round; the others look at memory and large bodies, once. */
export const TIMED: ReadonlySet<Phase> = new Set<Phase>(['ka1', 'ka32', 'new'])

const NEW_AT_ONCE = 8
const FIRST_BODY = 32 * 1024 ** 2
const SETTLE_MS = 1_000
const KIB_PER_MIB = 1024
const MICROSECONDS = 1e6

/** `passed` shares the process of `released`, whose memory was there already; `direct` has no process of its own. */
export function isMeasured(phase: Phase, subject: SubjectName): boolean {
  return phase !== 'idle' || (subject !== 'passed' && subject !== 'direct')
}

export interface PhaseParts {
  readonly tools: Tools
  readonly options: BenchOptions
}

export function runPhase(parts: PhaseParts, phase: Phase, subject: Subject): Promise<Figures> {
  const { secs, bodyBytes } = parts.options
  switch (phase) {
    case 'ka1':
      return requests(parts, subject, { mode: 'ka', connections: 1, secs: secs / 2 })
    case 'ka32':
      return requests(parts, subject, { mode: 'ka', connections: 32, secs })
    case 'new':
      return connections(parts, subject, (secs * 2) / 3)
    case 'down':
      return body(
        parts,
        subject,
        [FIRST_BODY, bodyBytes].map((bytes) => ({ path: `/bytes/${bytes}` })),
      )
    case 'up':
      return body(
        parts,
        subject,
        [FIRST_BODY, bodyBytes].map((upload) => ({ path: '/upload', upload })),
      )
    case 'idle':
      return idle(parts, subject)
  }
}

/** Lets a fresh Node process reach the speed it will have: code is compiled and caches are filled. */
export async function warmUp(parts: PhaseParts, subject: Subject): Promise<void> {
  if (subject.name === 'direct' || subject.name === 'nginx') return
  await runLoad(parts.tools, subject.small, { mode: 'ka', connections: 32, secs: parts.options.warmUpSecs })
}

/** Only what could be read is a figure. */
function cost(name: string, seconds: number, per: number): Figures {
  return CAN_READ_COST ? { [name]: (seconds / per) * MICROSECONDS } : {}
}

async function requests({ tools }: PhaseParts, { name, small }: Subject, load: Load): Promise<Figures> {
  const { figures, cpu, othersShare } = await runLoad(tools, small, load)
  const { perSecond, p50Ms, p99Ms, total } = figures
  const measured = { requestsPerSecond: perSecond, p50Ms, p99Ms, ...cost('cpuPerRequestUs', cpu, total) }
  return CAN_READ_COST && CAN_PIN && name !== 'direct' ? { ...measured, othersShare } : measured
}

async function connections({ tools }: PhaseParts, { small }: Subject, secs: number): Promise<Figures> {
  const { figures, cpu } = await runLoad(tools, small, { mode: 'new', connections: NEW_AT_ONCE, secs })
  return {
    connectionsPerSecond: figures.perSecond,
    handshakeP50Ms: figures.handshakeP50Ms,
    ...cost('cpuPerConnectionUs', cpu, figures.total),
  }
}

/** A small body goes first, so that what remains to grow is what grows with the size. */
async function body(
  { tools }: PhaseParts,
  { sink }: Subject,
  [first, what]: readonly Partial<Load>[],
): Promise<Figures> {
  const load = { mode: 'ka', connections: 1, count: 1, ...what } as const
  await runLoad(tools, sink, { ...load, ...first })
  const before = residentMiB(sink.pid)
  const { result, max } = await highestResidentMiB(sink.pid, () => runLoad(tools, sink, load))
  const { figures, cpu } = result
  const memory = {
    rssBeforeMiB: before,
    rssMaxMiB: max,
    rssAfterMiB: residentMiB(sink.pid),
    rssGrowthMiB: max - before,
  }
  const mib = figures.bytes / 1024 ** 2
  return {
    mibPerSecond: mib / figures.seconds,
    ...cost('cpuPerMibUs', cpu, mib),
    ...(CAN_READ_COST ? memory : {}),
  }
}

async function idle({ tools, options }: PhaseParts, { small }: Subject): Promise<Figures> {
  const count = options.idleTunnels
  const before = residentMiB(small.pid)
  let open = before
  await holdOpen(tools, small, count, async () => {
    await sleep(SETTLE_MS)
    open = residentMiB(small.pid)
  })
  return CAN_READ_COST ? { rssIdleMiB: before, kibPerTunnel: ((open - before) * KIB_PER_MIB) / count } : {}
}
