/**
 * `npm run attack`: runs every test that is named after a row of the threat table and prints, for each row, how often it was
 * tried and how often it held; then what no test tries, and why. Ends with 0 only when everything that was tried held.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readme } from './readme.ts'
import { chapters, notCovered, TESTS, triedIn } from './rows.ts'
import { type Count, type Report, type Tally, tally } from './tally.ts'

const PROJECT = join(TESTS, '..')
const NAMED_AFTER_A_ROW = String.raw`(^|\s)[A-J]\d{2}\b`

async function main(): Promise<number> {
  if (process.argv.includes('--readme')) {
    await writeFile(join(import.meta.dirname, 'README.md'), readme())
    return 0
  }
  const report = await run([...new Set([...triedIn().values()].flat())])
  const result = tally(report)
  process.stdout.write(`${printed(result)}\n`)
  return result.failed.length === 0 ? 0 : 1
}

/** Progress goes to standard error. */
async function run(files: readonly string[]): Promise<Report> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-attack-'))
  try {
    const output = join(dir, 'report.json')
    const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${output}`]
    const program = join(PROJECT, 'node_modules/vitest/vitest.mjs')
    const child = spawn(process.execPath, [program, 'run', ...files, '-t', NAMED_AFTER_A_ROW, ...reporters], {
      cwd: PROJECT,
      stdio: ['ignore', 2, 2],
    })
    await new Promise((resolve, reject) => child.once('exit', resolve).once('error', reject))
    return JSON.parse(await readFile(output, 'utf8')) as Report
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function printed({ rows, failed }: Tally): string {
  const lines: string[] = []
  for (const { letter, title, rows: known } of chapters()) {
    lines.push('', `${letter}. ${title}`, '')
    for (const { id, attack } of known) lines.push(`${id}  ${verdict(rows.get(id))}  ${attack}`)
  }
  lines.push('', 'not covered', '')
  for (const { row, why, elsewhere } of notCovered()) {
    lines.push(`${row}  ${why}${elsewhere === undefined ? '' : ` (${elsewhere.join(', ')})`}`)
  }
  if (failed.length > 0) lines.push('', 'did not hold', '', ...failed)
  return [...lines, '', summary(rows)].join('\n')
}

/** As wide as its columns, whatever it says. */
function verdict(sum: Count | undefined): string {
  if (sum === undefined) return '         not covered'.padEnd(WIDTH)
  const { tried, held, skipped } = sum
  if (tried === 0) return `         skipped ${skipped}`.padEnd(WIDTH)
  const mark = held === tried ? 'held    ' : 'NOT HELD'
  return `${mark} ${String(held).padStart(3)} of ${String(tried).padStart(3)}`.padEnd(WIDTH)
}

const WIDTH = 20

function summary(rows: ReadonlyMap<string, Count>): string {
  const counts = [...rows.values()].filter(({ tried }) => tried > 0)
  const tried = counts.reduce((sum, each) => sum + each.tried, 0)
  const held = counts.filter((each) => each.held === each.tried).length
  const uncovered = notCovered()
  const elsewhere = uncovered.filter((each) => each.elsewhere !== undefined).length
  return [
    `${counts.length} rows tried by ${tried} tests: ${held} held, ${counts.length - held} did not.`,
    `${uncovered.length} rows not covered, ${elsewhere} of them tried elsewhere under other names.`,
  ].join('\n')
}

process.exitCode = await main()
