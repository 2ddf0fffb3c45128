/** Processes of the bench: each on its core, each stopped at the end whatever happens. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { availableParallelism } from 'node:os'

export interface ChildOptions {
  readonly command: readonly [string, ...string[]]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** What is measured has a core of its own; everything else shares the other one. */
  readonly measured: boolean
  readonly stdin?: 'pipe' | 'ignore'
  readonly stdout?: 'pipe' | 'ignore'
}

/** Where what is measured runs, and where everything else does. */
export const MEASURED_CORE = 0
const OTHER_CORE = 1

const STOP_MS = 5_000
const START_MS = 15_000
const POLL_MS = 20

/** True when processes can be bound to cores and there are at least two. */
export const CAN_PIN =
  availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true'], { stdio: 'ignore' }).status === 0

export class Child {
  readonly process: ChildProcess
  #errors = ''

  private constructor(process: ChildProcess) {
    this.process = process
    process.stderr?.on('data', (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-2_000)
    })
  }

  static start({ command, env, cwd, measured, stdin = 'ignore', stdout = 'ignore' }: ChildOptions): Child {
    const pinned = CAN_PIN ? ['taskset', '-c', String(measured ? MEASURED_CORE : OTHER_CORE), ...command] : command
    const [program, ...args] = pinned as [string, ...string[]]
    return new Child(spawn(program, args, { env: env ?? process.env, cwd, stdio: [stdin, stdout, 'pipe'] }))
  }

  get pid(): number {
    return this.process.pid ?? 0
  }

  /** The end of what it wrote to standard error. */
  get errors(): string {
    return this.#errors
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  /** Waits until something listens on each of these ports of 127.0.0.1. Throws when the process ends first. */
  async listening(...ports: readonly number[]): Promise<void> {
    const deadline = performance.now() + START_MS
    for (const port of ports) {
      while (!(await accepts(port))) {
        if (this.ended || performance.now() > deadline) {
          throw new Error(`${this.process.spawnargs.join(' ')} does not listen on ${port}\n${this.#errors}`)
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    }
  }

  /** Asks it to end, and ends it when it does not. */
  async stop(): Promise<void> {
    if (this.ended) return
    const exit = once(this.process, 'exit')
    const deadline = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS)
    this.process.kill('SIGTERM')
    await exit
    clearTimeout(deadline)
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
