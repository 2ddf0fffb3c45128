/** The proxy under measurement: the real command line, a data directory of its own, defaults wherever they can be. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HOST } from './certificates.ts'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'

export interface CoatcheckOptions {
  readonly dir: string
  readonly name: string
  readonly originCa: string
  readonly originPorts: readonly number[]
  /** `audit.sinks`; standard output goes nowhere, but is written. */
  readonly sinks: readonly string[]
  readonly profileDir: string | null
  /** Where the value may be put; the usual places when left out. */
  readonly placements?: readonly string[]
}

export interface Coatcheck {
  readonly child: Child
  /** `127.0.0.1:port`. */
  readonly address: string
  /** What a client trusts. */
  readonly ca: string
  /** Field of the CONNECT that says who the sandbox is. */
  readonly identity: string
  readonly placeholder: string
  /** Length of the value behind it. */
  readonly valueBytes: number
}

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

/** Variables that change whom Node trusts or how it runs stay outside. */
function environment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', ...settings }
}

export async function startCoatcheck(options: CoatcheckOptions): Promise<Coatcheck> {
  const home = join(options.dir, options.name)
  await mkdir(home, { recursive: true })
  const [port, apiPort] = (await freePorts(2)) as [number, number]
  const env = environment({
    COATCHECK_DATADIR: join(home, 'data'),
    COATCHECK_PROXY_LISTEN: `127.0.0.1:${port}`,
    COATCHECK_API_LISTEN: `127.0.0.1:${apiPort}`,
    COATCHECK_UPSTREAM_EXTRACA: options.originCa,
    COATCHECK_UPSTREAM_RESOLVE: JSON.stringify({ [HOST]: '127.0.0.1' }),
    COATCHECK_EGRESS_PRIVATEADDRESSES: '["127.0.0.0/8"]',
    COATCHECK_EGRESS_PORTS: JSON.stringify(options.originPorts),
    COATCHECK_AUDIT_DURABILITY: 'full',
    COATCHECK_AUDIT_SINKS: JSON.stringify(options.sinks),
  })
  const value = `sk-bench-${randomBytes(24).toString('hex')}`
  const placements = (options.placements ?? []).flatMap((placement) => ['--placement', placement])
  const secretArgs = ['secret', 'create', 'bench', '--hosts', HOST, '--value-stdin', '--json', ...placements]
  const secret = await command<{ placeholder: string }>(home, env, secretArgs, value)
  const sandboxArgs = ['sandbox', 'create', 'bench', '--mount', 'API_KEY=bench', '--json']
  const sandbox = await command<{ name: string; token: string }>(home, env, sandboxArgs, '')
  const profile =
    options.profileDir === null
      ? []
      : ['--cpu-prof', '--cpu-prof-interval', '250', '--cpu-prof-dir', options.profileDir]
  const child = Child.start({
    command: [process.execPath, ...profile, MAIN, 'serve'],
    env,
    cwd: home,
    measured: true,
  })
  await child.listening(port, apiPort)
  const credentials = Buffer.from(`${sandbox.name}:${sandbox.token}`).toString('base64')
  return {
    child,
    address: `127.0.0.1:${port}`,
    ca: join(home, 'data/trust/coatcheck-ca.pem'),
    identity: `Proxy-Authorization: Basic ${credentials}`,
    placeholder: secret.placeholder,
    valueBytes: value.length,
  }
}

/** Runs one command on the data directory and reads its JSON. */
function command<T>(cwd: string, env: Record<string, string>, args: readonly string[], input: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      { cwd, env, timeout: 20_000 },
      (error, out, complaint) => {
        if (error === null) resolve(JSON.parse(out) as T)
        else reject(new Error(`coatcheck ${args.slice(0, 2).join(' ')}: ${complaint}`))
      },
    )
    child.stdin?.end(input)
  })
}
