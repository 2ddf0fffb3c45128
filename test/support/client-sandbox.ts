/**
 * A sandbox with real programs in it: each runs with the environment that creating a sandbox gives, a PATH and an empty
 * home, and nothing else of this machine. What it prints, is given and leaves behind is what the sandbox saw.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { describe } from 'vitest'
import type { SandboxCredentials } from '../../src/api/contract/sandboxes.ts'
import type { Rig } from './rig.ts'

export interface Finished {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly stdin?: string | Buffer
  /** On top of the sandbox's: what the client needs beyond it, and so a fact for the docs. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

const GIVEN_UP_MS = 60_000

export class ClientSandbox {
  /** Exactly what `POST /v1/sandboxes` answered as `env`. */
  readonly env: Readonly<Record<string, string>>
  readonly name: string
  readonly token: string
  readonly home: string
  readonly #rig: Rig

  private constructor(rig: Rig, home: string, { env, name, token }: SandboxCredentials) {
    this.#rig = rig
    this.home = home
    this.env = env
    this.name = name
    this.token = token
  }

  /** Mounts environment variables -> secret names; the rig's secret as API_KEY unless told otherwise. */
  static async create(rig: Rig, mounts: Readonly<Record<string, string>> = { API_KEY: 'openai' }) {
    const name = `client-${crypto.randomUUID().slice(0, 8)}`
    const api = rig.app.localApi()
    const answer = await api.request('POST', '/v1/sandboxes', { name, mounts })
    await api.close()
    if (answer.status !== 201) throw new Error(`the API answered ${answer.status}`)
    const home = await mkdtemp(join(tmpdir(), 'coatcheck-client-'))
    return new ClientSandbox(rig, home, JSON.parse(answer.body) as SandboxCredentials)
  }

  /** The rig's value as this sandbox knows it. */
  get placeholder(): string {
    return this.env['API_KEY'] as string
  }

  async run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const env = { ...bare(this.home), ...this.env, ...options.env }
    this.#rig.seen.push(Buffer.from(JSON.stringify(env)))
    const child = spawn(program, args, { env, cwd: options.cwd ?? this.home, timeout: GIVEN_UP_MS })
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.stdin)
    const finished = await finish(child)
    this.#rig.seen.push(Buffer.from(finished.stdout), Buffer.from(finished.stderr))
    return finished
  }

  /** Adds what the programs left in their home to what the sandbox saw. */
  async remove(): Promise<void> {
    for (const entry of await readdir(this.home, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) this.#rig.seen.push(await readFile(join(entry.parentPath, entry.name)))
    }
    await rm(this.home, { recursive: true, force: true })
  }
}

/** What any program needs to start. */
export function bare(home: string): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: home, LANG: 'C.UTF-8' }
}

/** Everything a child printed, once it is over. */
export async function finish(child: ChildProcess): Promise<Finished> {
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return { code, stdout: Buffer.concat(stdout).toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') }
}

/** An upstream that tells its client everything it must not see: masking turns it back. */
export const echo: RequestListener = (request, response) => {
  request.once('end', () => {
    const { authorization = null, 'x-api-key': apiKey = null } = request.headers
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ authorization, apiKey }))
  })
  request.resume()
}

/** Why this machine cannot run the program; null when it can. */
export function lacks(program: string): string | null {
  const found = (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  return found ? null : `this machine has no ${program}`
}

/** The tests of one client, skipped under a name that says why when the machine lacks it. */
export function describeClient(name: string, missing: string | null, tests: () => void): void {
  if (missing === null) describe(name, tests)
  else describe.skip(`${name} (skipped: ${missing})`, tests)
}
