/** Contract: a typed value is not echoed, the terminal is given back as it was, and one line break is not part of a value. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { CANARY } from '../api/support/api-under-test.ts'
import { CliUnderTest, type Given } from './support/cli-under-test.ts'

class FakeTerminal extends PassThrough {
  readonly isTTY = true
  readonly modes: boolean[] = []
  setRawMode(raw: boolean): this {
    this.modes.push(raw)
    return this
  }
}

async function create(given: Given, ...options: string[]) {
  const cli = CliUnderTest.local()
  const outcome = await cli.cli(['secret', 'create', 'a', ...options], given)
  const stored = cli.stored[0]?.reveal().toString()
  return { ...outcome, stored }
}

async function typed(keys: readonly string[]) {
  const input = new FakeTerminal()
  for (const key of keys) input.write(key)
  return { ...(await create({ input })), modes: input.modes }
}

describe('the prompt', () => {
  it('takes a line without echo and gives the terminal back', async () => {
    const { code, stored, stdout, stderr, modes } = await typed([CANARY, '\r'])
    expect([code, stored]).toEqual([0, CANARY])
    expect(stderr).toMatch(/^Value of a \(not shown\): \nwarning: [^\n]+\n$/)
    expect(stdout + stderr).not.toContain(CANARY)
    expect(modes).toEqual([true, false])
  })

  it('understands backspace, pasted text with its line break, and characters cut between two reads', async () => {
    expect((await typed(['abx\u007fc-long-enough\n'])).stored).toBe('abc-long-enough')
    const input = new FakeTerminal()
    const bytes = Buffer.from('é-long-enough-value\r')
    input.write(bytes.subarray(0, 1))
    input.write(bytes.subarray(1))
    expect((await create({ input })).stored).toBe('é-long-enough-value')
  })

  for (const [name, key] of [
    ['ctrl-C', '\u0003'],
    ['ctrl-D', '\u0004'],
  ] as const) {
    it(`ends at ${name}, stores nothing, and gives the terminal back`, async () => {
      const { code, stored, stderr, modes } = await typed([CANARY, key])
      expect([code, stored]).toEqual([1, undefined])
      expect(stderr).toContain('Cancelled')
      expect(stderr).not.toContain(CANARY)
      expect(modes).toEqual([true, false])
    })
  }

  it('ends when the terminal goes away', async () => {
    const input = new FakeTerminal()
    input.end(CANARY)
    const { code, stored } = await create({ input })
    expect([code, stored]).toEqual([1, undefined])
    expect(input.modes).toEqual([true, false])
  })
})

describe('standard input and files', () => {
  for (const [name, given, expected] of [
    ['one line break', 'a-long-enough-value\n', 'a-long-enough-value'],
    ['one Windows line break', 'a-long-enough-value\r\n', 'a-long-enough-value'],
    ['no more than one', 'a-long-enough-value\n\n', 'a-long-enough-value\n'],
    ['no space', ' a-long-enough-value ', ' a-long-enough-value '],
  ] as const) {
    it(`lose ${name}`, async () => {
      expect((await create({ stdin: given }, '--value-stdin')).stored).toBe(expected)
      const folder = mkdtempSync(join(tmpdir(), 'coatcheck-value-'))
      writeFileSync(join(folder, 'value'), given)
      expect((await create({}, '--value-file', join(folder, 'value'))).stored).toBe(expected)
      rmSync(folder, { recursive: true })
    })
  }

  it('that are not UTF-8 are refused', async () => {
    const input = new PassThrough()
    input.end(Buffer.from([0x61, 0xff]))
    const { code, stderr, stored } = await create({ input }, '--value-stdin')
    expect([code, stored]).toEqual([2, undefined])
    expect(stderr).toContain('not UTF-8')
  })
})
