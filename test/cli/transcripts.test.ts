/** Contract: every transcript plays alike on the data directory and over HTTP, and no value is in anything printed or logged. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { CANARY } from '../api/support/api-under-test.ts'
import { CliUnderTest } from './support/cli-under-test.ts'
import { parseTranscript, patternOf, type Step } from './support/transcript.ts'

const FOLDER = join(import.meta.dirname, '..', 'transcripts')
const started: CliUnderTest[] = []

afterEach(async () => {
  for (const cli of started.splice(0)) await cli.stop()
})

async function play(cli: CliUnderTest, step: Step): Promise<void> {
  const { argv, stdin, env, isTty } = step
  const outcome = await cli.cli(argv, { stdin, env, isTty })
  const where = `line ${step.line}: ${argv.join(' ')}\n${outcome.stdout}${outcome.stderr}`
  expect(outcome.stdout, where).toMatch(patternOf(step.stdout))
  expect(outcome.stderr, where).toMatch(patternOf(step.stderr))
  expect(outcome.code, where).toBe(step.code)
  for (const text of [...step.absent, CANARY]) expect(outcome.stdout + outcome.stderr, where).not.toContain(text)
  expect((await cli.logged()).filter((line) => line.includes(CANARY))).toEqual([])
  expect(cli.open, `${where} left a transport open`).toBe(0)
}

for (const [mode, start] of [
  ['on the data directory', async () => CliUnderTest.local()],
  ['over HTTP', () => CliUnderTest.overHttp()],
] as const) {
  describe(mode, () => {
    for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))) {
      it(`plays ${file}`, async () => {
        const cli = await start()
        started.push(cli)
        for (const step of parseTranscript(readFileSync(join(FOLDER, file), 'utf8'))) await play(cli, step)
      })
    }
  })
}
