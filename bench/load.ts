/** Runs the load generator against one subject, and charges the CPU used meanwhile to what is measured. */
import { once } from 'node:events'
import { Child, MEASURED_CORE } from './child.ts'
import { coreBusySeconds, cpuSeconds } from './process-cost.ts'
import type { Tools } from './tools.ts'

/** Where requests of one kind go. */
export interface LoadTarget {
  /** `host:port`, also the Host field. */
  readonly target: string
  /** Who the client trusts. */
  readonly ca: string
  /** Null: the connection goes straight to the target's port. */
  readonly proxy: { readonly address: string; readonly identity: string } | null
  readonly headers: readonly string[]
}

export interface Load {
  readonly mode: 'ka' | 'new' | 'idle'
  readonly connections: number
  readonly secs?: number
  /** Instead of seconds. */
  readonly count?: number
  readonly path?: string
  readonly upload?: number
}

/** What the load generator prints. */
export interface LoadFigures {
  readonly total: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly handshakeP50Ms: number
  readonly seconds: number
  readonly bytes: number
  readonly open: number
  readonly errors: number
  readonly refused: number
  readonly firstError: string
}

const WARM_SECS = 0.4
const LONGEST_MS = 60_000

export interface LoadCost {
  readonly figures: LoadFigures
  /** Seconds of CPU of the tree under `to.pid`. */
  readonly cpu: number
  /** Share of the measured core that other programs took meanwhile: above a tenth, look at the figures with doubt. */
  readonly othersShare: number
}

/** Throws when any request failed. */
export async function runLoad(tools: Tools, to: LoadTarget & { readonly pid: number }, load: Load): Promise<LoadCost> {
  const before = { cpu: cpuSeconds(to.pid), busy: coreBusySeconds(MEASURED_CORE), at: performance.now() }
  const figures = await run(tools, to, load, async () => {})
  const cpu = cpuSeconds(to.pid) - before.cpu
  const others = coreBusySeconds(MEASURED_CORE) - before.busy - cpu
  return { figures, cpu, othersShare: Math.max(0, others / ((performance.now() - before.at) / 1000)) }
}

/** Opens connections that stay, calls `whileOpen`, and closes them. */
export async function holdOpen(
  tools: Tools,
  to: LoadTarget,
  connections: number,
  whileOpen: () => Promise<void>,
): Promise<void> {
  await run(tools, to, { mode: 'idle', connections }, whileOpen)
}

async function run(tools: Tools, to: LoadTarget, load: Load, onFigures: () => Promise<void>): Promise<LoadFigures> {
  const command: [string, ...string[]] = [...tools.client, ...argumentsFor(to, load)]
  const child = Child.start({ command, measured: false, stdin: 'pipe', stdout: 'pipe' })
  const timeout = setTimeout(() => child.process.kill('SIGKILL'), LONGEST_MS)
  try {
    const ended = once(child.process, 'exit')
    const figures = await firstLine(child)
    if (figures.errors + figures.refused > 0) {
      throw new Error(`${figures.errors} errors, ${figures.refused} refusals; the first: ${figures.firstError}`)
    }
    await onFigures()
    child.process.stdin?.end()
    await ended
    return figures
  } finally {
    clearTimeout(timeout)
    await child.stop()
  }
}

function argumentsFor(to: LoadTarget, load: Load): string[] {
  const options: Record<string, string | number> = {
    '--target': to.target,
    '--ca': to.ca,
    '--mode': load.mode,
    '--connections': load.connections,
    '--path': load.path ?? '/v1/models',
    '--warm': WARM_SECS,
    ...(load.secs !== undefined && { '--secs': load.secs }),
    ...(load.count !== undefined && { '--count': load.count }),
    ...(load.upload !== undefined && { '--upload': load.upload }),
    ...(to.proxy !== null && { '--proxy': to.proxy.address, '--connect-header': to.proxy.identity }),
  }
  const headers = to.headers.flatMap((header) => ['--header', header])
  return [...Object.entries(options).flatMap(([name, value]) => [name, String(value)]), ...headers]
}

async function firstLine(child: Child): Promise<LoadFigures> {
  let text = ''
  for await (const chunk of child.process.stdout ?? []) {
    text += String(chunk)
    if (text.endsWith('\n')) return JSON.parse(text) as LoadFigures
  }
  throw new Error(`the load generator printed nothing\n${child.errors}`)
}
