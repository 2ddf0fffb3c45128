/** What is said of attacks is what the tests try: each row is tried or has a reason not to be, and the page says so. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readme } from '../attack/readme.ts'
import { chapters, notCovered, rowsOf, TESTS, triedIn } from '../attack/rows.ts'
import { tally, tallyElsewhere } from '../attack/tally.ts'

const known = chapters().flatMap(({ rows }) => rows.map(({ id }) => id))
const tried = [...triedIn().keys()]
const reasons = notCovered()

describe('each row of the threat table', () => {
  it('is tried, or listed with the reason why not, and never both', () => {
    const listed = reasons.map(({ row }) => row)
    expect(known.filter((id) => !tried.includes(id) && !listed.includes(id))).toEqual([])
    expect(listed.filter((id) => tried.includes(id))).toEqual([])
  })

  it('is known by its id wherever a test is named after it', () => {
    expect([...tried, ...reasons.map(({ row }) => row)].filter((id) => !known.includes(id))).toEqual([])
    expect(new Set(known).size).toBe(known.length)
  })

  it('that is tried elsewhere is tried by files that are there', () => {
    const files = reasons.flatMap(({ elsewhere = [] }) => elsewhere)
    expect(files.filter((file) => !existsSync(join(TESTS, '..', file)))).toEqual([])
  })

  it('stands in test/attack/README.md as it is', () => {
    // Made by: node test/attack/run.ts --readme
    expect(readFileSync(join(TESTS, 'attack/README.md'), 'utf8')).toBe(readme())
  })
})

describe('the count of a run', () => {
  it('goes by the ids that a name begins with, or the nearest name around it', () => {
    expect(rowsOf('F01 F16 at /headers shows the placeholder', ['F01 a plain echo'])).toEqual(['F01', 'F16'])
    expect(rowsOf('shows the placeholder', ['an echo', 'A01, A02 a target', 'in a tunnel'])).toEqual(['A01', 'A02'])
    expect(rowsOf('J01: loses nothing', [])).toEqual(['J01'])
    expect(rowsOf('a name with A01 in it', ['A', 'E5 of old'])).toEqual([])
  })

  it('counts every test of a file for the rows that refer to it', () => {
    const test = (title: string, status: string) => ({ title, status, ancestorTitles: [], fullName: title })
    const results = [
      {
        name: join(TESTS, 'a.test.ts'),
        status: 'failed',
        assertionResults: [test('x', 'passed'), test('y', 'failed')],
      },
      { name: join(TESTS, 'b.test.ts'), status: 'failed', message: 'cannot be read', assertionResults: [] },
    ]
    const references = [
      { row: 'A01', why: '', elsewhere: ['test/a.test.ts', 'test/b.test.ts'] },
      { row: 'B01', why: '' },
    ]
    const { rows, failed } = tallyElsewhere({ testResults: results }, references)
    expect(Object.fromEntries(rows)).toEqual({ A01: { tried: 2, held: 1, skipped: 0 } })
    expect(failed).toEqual(['test/a.test.ts: y', 'test/b.test.ts: cannot be read'])
  })

  it('tells held, not held and skipped, and counts a file that could not run', () => {
    const test = (title: string, status: string) => ({ title, status, ancestorTitles: [], fullName: title })
    const { rows, failed } = tally({
      testResults: [
        { name: 'a.test.ts', status: 'failed', assertionResults: [test('A01 x', 'passed'), test('A01 y', 'failed')] },
        { name: 'b.test.ts', status: 'passed', assertionResults: [test('B01 x', 'skipped'), test('no row', 'passed')] },
        { name: 'c.test.ts', status: 'failed', message: 'cannot be read', assertionResults: [] },
      ],
    })
    expect(Object.fromEntries(rows)).toEqual({
      A01: { tried: 2, held: 1, skipped: 0 },
      B01: { tried: 0, held: 0, skipped: 1 },
    })
    expect(failed).toEqual(['A01 y', 'c.test.ts: cannot be read'])
  })
})
