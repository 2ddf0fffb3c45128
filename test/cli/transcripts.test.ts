/**
 * Contract: every transcript plays alike on the data directory and over HTTP, those in local/ and http/ in that place alone; no value is
 * in anything printed or logged, but where it was asked for; and there is a command for every route of the API.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from '../api/support/api-under-test.ts'
import { routeTable } from '../api/support/route-table.ts'
import { CliUnderTest } from './support/cli-under-test.ts'
import { argumentsOf, parseTranscript, patternOf, type Step } from './support/transcript.ts'

const FOLDER = join(import.meta.dirname, '..', 'transcripts')
const started: CliUnderTest[] = []
/** `METHOD /route` of every call that was made over HTTP. */
const reached = new Set<string>()
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'coatcheck-transcripts-'))
})
afterEach(async () => {
  for (const cli of started.splice(0)) {
    for (const line of await cli.logged()) {
      const [, fields] = /^API request (\{.*\})$/.exec(line) ?? []
      const { method, route } = JSON.parse(fields ?? '{}') as { method?: string; route?: string }
      reached.add(`${method} ${route}`)
    }
    await cli.stop()
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function play(cli: CliUnderTest, step: Step, kept: Map<string, string>): Promise<void> {
  const { stdin, env, isTty } = step
  const argv = argumentsOf(step, kept)
  const outcome = await cli.cli(argv, { stdin, env, isTty, restoreTo: join(folder, 'restored') })
  const where = `line ${step.line}: ${argv.join(' ')}\n${outcome.stdout}${outcome.stderr}`
  expect(outcome.stdout, where).toMatch(patternOf(step.stdout))
  expect(outcome.stderr, where).toMatch(patternOf(step.stderr))
  expect(outcome.code, where).toBe(step.code)
  const words = patternOf(step.stdout).exec(outcome.stdout)?.groups ?? {}
  for (const [name, word] of Object.entries(words)) kept.set(name, word)
  for (const text of [...step.absent, CANARY]) expect(outcome.stdout + outcome.stderr, where).not.toContain(text)
  expect((await cli.logged()).filter((line) => line.includes(CANARY))).toEqual([])
  expect(cli.open, `${where} left a transport open`).toBe(0)
}

for (const [mode, own, start] of [
  ['on the data directory', 'local', async () => CliUnderTest.local()],
  ['over HTTP', 'http', () => CliUnderTest.overHttp()],
] as const) {
  describe(mode, () => {
    const inside = (path: string) => readdirSync(join(FOLDER, path)).map((name) => join(path, name))
    for (const file of [...inside('.'), ...inside(own)].filter((name) => name.endsWith('.txt'))) {
      it(`plays ${file}`, async () => {
        const cli = await start()
        started.push(cli)
        const kept = new Map([['folder', folder]])
        for (const step of parseTranscript(readFileSync(join(FOLDER, file), 'utf8'))) await play(cli, step, kept)
      })
    }
  })
}

it('audit tail prints what the server streams as it comes', async () => {
  const cli = await CliUnderTest.overHttp()
  const ended = new AbortController()
  // The list says nothing here, so what is printed came by the stream; it begins before the list is asked for.
  cli.audit.list = async () => {
    void cli.deps().then(({ secrets, system }) => secrets.generate(system, 'streamed', {}))
    return { items: [], nextCursor: null }
  }
  const onOutput = (text: string): void => (text.includes('secret streamed') ? ended.abort() : undefined)
  const { code, stdout } = await cli.cli(['audit', 'tail'], { signal: ended.signal, onOutput })
  expect([code, stdout.match(/secret streamed/g)?.length]).toEqual([0, 1])
  reached.add('GET /v1/audit/events/stream')
})

it('reaches every route of the API', async () => {
  const api = await ApiUnderTest.start()
  try {
    const routes = (await routeTable(api.deps)).filter(({ foreign }) => !foreign)
    const missing = routes.map(({ method, path }) => `${method} ${path}`).filter((route) => !reached.has(route))
    expect(missing).toEqual([])
    expect(routes.length).toBeGreaterThan(50)
  } finally {
    await api.stop()
  }
})
