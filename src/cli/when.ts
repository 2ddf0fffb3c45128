/** Times as people write them: ISO 8601, or a number and a unit counted from now. */
import { usage } from './failure.ts'

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
}

/** A time ahead: `30d`, `12h`, `2030-01-31`; ISO 8601 in UTC. `never` is null. */
export function parseExpiry(text: string, now: number): string | null {
  return text === 'never' ? null : at(text, now, 1, '--expires')
}

/** A time ago: `1h`, `7d`, `2030-01-31T12:00:00Z`; ISO 8601 in UTC. */
export function parsePast(text: string, now: number, option: '--since' | '--until'): string {
  return at(text, now, -1, option)
}

function at(text: string, now: number, direction: 1 | -1, option: string): string {
  const duration = /^(\d{1,6})([smhdw])$/.exec(text)
  const ms =
    duration === null
      ? isoTime(text)
      : now + direction * Number(duration[1]) * (UNIT_MS[duration[2] ?? ''] ?? Number.NaN)
  const date = new Date(ms)
  if (!Number.isNaN(date.getTime())) return date.toISOString()
  throw usage(`${option} is not a time.`, 'Write 30d, 12h, 45m, or a time such as 2030-01-31T12:00:00Z.')
}

/** RFC 3339, or a day alone, which begins at midnight UTC. Without an offset a time would depend on the machine. */
function isoTime(text: string): number {
  const iso = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/
  return iso.test(text) ? Date.parse(text) : Number.NaN
}
