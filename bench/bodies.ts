/**
 * `node bench/bodies.ts [--quick]`, or `npm run bench -- --bodies`: what looking at bodies, placing values in them, and
 * HTTP/2 from the sandbox cost. Everything it starts is stopped and everything it writes is removed, whatever happens.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { placementSpeeds, scanSpeeds } from './body-speed.ts'
import { type CertificateFiles, HOST, writeCertificates } from './certificates.ts'
import { CAN_PIN, Child } from './child.ts'
import { type Coatcheck, startCoatcheck } from './coatcheck.ts'
import { freePorts } from './free-ports.ts'
import { type Load, type LoadCost, runLoad } from './load.ts'
import { CAN_READ_COST, highestResidentMiB, residentMiB } from './process-cost.ts'
import { columns, short } from './table.ts'

type Row = Readonly<Record<string, number>>
type Rows = Readonly<Record<string, Row>>

interface Lengths {
  readonly speedSecs: number
  readonly uploadBytes: number
  readonly warmUpSecs: number
  readonly secs: number
  readonly rounds: number
}

interface Ports {
  readonly h1: number
  readonly h2: number
}

interface Parts {
  readonly proxy: Coatcheck
  readonly ports: Ports
  readonly lengths: Lengths
}

const FULL: Lengths = { speedSecs: 0.7, uploadBytes: 1024 ** 3, warmUpSecs: 4, secs: 2.5, rounds: 3 }
const QUICK: Lengths = { speedSecs: 0.15, uploadBytes: 128 * 1024 ** 2, warmUpSecs: 1.5, secs: 1.2, rounds: 1 }
const FIRST_BODY = 32 * 1024 ** 2
const AT_ONCE = 32
const MICROSECONDS = 1e6
const PROTOCOLS = ['http/1.1', 'h2'] as const

/** Prints one JSON line on standard output and tables on standard error. */
export async function runBodies(quick: boolean): Promise<void> {
  const lengths = quick ? QUICK : FULL
  const scan = withRatios(await scanSpeeds(lengths.speedSecs))
  const placement = asRows(await placementSpeeds(lengths.speedSecs))
  const { upload, protocols } = await withProxy(lengths, async (parts) => ({
    upload: await largeUploads(parts),
    protocols: await compareProtocols(parts),
  }))
  const tables = { scan, placement, upload, protocols }
  for (const [name, rows] of Object.entries(tables)) say(formatRows(HEADINGS[name] ?? name, rows))
  const setup = { cores: availableParallelism(), pinned: CAN_PIN, node: process.versions.node }
  process.stdout.write(`${JSON.stringify({ bench: 'coatcheck bodies', setup, ...tables }, rounded)}\n`)
}

const HEADINGS: Readonly<Record<string, string>> = {
  scan: 'looking for placeholders, encoded ones too, in chunks of 64 KiB; ratio to one search for six bytes',
  placement: 'placing values in a body of 4 MiB, in chunks of 64 KiB',
  upload: 'one large chunked upload: a value placed at its end, and a type in which none is',
  protocols: `the same released request, ${AT_ONCE} at a time: sandbox to upstream; ratio to HTTP/1.1 on both sides`,
}

async function withProxy<T>(lengths: Lengths, work: (parts: Parts) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-bodies-'))
  const children: Child[] = []
  const stop = async () => {
    for (const child of children.splice(0).reverse()) await child.stop()
    await rm(dir, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void stop().then(() => process.exit(1)))
  try {
    const files = await writeCertificates(dir)
    const [h1, h2] = (await freePorts(2)) as [number, number]
    children.push(startOrigin(files, h1, []), startOrigin(files, h2, ['--h2']))
    await Promise.all([children[0]?.listening(h1), children[1]?.listening(h2)])
    const proxy = await startCoatcheck({
      dir,
      name: 'coatcheck',
      originCa: files.ca,
      originPorts: [h1, h2],
      sinks: ['stdout'],
      profileDir: null,
      placements: ['credential-headers', 'body'],
    })
    children.push(proxy.child)
    return await work({ proxy, ports: { h1, h2 }, lengths })
  } finally {
    await stop()
  }
}

function startOrigin(files: CertificateFiles, port: number, more: readonly string[]): Child {
  const args = ['--port', String(port), '--cert', files.cert, '--key', files.key, ...more]
  return Child.start({ command: [process.execPath, pathOf('bodies-origin'), ...args], measured: false })
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(`./${name}.ts`, import.meta.url))
}

/** Of the client, `more` are the options that other clients do not have. */
function load({ proxy }: Parts, port: number, header: string, more: readonly string[], load: Load): Promise<LoadCost> {
  const client = [process.execPath, pathOf('bodies-client'), ...more] as [string, ...string[]]
  const identity = { address: proxy.address, identity: proxy.identity }
  const to = { target: `${HOST}:${port}`, ca: proxy.ca, proxy: identity, headers: [header], pid: proxy.child.pid }
  return runLoad({ nginx: false, compiled: false, client, sink: client }, to, load)
}

