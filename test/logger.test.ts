/** Contract: one JSON object a line whatever is logged, bounded, without values and without the inside of errors. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CoatcheckError } from '../src/core/errors.ts'
import type { Log } from '../src/core/ports.ts'
import { Scrubber } from '../src/core/scrub.ts'
import { SecretValue } from '../src/core/secret.ts'
import { createLogger, type LogLevel } from '../src/logger.ts'

const CANARY = 'canary-7f3a9b"\\/+'

function recording(level: LogLevel = 'info'): { log: Log; lines: string[]; last: () => Record<string, unknown> } {
  const lines: string[] = []
  const scrub = new Scrubber()
  scrub.watch(SecretValue.fromText(CANARY))
  const log = createLogger({ level, scrub, destination: { write: (line) => lines.push(line) } })
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> }
}

test('a line has the level, the time, the fields and the message', () => {
  const { log, last } = recording()
  log.warn({ sandbox: 's1', n: 3, list: [1, 'two', null] }, 'something happened')
  expect(last()).toEqual({
    level: 'warn',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    sandbox: 's1',
    n: 3,
    list: [1, 'two', null],
    message: 'something happened',
  })
})

test('lines below the level are not written', () => {
  const { log, lines } = recording('warn')
  log.debug({}, 'no')
  log.info({}, 'no')
  log.error({}, 'yes')
  expect(lines).toHaveLength(1)
})

const injections = [
  { what: 'CR LF and a forged line', text: 'x\r\n{"level":"error","message":"forged"}' },
  { what: 'terminal escapes', text: '\u001b[2J\u001b]0;title\u0007\u009b31m' },
  { what: 'NUL, DEL and backspace', text: 'a\u0000b\u007fc\u0008' },
  { what: 'line separators', text: 'a\u2028b\u2029c\u0085d' },
  { what: 'direction overrides', text: '\u202efdp.exe\u2066' },
  { what: 'a lone surrogate', text: 'a\ud800b' },
]

for (const { what, text } of injections) {
  test(`I02 ${what} stay inside one printable line, in a name, a field and the message`, () => {
    const { log, lines, last } = recording()
    log.info({ [text]: text }, text)
    expect(lines).toHaveLength(1)
    // oxlint-disable-next-line no-control-regex
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/)
    expect(lines[0]?.endsWith('\n')).toBe(true)
    expect(last()).toMatchObject({ [text]: text, message: text })
  })
}

test('I02 a text of 1 MB is cut at 4 KiB, in a field and in the message', () => {
  const { log, lines, last } = recording()
  log.info({ path: 'x'.repeat(1_000_000) }, 'y'.repeat(1_000_000))
  expect(lines).toHaveLength(1)
  expect(lines[0]?.length).toBeLessThan(10_000)
  expect(last()['path']).toContain('… (1000000 characters)')
})

test('deep, wide and circular fields are cut', () => {
  const { log, last } = recording()
  const circular: Record<string, unknown> = { name: 'loop' }
  circular['self'] = circular
  log.info(
    { circular, wide: Array.from({ length: 1000 }, (_, i) => i), big: 1n, call: () => 1, bytes: Buffer.from('abc') },
    'm',
  )
  expect(JSON.stringify(last())).toContain('[deep]')
  expect(last()).toMatchObject({ wide: { length: 64 }, big: '1', call: '[function]', bytes: '[3 bytes]' })
})

test('I01 a watched value leaves no trace in fields, names, messages, errors and causes, in any form', () => {
  const { log, lines } = recording('debug')
  const error = new Error(`upstream said ${CANARY}`, { cause: new CoatcheckError('internal', CANARY, CANARY) })
  const forms = [
    CANARY,
    JSON.stringify(CANARY),
    encodeURIComponent(CANARY),
    Buffer.from(CANARY).toString('base64'),
    Buffer.from(`user:${CANARY}`).toString('base64'),
    Buffer.from(CANARY).toString('hex'),
  ]
  for (const form of forms)
    log.info({ form, [form]: [form, { form }], error, value: SecretValue.fromText(CANARY) }, form)
  log.error(error, 'as the fields themselves')
  for (const line of lines) {
    expect(line).toContain('[secret]')
    expect(line).not.toContain('canary')
    expect(line).not.toContain(Buffer.from('canary-7f3a9').toString('base64').slice(0, 12))
    expect(line).not.toContain(Buffer.from('canary').toString('hex'))
  }
})

test('I01 a value across the cut of a long text leaves no half', () => {
  const { log, lines } = recording()
  log.info({ long: 'x'.repeat(4090) + CANARY + 'x'.repeat(100) }, 'm')
  expect(lines[0]).not.toContain('canar')
})

test('I01 of an error only name, code, message and causes are written; its other members never', () => {
  const { log, lines, last } = recording()
  const error = Object.assign(
    new TypeError('failed', { cause: Object.assign(new Error('inner'), { options: { auth: 'a' } }) }),
    {
      code: 'ECONNRESET',
      request: { headers: { authorization: 'Bearer x' } },
      headers: ['authorization', 'Bearer x'],
      options: { auth: 'user:x' },
    },
  )
  log.error({ error }, 'm')
  expect(last()['error']).toEqual({
    name: 'TypeError',
    code: 'ECONNRESET',
    message: 'failed',
    cause: { name: 'Error', message: 'inner' },
  })
  expect(lines[0]).not.toContain('stack')
})

test('stacks are written at level debug', () => {
  const { log, last } = recording('debug')
  log.error({ error: new Error('x') }, 'm')
  expect(last()['error']).toMatchObject({ stack: expect.stringContaining('logger.test.ts') as string })
})

test('without a destination lines go to standard error before the call returns, and none to standard output', () => {
  const source = join(import.meta.dirname, '../src')
  const script = `
    import { createLogger } from '${source}/logger.ts'
    import { Scrubber } from '${source}/core/scrub.ts'
    createLogger({ level: 'info', scrub: new Scrubber() }).info({}, 'last words')
    process.kill(process.pid, 'SIGKILL')`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script], {
    encoding: 'utf8',
  })
  expect(stdout).toBe('')
  expect(stderr).toContain('"message":"last words"')
})
