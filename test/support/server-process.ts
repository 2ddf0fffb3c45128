/** The program as its own process, on a data directory that outlives it: started, killed and asked from outside. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'

const MAIN = join(import.meta.dirname, '../../src/main.ts')
const run = promisify(execFile)

export class ServerProcess {
  /** Working directory; the data is in `data`. */
  readonly folder: string
  /** What it printed, on both streams, over all starts. */
  printed = ''
  #env: NodeJS.ProcessEnv
  #child: ChildProcess | null = null
  #proxyPort = 0

  private constructor(folder: string) {
    this.folder = folder
    // Nothing of this machine's own: it presets trust and proxy variables.
    this.#env = {
      PATH: process.env['PATH'],
      HOME: folder,
      COATCHECK_DATADIR: join(folder, 'data'),
      COATCHECK_PROXY_LISTEN: '127.0.0.1:0',
      COATCHECK_API_LISTEN: '127.0.0.1:0',
    }
  }

  static async prepare(settings: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    const server = new ServerProcess(await mkdtemp(join(tmpdir(), 'coatcheck-server-')))
    Object.assign(server.#env, settings)
    return server
  }

  get databaseFile(): string {
    return join(this.folder, 'data', 'coatcheck.db')
  }

  get proxyPort(): number {
    return this.#proxyPort
  }

  /** Resolves once it says where its proxy listens; rejects when it ends before. */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [MAIN, 'serve'], { cwd: this.folder, env: this.#env, stdio: 'pipe' })
    this.#child = child
    const from = this.printed.length
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('latin1').on('data', (text: string) => {
        this.printed += text
      })
    }
    for (;;) {
      const port = /^proxy +http:\/\/127\.0\.0\.1:(\d+)$/m.exec(this.printed.slice(from))?.[1]
      if (port !== undefined) {
        this.#proxyPort = Number(port)
        return
      }
      const ended = await Promise.race([
        once(child.stdout, 'data').then(() => false),
        once(child.stderr, 'data').then(() => false),
        once(child, 'exit').then(() => true),
      ])
      if (ended) throw new Error(`the server ended: ${this.printed.slice(from)}`)
    }
  }

  /** For one that it lives on with. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Ends it; resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** Runs another command of the program on the same data; resolves with what `--json` printed, rejects when it fails. */
  async command(args: readonly string[], input = ''): Promise<unknown> {
    const pending = run(process.execPath, [MAIN, ...args, '--json'], { cwd: this.folder, env: this.#env })
    pending.child.stdin?.end(input)
    return JSON.parse((await pending).stdout) as unknown
  }

  /** Every file it left, by its path in the folder. */
  async files(): Promise<Record<string, Buffer>> {
    const files: Record<string, Buffer> = {}
    for (const entry of await readdir(this.folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) files[relative(this.folder, path)] = await readFile(path)
    }
    return files
  }

  async remove(): Promise<void> {
    await this.kill()
    await rm(this.folder, { recursive: true, force: true })
  }
}
