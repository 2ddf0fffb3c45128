/** The speed of work on bytes by the CPU time of this thread, which other programs disturb less than the time that passes. */

/** What -> GB (10^9 bytes) per second. */
export type Speeds = Readonly<Record<string, number>>

const MICROSECONDS = 1e6
const GIGA = 1e9
const WARM_SHARE = 0.3

/** Repeats work on so many bytes for about so many seconds, after a third of that for the code to be compiled. */
export async function speedOf(secs: number, bytes: number, work: () => Promise<void> | void): Promise<number> {
  await repeat(secs * WARM_SHARE, work)
  const { count, cpu } = await repeat(secs, work)
  return (count * bytes) / GIGA / cpu
}

async function repeat(secs: number, work: () => Promise<void> | void): Promise<{ count: number; cpu: number }> {
  const before = process.threadCpuUsage()
  const until = performance.now() + secs * 1000
  let count = 0
  do {
    await work()
    count += 1
  } while (performance.now() < until)
  const { user, system } = process.threadCpuUsage(before)
  return { count, cpu: (user + system) / MICROSECONDS }
}
