/** Which handles keep this process busy, counted by kind: what was opened for a test must be gone after it. */
import { until } from './until.ts'

/** Sockets and servers only; timers and worker threads come and go by themselves. */
const COUNTED = /^(?:TCP|TLS|Pipe)/

export function openHandles(): number {
  return process.getActiveResourcesInfo().filter((kind) => COUNTED.test(kind)).length
}

/** Resolves when there are no more of them than there were. */
export async function untilBackTo(baseline: number): Promise<void> {
  await until(() => openHandles() <= baseline)
}