/** The same bytes as text, in which a value is placed, and as a type in which none ever is. */
async function largeUploads(parts: Parts): Promise<Rows> {
  const passed = await largeUpload(parts, 'application/octet-stream', 0)
  const placed = await largeUpload(parts, 'text/plain', parts.proxy.valueBytes - parts.proxy.placeholder.length)
  const cpuRatio = (placed['cpuPerMibUs'] ?? Number.NaN) / (passed['cpuPerMibUs'] ?? Number.NaN)
  return { passed: { cpuRatio: 1, ...passed }, placed: { cpuRatio, ...placed } }
}

/** A small body goes first, so that what remains to grow is what grows with the size; `grows` is by how many bytes. */
async function largeUpload(parts: Parts, contentType: string, grows: number): Promise<Row> {
  const { proxy, ports, lengths } = parts
  const upload = (bytes: number) => {
    const options = ['--tail', proxy.placeholder, '--expect', String(bytes + proxy.placeholder.length + grows)]
    const what = { mode: 'ka', connections: 1, count: 1, upload: bytes } as const
    return load(parts, ports.h1, `Content-Type: ${contentType}`, options, what)
  }
  await upload(FIRST_BODY)
  const before = residentMiB(proxy.child.pid)
  const { result, max } = await highestResidentMiB(proxy.child.pid, () => upload(lengths.uploadBytes))
  const mib = lengths.uploadBytes / 1024 ** 2
  const memory = { rssBeforeMiB: before, rssMaxMiB: max, rssAfterMiB: residentMiB(proxy.child.pid) }
  return {
    mib,
    mibPerSecond: mib / result.figures.seconds,
    ...(CAN_READ_COST && { cpuPerMibUs: (result.cpu / mib) * MICROSECONDS, ...memory }),
  }
}

/** Ratios are taken within a round; the median of the rounds counts. */
async function compareProtocols(parts: Parts): Promise<Rows> {
  const { proxy, ports, lengths } = parts
  const one = (protocol: (typeof PROTOCOLS)[number], port: number, secs: number) =>
    load(parts, port, `Authorization: Bearer ${proxy.placeholder}`, ['--protocol', protocol], {
      mode: 'ka',
      connections: AT_ONCE,
      secs,
    })
  for (const port of [ports.h1, ports.h2]) {
    for (const protocol of PROTOCOLS) await one(protocol, port, lengths.warmUpSecs / 4)
  }
  const collected = new Map<string, { cpu: number[]; ratio: number[]; rate: number[] }>()
  for (let round = 0; round < lengths.rounds; round++) {
    let base = Number.NaN
    for (const upstream of ['h1', 'h2'] as const) {
      for (const protocol of PROTOCOLS) {
        const { figures, cpu } = await one(protocol, ports[upstream], lengths.secs)
        const perRequest = (cpu / figures.total) * MICROSECONDS
        if (Number.isNaN(base)) base = perRequest
        const name = `${protocol === 'h2' ? 'h2' : 'h1'} to ${upstream}`
        const row = collected.get(name) ?? { cpu: [], ratio: [], rate: [] }
        row.cpu.push(perRequest)
        row.ratio.push(perRequest / base)
        row.rate.push(figures.perSecond)
        collected.set(name, row)
      }
    }
  }
  const rows = [...collected].map(([name, { cpu, ratio, rate }]) => {
    const costs = { cpuRatio: median(ratio), cpuPerRequestUs: median(cpu) }
    return [name, { ...(CAN_READ_COST && costs), requestsPerSecond: median(rate) }] as const
  })
  return Object.fromEntries(rows)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function asRows(speeds: Readonly<Record<string, number>>): Rows {
  return Object.fromEntries(Object.entries(speeds).map(([name, gbPerSecond]) => [name, { gbPerSecond }]))
}

/** Of each speed to that of one search of the same bytes. */
function withRatios(speeds: Readonly<Record<string, number>>): Rows {
  const rows = Object.entries(speeds).map(([name, gbPerSecond]) => {
    const search = speeds[`${name} (one search)`] ?? gbPerSecond
    return [name, { gbPerSecond, ratio: gbPerSecond / search }] as const
  })
  return Object.fromEntries(rows)
}

function formatRows(heading: string, rows: Rows): string {
  const names = [...new Set(Object.values(rows).flatMap((row) => Object.keys(row)))]
  const lines = Object.entries(rows).map(([name, row]) => [
    name,
    ...names.map((each) => short(row[each] ?? Number.NaN)),
  ])
  return `\n${heading}\n${columns([['', ...names], ...lines])}`
}

/** Four digits say all that such figures know. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(4)) : value
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  await runBodies(values.quick)
}
