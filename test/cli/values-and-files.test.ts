/**
 * Contract: a value that is asked for comes out byte for byte where a program reads it, and never as commands to a terminal; files that
 * hold values are new ones that only their owner can read.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { CliUnderTest } from './support/cli-under-test.ts'

// Where a value may hold line breaks.
const BODY = ['body:/a']
const READABLE = ['--read-policy', 'permission', '--hosts', 'a.example', '--value-stdin']
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'coatcheck-values-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function withSecret(bytes: Buffer): Promise<CliUnderTest> {
  const cli = CliUnderTest.local()
  const { secrets, system } = await cli.deps()
  await secrets.create(system, { name: 'a', value: new SecretValue(bytes), readPolicy: 'permission', placements: BODY })
  return cli
}

describe('secret reveal', () => {
  it('gives a program the bytes and nothing else', async () => {
    for (const bytes of [
      Buffer.from('a value\nof two lines, no more'),
      Buffer.from([0xff, 0x00, 0x1b, 0x5b, 0x41, ...Buffer.alloc(16)]),
    ]) {
      const cli = await withSecret(bytes)
      const path = join(folder, `${bytes.length}`)
      const { stdoutBytes, stderr } = await cli.cli(['secret', 'reveal', 'a'])
      expect(stdoutBytes).toEqual(bytes)
      expect(stderr).toBe('Version 1 of a, access 1.\n')
      expect((await cli.cli(['secret', 'reveal', 'a', '--output', path])).stdout).toBe('')
      expect(readFileSync(path)).toEqual(bytes)
      expect(statSync(path).mode & 0o777).toBe(0o600)
    }
  })

  it('shows a terminal text, and nothing that it would take as commands', async () => {
    const plain = await withSecret(Buffer.from('a value\nof two lines, no more'))
    expect((await plain.cli(['secret', 'reveal', 'a'], { isTty: true })).stdout).toBe(
      'a value\nof two lines, no more\n',
    )
    for (const bytes of [Buffer.from('\u001b]0;owned\u0007 and so on'), Buffer.from([0xff, ...Buffer.alloc(16, 65)])]) {
      const cli = await withSecret(bytes)
      const { code, stdout, stderr } = await cli.cli(['secret', 'reveal', 'a'], { isTty: true })
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain('--output')
      expect(stderr).not.toContain('\u001b')
    }
  })

  it('does not write over what is there', async () => {
    const cli = await withSecret(Buffer.from('a value that is long enough'))
    const path = join(folder, 'there')
    writeFileSync(path, 'mine')
    const { code, stderr } = await cli.cli(['secret', 'reveal', 'a', '--output', path])
    expect([code, readFileSync(path, 'utf8')]).toEqual([1, 'mine'])
    expect(stderr).toContain('EEXIST')
  })
})

describe('secret import and export', () => {
  it('carry every field from one store to another through a file that only its owner can read', async () => {
    const from = CliUnderTest.local()
    const fields = [
      '--placement',
      'body:/a',
      '--label',
      'team=a',
      '--description',
      'ours',
      '--max-access-count',
      '9',
      '--type',
      'password',
    ]
    const value = `it's "a" value\nof two lines`
    await from.cli(['secret', 'create', 'db/a', ...READABLE, ...fields], { stdin: value })
    const path = join(folder, 'secrets.json')
    const { stdout, stderr } = await from.cli(['secret', 'export', '--format', 'json', '--output', path], {
      isTty: true,
    })
    expect([stdout, stderr]).toEqual(['', 'Exported 1.\n'])
    expect(statSync(path).mode & 0o777).toBe(0o600)

    const to = CliUnderTest.local()
    expect((await to.cli(['secret', 'import', path])).stdout).toBe('Created db/a.\n')
    const { stdout: document } = await to.cli(['secret', 'get', 'db/a', '--json'])
    expect(JSON.parse(document)).toMatchObject({
      labels: { team: 'a' },
      description: 'ours',
      maxAccessCount: 9,
      type: 'password',
    })
    expect((await to.cli(['secret', 'reveal', 'db/a'])).stdout).toBe(value)
  })

  it('take what follows an export through a pipe', async () => {
    const from = CliUnderTest.local()
    await from.cli(['secret', 'create', 'A_KEY', ...READABLE], { stdin: `it's "a" $value` })
    const { stdout } = await from.cli(['secret', 'export'])
    const to = CliUnderTest.local()
    expect((await to.cli(['secret', 'import', '-'], { stdin: stdout })).code).toBe(0)
    expect(to.stored.map((value) => value.byteLength)).toEqual([`it's "a" $value`.length])
  })
})

describe('backup create', () => {
  it('asks for the passphrase twice, unseen, and writes nothing when they differ', async () => {
    for (const [again, code] of [
      ['correct horse battery', 0],
      ['correct horse batteries', 2],
    ] as const) {
      const path = join(folder, `backup-${code}`)
      const terminal = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined })
      const asked = CliUnderTest.local().cli(['backup', 'create', path], {
        input: terminal,
        // Typed when it is asked for, as a person does.
        onError: (text) => {
          if (text.endsWith('(not shown): ')) terminal.write('correct horse battery\r')
          if (text.endsWith('again: ')) terminal.write(`${again}\r`)
        },
      })
      const outcome = await asked
      expect([outcome.code, existsSync(path)], outcome.stderr).toEqual([code, code === 0])
      expect(outcome.stdout + outcome.stderr).not.toContain('horse')
    }
    expect(readdirSync(folder)).toEqual(['backup-0'])
    expect(statSync(join(folder, 'backup-0')).mode & 0o777).toBe(0o600)
  })
})
