/** Waits for what happens elsewhere, without guessing how long it takes: the test's own timeout is the only bound. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves with the first answer that is neither undefined, null nor false. */
export async function until<T>(look: () => T | Promise<T>): Promise<Exclude<T, undefined | null | false>> {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== null && found !== false) {
      return found as Exclude<T, undefined | null | false>
    }
    await sleep(5)
  }
}
