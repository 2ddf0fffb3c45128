/** Contract: a sink gets scrubbed JSON lines; whatever becomes of it, the caller is neither delayed nor failed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openSink } from '../../src/audit/sinks.ts'
import { Scrubber } from '../../src/core/scrub.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { release } from './events.ts'
import { newPlace, openLog, RecordedLog } from './setting.ts'

function withFile(): { file: string; dataDir: string; log: RecordedLog; scrub: Scrubber } {
  const { dataDir } = newPlace()
  return { file: join(dataDir, 'ship', 'audit.jsonl'), dataDir, log: new RecordedLog(), scrub: new Scrubber() }
}

test('a file is created for us alone and appended to, line by line, before the call returns', () => {
  const { file, log, scrub } = withFile()
  for (const line of ['{"a":1}\n', '{"b":2}\n{"c":3}\n']) {
    const sink = openSink(`file:${file}`, { scrub, log })
    sink?.write(line)
    expect(readFileSync(file, 'utf8').endsWith(line)).toBe(true)
    sink?.close()
  }
  expect(readFileSync(file, 'utf8')).toBe('{"a":1}\n{"b":2}\n{"c":3}\n')
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a value and a terminal escape never reach a sink', () => {
  const { file, log, scrub } = withFile()
  scrub.watch(SecretValue.fromText('canary-value'))
  const sink = openSink(`file:${file}`, { scrub, log })
  sink?.write(`${JSON.stringify({ path: '/canary-value/\u009b\u2028' })}\n`)
  expect(readFileSync(file, 'utf8')).toBe('{"path":"/[secret]/\\u009b\\u2028"}\n')
})

test('`none` is no sink, and anything else is refused', () => {
  const options = { scrub: new Scrubber(), log: new RecordedLog() }
  expect(openSink('none', options)).toBeUndefined()
  for (const spec of ['', 'stderr', 'file:', 'https://example.com']) {
    expect(() => openSink(spec, options)).toThrow(expect.objectContaining({ code: 'config_invalid' }) as Error)
  }
})

test('a file that cannot be opened at the start is refused', () => {
  const { dataDir, log, scrub } = withFile()
  mkdirSync(join(dataDir, 'taken'))
  expect(() => openSink(`file:${join(dataDir, 'taken')}`, { scrub, log })).toThrow(
    expect.objectContaining({ code: 'config_invalid' }) as Error,
  )
})

test('a full device loses lines, counts them and says so once', () => {
  const { log, scrub } = withFile()
  const sink = openSink('file:/dev/full', { scrub, log })
  for (let i = 0; i < 3; i += 1) sink?.write('{"a":1}\n')
  expect(sink?.lost).toBe(3)
  expect(log.messages()).toEqual(['An audit sink fails; its lines are lost.'])
})

test('events are durable and answered while their sink fails', async () => {
  const place = newPlace()
  const { log, scrub } = withFile()
  const sink = openSink('file:/dev/full', { scrub, log })
  const audit = await openLog(place, { sinks: sink === undefined ? [] : [sink] })
  for (let i = 0; i < 5; i += 1) await audit.append([release()])
  expect(audit.healthy).toBe(true)
  expect(audit.written.events).toBe(5)
  expect(sink?.lost).toBe(5)
})

test('standard output that nobody reads holds up nothing', async () => {
  const { dataDir, databaseFile } = newPlace()
  const source = join(import.meta.dirname, '../../src')
  const script = `
    import { AuditLog } from '${source}/audit/audit-log.ts'
    import { openSink } from '${source}/audit/sinks.ts'
    import { Scrubber } from '${source}/core/scrub.ts'
    import { release, silentLog as log } from '${join(import.meta.dirname, 'events.ts')}'
    const sinks = [openSink('stdout', { scrub: new Scrubber(), log })]
    const audit = await AuditLog.open({ ...${JSON.stringify({ dataDir, databaseFile })}, durability: 'full', sinks, clock: Date.now, log })
    for (let i = 0; i < 300; i += 1) await audit.append([release({ path: '/' + 'x'.repeat(4000) })])
    process.stderr.write('appended ' + audit.written.events)`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  await vi.waitFor(() => expect(said).toBe('appended 300'), 20_000)
  child.kill('SIGKILL')
  await once(child, 'exit')
})

test('a file that works again is written to again, on a line of its own', async () => {
  const { file, dataDir, log, scrub } = withFile()
  const sink = openSink(`file:${file}`, { scrub, log })
  expect(sink).toBeDefined()
  sink?.write('{"a":1}\n')
  rmSync(dataDir, { recursive: true })
  sink?.write('{"b":2}\n')
  expect(sink?.lost).toBe(0)
  sink?.close()
  await vi.waitFor(() => {
    sink?.write('{"c":3}\n')
    expect(readFileSync(file, 'utf8')).toContain('{"c":3}\n')
  })
})
