/** The programs a run can use: nginx where it is installed, the C load generator where a compiler and OpenSSL are. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Tools {
  readonly nginx: boolean
  /** Programs to put before the options; the Node ones are slower than what they measure. */
  readonly client: readonly [string, ...string[]]
  readonly sink: readonly [string, ...string[]]
  readonly compiled: boolean
}

const SOURCES = fileURLToPath(new URL('./loadgen/', import.meta.url))
const BUILD = fileURLToPath(new URL('./build/', import.meta.url))
const SHARED = ['framing.h', 'options.h', 'figures.h']

export function findTools(): Tools {
  const nginx = spawnSync('nginx', ['-v'], { stdio: 'ignore' }).status === 0
  const compiled = build('client') && build('sink')
  if (compiled) return { nginx, compiled, client: [`${BUILD}client`], sink: [`${BUILD}sink`] }
  const node = (name: string): [string, string] => [
    process.execPath,
    fileURLToPath(new URL(`./${name}.ts`, import.meta.url)),
  ]
  return { nginx, compiled, client: node('node-client'), sink: node('node-origin') }
}

/** True when the program is there and newer than its sources, after compiling it where needed. */
function build(name: string): boolean {
  const sources = [`${name}.c`, ...SHARED].map((file) => SOURCES + file)
  const built = modified(BUILD + name)
  if (built > Math.max(...sources.map(modified))) return true
  mkdirSync(BUILD, { recursive: true })
  const args = ['-O2', '-o', BUILD + name, `${SOURCES}${name}.c`, '-lssl', '-lcrypto']
  return spawnSync('gcc', args, { stdio: 'ignore' }).status === 0
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
