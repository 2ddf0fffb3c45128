/**
 * Contract: the installed command on a real data directory and against a real server does the same, and a value that
 * went in is in nothing that was printed and in no file.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { SandboxCredentials } from '../../src/api/contract/sandboxes.ts'
import type { SecretDocument } from '../../src/api/contract/secrets.ts'
import { CANARY } from '../api/support/api-under-test.ts'
import type { Outcome } from './support/cli-under-test.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts')
let folder: string
let printed = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'coatcheck-process-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function environment(extra: Record<string, string>): Record<string, string> {
  const own = {
    COATCHECK_DATADIR: join(folder, 'data'),
    COATCHECK_PROXY_LISTEN: '127.0.0.1:0',
    COATCHECK_API_LISTEN: '127.0.0.1:0',
  }
  return { PATH: process.env['PATH'] ?? '', HOME: folder, ...own, ...extra }
}

async function coatcheck(argv: readonly string[], stdin = '', env: Record<string, string> = {}): Promise<Outcome> {
  const outcome = await new Promise<Outcome>((resolve) => {
    const options = { cwd: folder, env: environment(env) }
    const child = execFile(process.execPath, [MAIN, ...argv], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code)
      resolve({ code, stdout, stderr, stdoutBytes: Buffer.from(stdout) })
    })
    child.stdin?.end(stdin)
  })
  printed += outcome.stdout + outcome.stderr
  return outcome
}

/** The API's address, once the server has printed it. */
async function addressOf(server: ChildProcess): Promise<string> {
  let text = ''
  return await new Promise((resolve, reject) => {
    const look = (chunk: Buffer): void => {
      text += chunk.toString()
      printed += chunk.toString()
      const url = /API\s+(http:\/\/127\.0\.0\.1:\d+)/.exec(text)?.[1]
      if (url !== undefined) resolve(url)
    }
    server.stdout?.on('data', look)
    server.stderr?.on('data', look)
    server.on('exit', () => reject(new Error(`the server ended: ${text}`)))
  })
}

function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path).flatMap((name) => filesIn(join(path, name)))
}

it('stores, mounts, shows and verifies, on the data directory and through a server', async () => {
  const created = await coatcheck(
    ['secret', 'create', 'openai', '--hosts', 'api.openai.com', '--json', '--value-stdin'],
    CANARY,
  )
  expect(created.code, created.stderr).toBe(0)
  const secret = JSON.parse(created.stdout) as SecretDocument
  expect(secret).toMatchObject({ name: 'openai', hosts: ['api.openai.com'], version: 1 })

  const made = await coatcheck(['sandbox', 'create', 'agent', '--mount', 'OPENAI_API_KEY=openai', '--json'])
  const sandbox = JSON.parse(made.stdout) as SandboxCredentials
  expect(sandbox.env['OPENAI_API_KEY']).toBe(secret.placeholder)
  expect(sandbox.env['HTTPS_PROXY']).toBe(sandbox.proxyUrl)
  expect(filesIn(folder)).toContain(sandbox.env['SSL_CERT_FILE'])

  const server = spawn(process.execPath, [MAIN, 'serve'], { cwd: folder, env: environment({}) })
  const ended = new Promise((resolve) => server.on('exit', resolve))
  try {
    const url = await addressOf(server)
    const token = readFileSync(join(folder, 'data', 'admin-token'), 'utf8').trim()
    const remote = { COATCHECK_URL: url, COATCHECK_TOKEN: token }
    expect(JSON.parse((await coatcheck(['secret', 'get', 'openai', '--json'], '', remote)).stdout)).toEqual(secret)
    expect((await coatcheck(['secret', 'rotate', 'openai', '--value-stdin'], `${CANARY}-2`, remote)).code).toBe(0)
    expect((await coatcheck(['secret', 'get', 'nope'], '', remote)).code).toBe(1)
    expect((await coatcheck(['secret', 'list'], '', { ...remote, COATCHECK_TOKEN: sandbox.token })).code).toBe(1)
    expect((await coatcheck(['audit', 'verify'], '', remote)).stdout).toMatch(/^The audit log verifies/)
    expect(printed).not.toContain(token)
  } finally {
    server.kill('SIGTERM')
    await ended
  }

  const audit = await coatcheck(['audit', 'export'])
  expect(audit.stdout).toContain('"action":"secret.create"')
  expect(printed).not.toContain(CANARY)
  for (const file of filesIn(folder)) expect(readFileSync(file).includes(CANARY), file).toBe(false)
})
