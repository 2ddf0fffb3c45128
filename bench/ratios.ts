/** From figures to what counts: ratios to one subject within a round, and their median and spread over the rounds. */
import type { Phase, SubjectName } from './options.ts'
import type { Figures } from './phases.ts'

/** One phase of one subject in one round. */
export interface Measurement {
  readonly round: number
  readonly phase: Phase
  readonly subject: SubjectName
  readonly figures: Figures
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Figures in one phase, by subject. */
export type PhaseTable = Readonly<Record<string, Readonly<Record<string, Spread>>>>

/** Memory is told as it is: a ratio of resident sizes says nothing. So is what tells how quiet the machine was. */
export function isRatio(figure: string): boolean {
  return !/MiB$|^kib|^others/.test(figure)
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const median = ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}

/** phase -> subject -> figure. With a base: what is a ratio becomes one, to the base's figure of the same round. */
export function tabulate(measured: readonly Measurement[], base: SubjectName | null): Record<string, PhaseTable> {
  const collected = new Map<string, number[]>()
  for (const { round, phase, subject, figures } of measured) {
    const baseline = measured.find((each) => each.round === round && each.phase === phase && each.subject === base)
    for (const [figure, value] of Object.entries(figures)) {
      const key = `${phase} ${subject} ${figure}`
      const to = base !== null && isRatio(figure) ? (baseline?.figures[figure] ?? Number.NaN) : 1
      collected.set(key, [...(collected.get(key) ?? []), value / to])
    }
  }
  const tables: Record<string, Record<string, Record<string, Spread>>> = {}
  for (const [key, values] of collected) {
    const [phase, subject, figure] = key.split(' ') as [string, string, string]
    const table = (tables[phase] ??= {})
    const row = (table[subject] ??= {})
    if (values.every(Number.isFinite)) row[figure] = spreadOf(values)
  }
  return tables
}
