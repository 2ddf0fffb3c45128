/**
 * `npm run attack`: runs every test that is named after a row of the threat table and prints, for each row, how often it was
 * tried and how often it held. Rows that are tried by files under other names are held by reference to all tests of those;
 * last comes what no test tries, and why. Ends with 0 only when everything that was tried held.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readme } from './readme.ts'
import { chapters, type NotCovered, notCovered, TESTS, triedIn } from './rows.ts'
import { type Count, type Report, type Tally, tally, tallyElsewhere } from './tally.ts'

const PROJECT = join(TESTS, '..')
const NAMED_AFTER_A_ROW = String.raw`(^|\s)[A-J]\d{2}\b`

async function main(): Promise<number> {
  if (process.argv.includes('--readme')) {
    await writeFile(join(import.meta.dirname, 'README.md'), readme())
    return 0
  }
  const named = tally(await run([...new Set([...triedIn().values()].flat())], ['-t', NAMED_AFTER_A_ROW]))
  const references = notCovered()
  const files = [...new Set(references.flatMap(({ elsewhere = [] }) => elsewhere))]
  const referred = tallyElsewhere(await run(files, []), references)
  process.stdout.write(`${printed(named, referred)}\n`)
  return named.failed.length + referred.failed.length === 0 ? 0 : 1
}

/** Progress goes to standard error. */
async function run(files: readonly string[], filter: readonly string[]): Promise<Report> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-attack-'))
  try {
    const output = join(dir, 'report.json')
    const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${output}`]
    const program = join(PROJECT, 'node_modules/vitest/vitest.mjs')
    const child = spawn(process.execPath, [program, 'run', ...files, ...filter, ...reporters], {
      cwd: PROJECT,
      stdio: ['ignore', 2, 2],
    })
    await new Promise((resolve, reject) => child.once('exit', resolve).once('error', reject))
    return JSON.parse(await readFile(output, 'utf8')) as Report
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function printed(named: Tally, referred: Tally): string {
  const lines: string[] = []
  const countOf = (id: string) => named.rows.get(id) ?? referred.rows.get(id)
  for (const { letter, title, rows: known } of chapters()) {
    lines.push('', `${letter}. ${title}`, '')
    for (const { id, attack } of known) lines.push(`${id}  ${verdict(countOf(id))}  ${attack}`)
  }
  const [elsewhere, nowhere] = [notCovered().filter(isReference), notCovered().filter((each) => !isReference(each))]
  lines.push('', 'by reference', '')
  for (const { row, why, elsewhere: files = [] } of elsewhere) lines.push(`${row}  ${why} (${files.join(', ')})`)
  lines.push('', 'not covered', '', ...nowhere.map(({ row, why }) => `${row}  ${why}`))
  const failed = [...named.failed, ...referred.failed]
  if (failed.length > 0) lines.push('', 'did not hold', '', ...failed)
  const sums = [sumOf('named after them', named), sumOf('elsewhere, by reference', referred)]
  return [...lines, '', ...sums, `${nowhere.length} rows not covered.`].join('\n')
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

function isReference({ elsewhere }: NotCovered): boolean {
  return elsewhere !== undefined
}

function sumOf(where: string, { rows }: Tally): string {
  const counts = [...rows.values()].filter(({ tried }) => tried > 0)
  const tried = counts.reduce((sum, each) => sum + each.tried, 0)
  const held = counts.filter((each) => each.held === each.tried).length
  return `${counts.length} rows tried by ${tried} tests ${where}: ${held} held, ${counts.length - held} did not.`
}

process.exitCode = await main()
