/** What a process and its children cost, read from /proc; nothing is known where there is none. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export const CAN_READ_COST = existsSync('/proc/self/task')

const NANOSECONDS = 1e9
/** What /proc counts in, on every Linux. */
const TICKS_PER_SECOND = 100
const KIB_PER_MIB = 1024
const SAMPLE_MS = 50

/** The process and everything it started that still runs. */
function tree(pid: number): readonly number[] {
  const children = threads(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(tree)]
}

function threads(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

export interface ThreadCost {
  readonly id: string
  readonly name: string
  /** Seconds on a core since it started. */
  readonly cpu: number
}

export function threadCosts(pid: number): readonly ThreadCost[] {
  return threads(pid).map((id) => {
    const [onCore = '0'] = read(`/proc/${pid}/task/${id}/schedstat`).split(' ')
    return { id, name: read(`/proc/${pid}/task/${id}/comm`), cpu: Number(onCore) / NANOSECONDS }
  })
}

/** Seconds of CPU of the whole tree so far, to the nanosecond; threads that ended are not in it. */
export function cpuSeconds(pid: number): number {
  return tree(pid)
    .flatMap(threadCosts)
    .reduce((sum, thread) => sum + thread.cpu, 0)
}

/** Seconds that a core worked for anybody so far, to a hundredth. */
export function coreBusySeconds(core: number): number {
  const line = read('/proc/stat')
    .split('\n')
    .find((each) => each.startsWith(`cpu${core} `))
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
    line?.split(' ').slice(1).map(Number) ?? []
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND
}

/** Resident memory of the whole tree, in MiB. */
export function residentMiB(pid: number): number {
  const kib = tree(pid).map((each) => Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${each}/status`))?.[1] ?? 0))
  return kib.reduce((sum, each) => sum + each, 0) / KIB_PER_MIB
}

/** Runs something and says how large the tree became meanwhile, in MiB. */
export async function highestResidentMiB<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; max: number }> {
  let max = residentMiB(pid)
  const timer = setInterval(() => {
    max = Math.max(max, residentMiB(pid))
  }, SAMPLE_MS)
  try {
    return { result: await work(), max: Math.max(max, residentMiB(pid)) }
  } finally {
    clearInterval(timer)
  }
}
