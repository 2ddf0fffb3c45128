/** README.md in this folder, made from the same data that the run prints. */
import { basename } from 'node:path'
import { chapters, type NotCovered, notCovered, type Row, triedIn } from './rows.ts'

const INTRODUCTION = `# Attacks that were tried

Each test is named after the row of the threat table that it tries. Everything here drives the real proxy over real sockets; what
is pure parsing or matching is also tried, with more inputs, from \`test/vectors\`. After each file the leak check looks for the
value in what sandboxes saw, the log, the database files and the other upstreams.

\`npm run attack\` runs them, here and wherever else a test is named after a row, then the files that rows refer to, and prints for each row how many were tried and how
many held. It fails when one did not hold.

*held*: refused, or harmless, as the row asks; *decided otherwise*: the design answers the row differently, and the test holds it to
that. *by reference*: held by all tests of those files, which are not named after the row.

This page is made by \`node test/attack/run.ts --readme\` from [rows.json](rows.json), [not-covered.json](not-covered.json) and the names
of the tests; edit those.
`

export function readme(): string {
  const tried = triedIn()
  const reasons = new Map(notCovered().map((each) => [each.row, each]))
  const sections = chapters().map(({ letter, title, rows }) => {
    const lines = rows.map((row) => line(row, tried.get(row.id), reasons.get(row.id)))
    return [
      `## ${letter}. ${title}`,
      '',
      '| row | attack | test | outcome |',
      '| --- | --- | --- | --- |',
      ...lines,
      '',
    ]
  })
  return [INTRODUCTION, ...sections.flat()].join('\n')
}

function line({ id, attack, remark }: Row, files: readonly string[] = [], reason?: NotCovered): string {
  const where = [...files, ...(reason?.elsewhere ?? [])].map(shown).join(', ')
  return `| ${id} | ${attack} | ${where} | ${outcome(remark, reason)} |`
}

function outcome(remark: string | null, reason: NotCovered | undefined): string {
  if (reason !== undefined)
    return `${reason.elsewhere === undefined ? 'not covered' : 'held by reference'}: ${reason.why}`
  if (remark === null || remark.startsWith('decided otherwise')) return remark ?? 'held'
  return `held; ${remark}`
}

/** Those in this folder by their name alone. */
function shown(path: string): string {
  return path.startsWith('test/attack/')
    ? `\`${basename(path, '.test.ts')}\``
    : `\`${path.replace(/\.test\.ts$/, '')}\``
}
