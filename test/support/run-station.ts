/**
 * `coatcheck run` as a person starts it: a real process with its own data directory and temporary folder, an upstream its
 * private proxy may dial, and every byte that was printed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bare, echo, type Finished, finish } from './client-sandbox.ts'
import { assertNoLeak, canary } from './leak-check.ts'
import { RecordingUpstream } from './recording-upstream.ts'
import { TestAuthority } from './test-authority.ts'

export const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts')

export interface Started {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  /** Resolves once standard output holds the text. */
  printed(text: string): Promise<void>
}

export class RunStation {
  readonly value = canary('run')
  readonly authority: TestAuthority
  readonly upstream: RecordingUpstream
  readonly folder: string
  readonly temporary: string
  readonly #seen: string[] = []

  private constructor(authority: TestAuthority, upstream: RecordingUpstream, folder: string) {
    this.authority = authority
    this.upstream = upstream
    this.folder = folder
    this.temporary = join(folder, 'tmp')
  }

  /** With the secret `openai`, whose value is the canary, for api.test. */
  static async create(): Promise<RunStation> {
    const authority = await TestAuthority.create()
    const upstream = await RecordingUpstream.start({ authority, answer: echo })
    const station = new RunStation(authority, upstream, await mkdtemp(join(tmpdir(), 'coatcheck-run-')))
    await mkdir(station.temporary)
    const create = ['secret', 'create', 'openai', '--hosts', 'api.test', '--value-stdin']
    const { code, stderr } = await station.coatcheck(create, station.value)
    if (code !== 0) throw new Error(`the secret was not created: ${stderr}`)
    return station
  }

  get url(): string {
    return `https://api.test:${this.upstream.port}`
  }

  /** Everything that `coatcheck` itself is configured with here. */
  get env(): Record<string, string> {
    return {
      ...bare(this.folder),
      TMPDIR: this.temporary,
      COATCHECK_DATADIR: join(this.folder, 'data'),
      COATCHECK_UPSTREAM_EXTRACA: this.authority.caFile,
      COATCHECK_UPSTREAM_RESOLVE: JSON.stringify({ 'api.test': '127.0.0.1' }),
      COATCHECK_EGRESS_PRIVATEADDRESSES: '["127.0.0.0/8"]',
      COATCHECK_EGRESS_PORTS: JSON.stringify([443, this.upstream.port]),
      COATCHECK_TOKEN: 'not for the command',
    }
  }

  async coatcheck(argv: readonly string[], stdin = ''): Promise<Finished> {
    const { child, finished } = this.start(process.execPath, [MAIN, ...argv])
    child.stdin?.end(stdin)
    return await finished
  }

  /** `run` with the secret mounted as API_KEY. */
  run(...command: readonly string[]): Promise<Finished> {
    return this.coatcheck(['run', '--mount', 'API_KEY=openai', '--', ...command])
  }

  /** Any program in this environment; its standard input stays open. */
  start(program: string, args: readonly string[]): Started {
    const child = spawn(program, args, { cwd: this.folder, env: this.env })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    const finished = finish(child).then((result) => {
      this.#seen.push(result.stdout, result.stderr)
      return result
    })
    const printed = async (wanted: string): Promise<void> => {
      const over = finished.then(({ stdout, stderr }) => {
        if (!stdout.includes(wanted)) throw new Error(`it ended without "${wanted}": ${stdout}${stderr}`)
      })
      const arrived = new Promise<void>((resolve) => {
        const look = () => text.includes(wanted) && resolve()
        look()
        child.stdout.on('data', look)
      })
      await Promise.race([over, arrived])
    }
    return { child, finished, printed }
  }

  /** Removes everything and looks for the canary in what was printed and in every file. */
  async remove(): Promise<void> {
    await this.upstream.stop()
    await this.authority.remove()
    const files: Record<string, Buffer> = {}
    for (const entry of await readdir(this.folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) files[path] = await readFile(path)
    }
    await rm(this.folder, { recursive: true, force: true })
    assertNoLeak(this.value, { ...files, 'what was printed': this.#seen.join('') })
  }
}
