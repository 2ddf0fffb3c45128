/** Times as events and answers spell them. */

let last = Number.NaN
let lastText = ''

/** ISO 8601 in UTC with milliseconds, of milliseconds since the epoch. The last answer is kept: under load many times are one. */
export function isoTime(now: number): string {
  if (now !== last) {
    lastText = new Date(now).toISOString()
    last = now
  }
  return lastText
}
