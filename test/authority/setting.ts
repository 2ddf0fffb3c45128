/** What the authority's tests stand on: a directory of their own, an origin behind a leaf context, and real programs. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SecureContext, TLSSocket } from 'node:tls'
import { onTestFinished } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'

export const KEY = 'authority.key.pem'
export const CERTIFICATE = 'authority.cert.pem'
export const NOW = Date.parse('2026-11-20T12:00:00Z')
export const YEAR = 365.25 * 86_400_000

/** Removed when the test has finished. */
export async function temporaryDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-authority-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

export function openAt(dir: string, now = NOW): Promise<Authority> {
  return Authority.open({ dir, clock: () => now })
}

/** A data directory with a fresh authority in it. */
export async function createdAuthority(): Promise<string> {
  const dir = join(await temporaryDirectory(), 'data')
  await openAt(dir)
  return dir
}

/** File name -> bytes, as latin1. */
export async function contents(dir: string): Promise<Record<string, string>> {
  const entries = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isFile())
  return Object.fromEntries(
    await Promise.all(entries.map(async ({ name }) => [name, await readFile(join(dir, name), 'latin1')] as const)),
  )
}

/** TLS is ended as the proxy ends it; every request is answered by `handler`. Resolves to the port on 127.0.0.1. */
export async function serveTls(secureContext: SecureContext, handler: RequestListener = greet): Promise<number> {
  const inner = createHttpServer(handler)
  const server = createServer((socket) => {
    const secure = new TLSSocket(socket, { isServer: true, secureContext })
    secure.on('error', () => socket.destroy())
    inner.emit('connection', secure)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    inner.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const greet: RequestListener = (_request, response) => {
  response.setHeader('connection', 'close')
  response.end('hello')
}

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program without this machine's trust and proxy variables and with no input. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly cwd?: string } = {},
): Promise<Outcome> {
  const env = { ...withoutTrust(), ...options.env }
  return new Promise((resolve) => {
    const child = execFile(program, args, { env, cwd: options.cwd, timeout: 150_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, stdout, stderr })
    })
    // A program that has already ended takes no end of input either.
    child.stdin?.on('error', () => undefined).end()
  })
}

/** Whether the program starts at all; for `it.skipIf`. */
export function has(program: string, versionFlag = '--version'): boolean {
  try {
    execFileSync(program, [versionFlag], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function withoutTrust(): Record<string, string | undefined> {
  const isTrust = /^(SSL_|.*_CA_|.*CA_BUNDLE|.*CAINFO|.*CERT|.*_proxy$|JAVA_TOOL_OPTIONS|NODE_OPTIONS)/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isTrust.test(name)))
}
