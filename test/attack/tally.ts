/** Counts what a run of the tests says, for each row of the threat table. */
import { isAbsolute, join, relative } from 'node:path'
import { type NotCovered, rowsOf, TESTS } from './rows.ts'

/** The parts of vitest's JSON report that count. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message?: string
    readonly assertionResults: readonly {
      readonly title: string
      readonly ancestorTitles: readonly string[]
      readonly fullName: string
      readonly status: string
    }[]
  }[]
}

export interface Count {
  tried: number
  held: number
  /** Skipped: the machine lacks a program, for example. */
  skipped: number
}

export interface Tally {
  readonly rows: ReadonlyMap<string, Count>
  /** Names of what did not hold, and of files that could not run. */
  readonly failed: readonly string[]
}

export function tally(report: Report): Tally {
  const rows = new Map<string, Count>()
  const failed: string[] = []
  for (const file of report.testResults) {
    const inFile = failed.length
    for (const { title, ancestorTitles, fullName, status } of file.assertionResults) {
      if (status === 'failed') failed.push(fullName)
      for (const id of rowsOf(title, ancestorTitles)) count(rows, id, status)
    }
    if (file.status === 'failed' && failed.length === inFile) failed.push(`${file.name}: ${file.message ?? ''}`)
  }
  return { rows, failed }
}

/** The same for rows that are tried elsewhere: all tests of those files count, whatever their names. */
export function tallyElsewhere(report: Report, references: readonly NotCovered[]): Tally {
  const rows = new Map<string, Count>()
  const failed: string[] = []
  for (const { name, status, message, assertionResults } of report.testResults) {
    const path = isAbsolute(name) ? relative(join(TESTS, '..'), name) : name
    const ids = references.filter(({ elsewhere = [] }) => elsewhere.includes(path)).map(({ row }) => row)
    for (const test of assertionResults) {
      for (const id of ids) count(rows, id, test.status)
      if (test.status === 'failed') failed.push(`${path}: ${test.fullName}`)
    }
    if (status === 'failed' && assertionResults.length === 0) failed.push(`${path}: ${message ?? ''}`)
  }
  return { rows, failed }
}

function count(rows: Map<string, Count>, id: string, status: string): void {
  const sum = rows.get(id) ?? { tried: 0, held: 0, skipped: 0 }
  rows.set(id, sum)
  if (status === 'passed' || status === 'failed') sum.tried += 1
  else sum.skipped += 1
  if (status === 'passed') sum.held += 1
}
