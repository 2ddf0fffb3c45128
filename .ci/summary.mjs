/**
 * Says how a run of .ci/run ended: the names of skipped tests, the steps that failed, and, last, one line with the
 * counts. Counts come from vitest's JSON report; what failed without a test of its own counts as one failed.
 * Runs on any Node since 18. Arguments: the report, vitest's exit code, the failed steps.
 */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

const [file, code, ...failedSteps] = process.argv.slice(2)

function read() {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).testResults
  } catch {
    return []
  }
}

const files = read()
const tests = files.flatMap(({ name, assertionResults }) =>
  assertionResults.map(({ fullName, status }) => ({ fullName, status, file: relative(process.cwd(), name) })),
)
const passed = tests.filter(({ status }) => status === 'passed')
const broken = tests.filter(({ status }) => status === 'failed')
const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed')
/** Files that failed as a whole, such as by an import. */
const brokenFiles = files.filter(
  ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
)
const others = [...brokenFiles.map(({ name }) => relative(process.cwd(), name)), ...failedSteps]
if (code !== '0' && broken.length + brokenFiles.length === 0) others.push(`vitest ended with ${code}`)

const say = (text) => process.stdout.write(`${text}\n`)
if (skipped.length > 0) {
  say('\nSkipped, because this machine lacks what they need:')
  for (const test of skipped) say(`  ${test.file} > ${test.fullName}`)
}
if (others.length > 0) say(`\nFailed beside single tests: ${others.join(', ')}`)
say(`\n${passed.length} passed, ${broken.length + others.length} failed, ${skipped.length} skipped`)
