/**
 * The operator log and the audit under attack: no value at any level, whatever fails, and no text of a sandbox or an
 * upstream that a line could be broken with.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { App } from '../../src/app.ts'
import { loadSettings } from '../../src/config.ts'
import { closingEvent } from '../support/audited.ts'
import { assertNoLeak, canary, leaksIn } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { bearerOf } from '../support/reflector.ts'
import { Rig } from '../support/rig.ts'
import { openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
afterEach(async () => {
  await rig.stop()
})

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

/** One of everything that is logged or might be: released, refused, withheld, failed in every way that echoes. */
async function doEverything(): Promise<void> {
  const { placeholder } = rig.secret
  await send(rig, { path: `/ok?x=${'y'.repeat(100)}`, headers: bearer() })
  await send(rig, { method: 'POST', headers: bearer(), body: `in a body: ${placeholder}` })
  await send(rig, { headers: ['X-Forwarded-For', placeholder] })
  await send(rig, { path: `/?key=${placeholder}` })
  await send(rig, { host: 'evil.test', headers: bearer() })
  await new RawSandbox(rig).ask(
    `GET http://api.test:${rig.plain.port}/ HTTP/1.1`,
    `Host: api.test:${rig.plain.port}`,
    `X-Api-Key: ${placeholder}`,
  )
  for (const answer of [
    (value: string) => `HTTP/1.1 ${value}\r\n\r\n`,
    (value: string) => `HTTP/1.1 200 OK\r\n${value} x: y\r\n\r\n`,
    (value: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${value}\r\n\r\n`,
    (value: string) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${value}\r\n`,
    (value: string) => `HTTP/1.1 200 OK\r\nContent-Encoding: ${value}\r\nContent-Length: 2\r\n\r\nok`,
    (value: string) => `HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n${value}`,
    (value: string) => value,
  ]) {
    rig.upstream.clear()
    rig.upstream.takeRaw(async (wire) => {
      const { fields } = await wire.head()
      const value = fields.find((text) => text.startsWith('Bearer '))?.slice(7) ?? ''
      wire.write(answer(value))
      wire.socket.end()
    })
    const asked = await send(rig, { headers: bearer() }).catch(() => null)
    expect(asked?.status ?? 502).toBe(502)
  }
  rig.upstream.clear()
  rig.upstream.answerWith((request, response) => response.destroy(new Error(bearerOf(request))))
  await send(rig, { headers: bearer() })
}

describe('I01 the operator log', () => {
  it.each(['debug', 'info', 'warn', 'error'])(
    'I01 at level %s holds no value and no credentials of a sandbox',
    async (level) => {
      rig = await Rig.start({ env: { COATCHECK_LOG_LEVEL: level } })
      await doEverything()
      const log = Buffer.from(rig.logLines.join(''))
      expect(leaksIn(log, rig.value)).toEqual([])
      expect(log.includes(rig.sandbox.token)).toBe(false)
      if (level === 'debug') expect(log.length).toBeGreaterThan(0)
      for (const line of rig.logLines) expect(() => JSON.parse(line) as unknown).not.toThrow()
    },
  )

  it('I01 the check that says so finds a value in each of its forms', async () => {
    rig = await Rig.start()
    const value = canary('i01')
    for (const text of [
      value,
      Buffer.from(`..${value}`).toString('base64'),
      Buffer.from(value).toString('hex'),
      value.toLowerCase(),
    ]) {
      expect(() => assertNoLeak(value, { somewhere: `a ${text} b` })).toThrow('leaked into somewhere')
    }
  })

  it.each(['http', 'tls', 'net', 'undici', 'http,tls', 'fs,http'])(
    'I01 NODE_DEBUG=%s is refused at start',
    async (debug) => {
      rig = await Rig.start()
      const settings = loadSettings({ file: null, env: { COATCHECK_DATADIR: rig.dataDir } })
      const listen = { proxy: true, api: true }
      const starting = App.start({ settings, env: { NODE_DEBUG: debug }, exportDir: null, ship: false, listen })
      await expect(starting).rejects.toMatchObject({ code: 'config_invalid' })
    },
  )
})

describe('I02 what a sandbox writes into a line', () => {
  beforeEach(async () => {
    rig = await Rig.start({ env: { COATCHECK_LOG_LEVEL: 'debug' } })
  })

  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const BREAKS_A_LINE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]/

  function expectWholeLines(): void {
    for (const line of rig.logLines) {
      expect(line.endsWith('\n')).toBe(true)
      expect(line.slice(0, -1)).not.toMatch(BREAKS_A_LINE)
      expect(() => JSON.parse(line) as unknown).not.toThrow()
    }
  }

  it.each([
    ['an escape for ANSI', '/a\x1b[31mred'],
    ['NUL', '/a\0b'],
    ['a line break', '/a\nb'],
    ['a bare carriage return', '/a\rb'],
    ['DEL', '/a\x7fb'],
  ])('I02 %s in a path is not a request', async (_name, path) => {
    const wire = await openWire(rig)
    wire.write(`GET ${path} HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
    expect((await wire.message()).status).toBe(400)
    wire.socket.destroy()
    expect(rig.upstream.connections).toBe(0)
    expectWholeLines()
  })

  it.each([
    ['bytes outside ASCII', '/caf\xe9/\xe2\x80\xa8/\xff\xfe/\x9b31m'],
    ['quotes and backslashes', '/a"b\\c\\u0000","decision":"released'],
    ['percent escapes of all of them', '/a%0d%0a%1b%5b31m%00%e2%80%a8'],
    ['markup', '/<script>alert(1)</script>'],
    ['a formula', '/=cmd|calc'],
  ])('I02 %s in a path stay one field of one event', async (_name, path) => {
    const wire = await openWire(rig)
    wire.write(`GET ${path} HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nX-Api-Key: nothing\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    if (answer.status === 400) return
    const event = await closingEvent(rig, { path })
    expect(event.decision).toBe('passed')
    const line = JSON.stringify(event)
    expect(JSON.parse(line)).toEqual(event)
    expectWholeLines()
  })

  it('I02 a path of tens of kilobytes is forwarded whole and recorded in one bounded field', async () => {
    const path = `/${'a'.repeat(14_000)}`
    expect((await send(rig, { path })).status).toBe(200)
    expect(rig.upstream.last.target).toBe(path)
    const event = await until(async () => (await rig.events()).find((each) => each.kind === 'exchange'))
    expect(event).toMatchObject({ kind: 'exchange', decision: 'passed' })
    const recorded = event.kind === 'exchange' ? (event.path ?? '') : ''
    expect(recorded.length).toBeLessThanOrEqual(path.length)
    expect(recorded.slice(0, 1_000)).toBe(path.slice(0, 1_000))
  })

  it.each(['a\x1b[2J.test', 'a\u2028b.test', 'a\r\nHost: b', '\xff.test', `${'a'.repeat(5_000)}.test`, '"},{"x":"'])(
    'I02 %j as a host is refused and breaks no line',
    async (host) => {
      const { answer } = await new RawSandbox(rig).connect(`${host}:443`)
      expect(answer.status).toBe(400)
      expectWholeLines()
      for (const event of await rig.events()) expect(JSON.stringify(event)).not.toMatch(BREAKS_A_LINE)
    },
  )

  it('I02 a User-Agent, a field name and a method are in no line at all', async () => {
    const marks = ['Mark-Of-The-Agent', 'x-mark-of-the-name', 'Mark-Of-The-Value']
    await send(rig, {
      method: 'PROPFIND',
      headers: ['User-Agent', marks[0] as string, marks[1] as string, '1', 'X-A', marks[2] as string],
    })
    const all = rig.logLines.join('') + JSON.stringify(await rig.events())
    for (const mark of marks) expect(all).not.toContain(mark)
  })

  it('I02 what an upstream says is escaped and cut in the log', async () => {
    rig.upstream.takeRaw(async (wire) => {
      await wire.head()
      wire.write(`HTTP/1.1 \x1b[31m\u2028${'z'.repeat(30_000)}\r\n\r\n`)
      wire.socket.end()
    })
    expect((await send(rig)).status).toBe(502)
    expectWholeLines()
    for (const line of rig.logLines) expect(line.length).toBeLessThan(20_000)
  })
})
