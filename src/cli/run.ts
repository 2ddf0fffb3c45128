/**
 * `coatcheck run`: one command behind a private proxy, with placeholders where its secrets would be. The sandbox lives as
 * long as the command; the exit code is the command's own. Works without a server and without configuration: a secret
 * that does not exist yet is asked for once and stored.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { constants } from 'node:os'
import type { SandboxCredentials } from '../api/contract/sandboxes.ts'
import { App } from '../app.ts'
import { loadSettings } from '../config.ts'
import { segment } from './command.ts'
import type { CliIo, RunOptions } from './io.ts'
import { ensureSecret, type Mount, parseMount } from './mount.ts'
import { note } from './output.ts'
import { Session } from './session.ts'

/** Passed on to the command. */
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const
/** A terminal sends these to the command itself; without one they are passed on too. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const
/** End the program when they come before there is a command to pass them to. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT']

export async function run(options: RunOptions, io: CliIo): Promise<number> {
  const mounts = options.mounts.map(parseMount)
  const { env } = io
  const level = env['COATCHECK_LOG_LEVEL'] ?? 'error'
  const overrides = { 'log.level': level, 'proxy.listen': '127.0.0.1:0', 'proxy.identity': 'required' }
  const settings = loadSettings({ file: options.config, env, overrides })
  const app = await App.start({ settings, env, exportDir: null, ship: false, listen: { proxy: true, api: false } })
  const api = app.localApi()
  const session = new Session({ request: (...given) => api.request(...given), close: () => api.close() })
  try {
    for (const mount of mounts) await ensureSecret(session, mount, io)
    // Taken before there is a sandbox, so that no signal leaves one behind.
    using signals = new Signals(io.stdin.isTTY === true)
    const sandbox = await createSandbox(session, mounts)
    try {
      const given = childEnvironment(env, settings.keyring.source, sandbox.env)
      return await runCommand(options.command, given, signals, io)
    } finally {
      await session.call('DELETE', `/v1/sandboxes/${segment(sandbox.id)}`)
    }
  } finally {
    await api.close()
    await app.close(0)
  }
}

async function createSandbox(session: Session, mounts: readonly Mount[]): Promise<SandboxCredentials> {
  const name = `run-${randomBytes(4).toString('hex')}`
  const byEnv = Object.fromEntries(mounts.map((mount) => [mount.env, mount.secret]))
  return await session.call<SandboxCredentials>('POST', '/v1/sandboxes', { name, mounts: byEnv })
}

/** What the caller has, less whatever opens our store, plus placeholders, proxy and trust. */
function childEnvironment(
  own: CliIo['env'],
  keyringSource: string,
  given: Readonly<Record<string, string>>,
): Record<string, string | undefined> {
  const keyVariable = keyringSource.startsWith('env:') ? keyringSource.slice('env:'.length) : null
  const kept = Object.entries(own).filter(([name]) => !name.startsWith('COATCHECK_') && name !== keyVariable)
  return { ...Object.fromEntries(kept), ...given }
}

/** Resolves with the command's exit code; 128 + signal when a signal ended it, 127 or 126 when it could not start. */
async function runCommand(
  command: readonly string[],
  env: Record<string, string | undefined>,
  signals: Signals,
  io: CliIo,
): Promise<number> {
  if (signals.pending !== null) return 128 + constants.signals[signals.pending]
  const [file = '', ...args] = command
  const child = spawn(file, args, { stdio: 'inherit', env })
  signals.passTo(child)
  return await new Promise<number>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT'
      void note(io, `coatcheck: ${file}: ${missing ? 'no such command' : 'cannot be run'}`)
      resolve(missing ? 127 : 126)
    })
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal as NodeJS.Signals]))
  })
}

/** While it is in use, signals are for the command; we end when it does. */
class Signals {
  /** The first that would have ended us while there was no command yet. */
  pending: NodeJS.Signals | null = null
  readonly #onTerminal: boolean
  #child: ChildProcess | null = null

  constructor(onTerminal: boolean) {
    this.#onTerminal = onTerminal
    for (const signal of [...FORWARDED, ...FROM_TERMINAL]) process.on(signal, this.#take)
  }

  passTo(child: ChildProcess): void {
    this.#child = child
  }

  [Symbol.dispose](): void {
    for (const signal of [...FORWARDED, ...FROM_TERMINAL]) process.off(signal, this.#take)
  }

  readonly #take = (signal: NodeJS.Signals): void => {
    if (this.#child === null) {
      if (ENDING.includes(signal)) this.pending ??= signal
    } else if (!this.#onTerminal || !(FROM_TERMINAL as readonly string[]).includes(signal)) {
      this.#child.kill(signal)
    }
  }
}
