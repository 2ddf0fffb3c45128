/** What is compared, each way from the client to the same origins. */
import { type CertificateFiles, HOST } from './certificates.ts'
import type { Child } from './child.ts'
import { type Coatcheck, startCoatcheck } from './coatcheck.ts'
import { freePorts } from './free-ports.ts'
import type { LoadTarget } from './load.ts'
import { reverseProxyConfiguration, startNginx } from './nginx.ts'
import type { BenchOptions, SubjectName } from './options.ts'
import type { Origins } from './origins.ts'
import type { Tools } from './tools.ts'

/** Where requests go, and whose CPU and memory count: for `direct` the origin's, which is the cost of answering once. */
export interface Destination extends LoadTarget {
  readonly pid: number
}

export interface Subject {
  readonly name: SubjectName
  readonly small: Destination
  readonly sink: Destination
}

export interface Subjects {
  readonly list: readonly Subject[]
  stop(): Promise<void>
}

/** A running program, and the subjects that it serves. */
interface Started {
  readonly child: Child | null
  readonly subjects: readonly Subject[]
}

export interface SubjectParts {
  readonly dir: string
  readonly options: BenchOptions
  readonly tools: Tools
  readonly files: CertificateFiles
  readonly origins: Origins
}

export async function startSubjects(parts: SubjectParts): Promise<Subjects> {
  const wanted = (name: SubjectName) => parts.options.subjects.includes(name)
  const started: Started[] = []
  const stop = async () => {
    for (const { child } of started) await child?.stop()
  }
  try {
    if (wanted('direct')) started.push(direct(parts))
    if (wanted('nginx') && parts.tools.nginx) started.push(await nginx(parts))
    if (wanted('released') || wanted('passed')) started.push(await coatcheck(parts))
    if (wanted('unshipped')) started.push(await unshipped(parts))
  } catch (error) {
    await stop()
    throw error
  }
  return { list: started.flatMap(({ subjects }) => subjects).filter(({ name }) => wanted(name)), stop }
}

function direct({ files, origins }: SubjectParts): Started {
  const small = straightTo(origins.smallPort, files, origins.small.pid)
  return {
    child: null,
    subjects: [{ name: 'direct', small, sink: straightTo(origins.sinkPort, files, origins.sink.pid) }],
  }
}

function straightTo(port: number, { ca }: CertificateFiles, pid: number): Destination {
  return { target: `${HOST}:${port}`, ca, proxy: null, headers: [], pid }
}

async function nginx({ dir, files, origins }: SubjectParts): Promise<Started> {
  const [small, sink] = (await freePorts(2)) as [number, number]
  const routes = [
    { port: small, upstreamPort: origins.smallPort },
    { port: sink, upstreamPort: origins.sinkPort },
  ]
  const http = reverseProxyConfiguration(routes, files)
  const child = await startNginx({ dir, name: 'reverse-proxy', measured: true, ports: [small, sink], http })
  const to = (port: number) => straightTo(port, files, child.pid)
  return { child, subjects: [{ name: 'nginx', small: to(small), sink: to(sink) }] }
}

/** One process with the default settings, with and without a placeholder in the requests. */
async function coatcheck(parts: SubjectParts): Promise<Started> {
  const proxy = await startCoatcheck({ ...common(parts), name: 'coatcheck', sinks: ['stdout'] })
  return {
    child: proxy.child,
    subjects: [
      through(parts, proxy, 'released', proxy.placeholder),
      through(parts, proxy, 'passed', 'nothing-to-release-here-0123456789'),
    ],
  }
}

/** Audited in the database alone: what shipping the lines costs is the difference. */
async function unshipped(parts: SubjectParts): Promise<Started> {
  const proxy = await startCoatcheck({ ...common(parts), name: 'unshipped', sinks: ['none'] })
  return { child: proxy.child, subjects: [through(parts, proxy, 'unshipped', proxy.placeholder)] }
}

function common({ dir, files, origins, options }: SubjectParts) {
  return {
    dir,
    originCa: files.ca,
    originPorts: [origins.smallPort, origins.sinkPort],
    profileDir: options.profileDir,
  }
}

function through({ origins }: SubjectParts, proxy: Coatcheck, name: SubjectName, key: string): Subject {
  const to = (port: number): Destination => ({
    target: `${HOST}:${port}`,
    ca: proxy.ca,
    proxy: { address: proxy.address, identity: proxy.identity },
    headers: [`Authorization: Bearer ${key}`],
    pid: proxy.child.pid,
  })
  return { name, small: to(origins.smallPort), sink: to(origins.sinkPort) }
}
