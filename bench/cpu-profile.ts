/** Reads a .cpuprofile: how the samples of one stretch of time spread over functions and over parts of the program. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** Microseconds of the monotonic clock. */
  readonly startTime: number
  /** Ids of the nodes that ran, and the microseconds between them. */
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** What ran, and its share of the time that was not idle. */
export interface Share {
  readonly what: string
  readonly share: number
}

export interface SelfTime {
  readonly functions: readonly Share[]
  readonly areas: readonly Share[]
}

const ROOT = pathToFileURL(join(import.meta.dirname, '..')).href
const IDLE = '(idle)'

/** The newest profile of the main thread (thread 0) in the directory. */
export async function readMainProfile(dir: string): Promise<CpuProfile> {
  const names = (await readdir(dir)).filter((name) => /^CPU\.\d+\.\d+\.\d+\.0\.\d+\.cpuprofile$/.test(name)).sort()
  const last = names.at(-1)
  if (last === undefined) throw new Error(`the proxy left no profile in ${dir}`)
  return JSON.parse(await readFile(join(dir, last), 'utf8')) as CpuProfile
}

/** @param from, to microseconds of the monotonic clock (`process.hrtime`). */
export function selfTime(profile: CpuProfile, from: number, to: number): SelfTime {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const functions = new Map<string, number>()
  const areas = new Map<string, number>()
  let busy = 0
  let time = profile.startTime
  for (const [at, id] of profile.samples.entries()) {
    const delta = profile.timeDeltas[at] ?? 0
    time += delta
    const node = nodes.get(id)
    if (time < from || time > to || node === undefined || node.callFrame.functionName === IDLE) continue
    busy += delta
    const { functionName, url, lineNumber } = node.callFrame
    const place = url === '' ? '' : ` ${placeOf(url)}:${lineNumber + 1}`
    grow(functions, `${functionName || '(anonymous)'}${place}`, delta)
    grow(areas, url === '' ? nativeArea(functionName) : areaOf(url), delta)
  }
  return { functions: shares(functions, busy), areas: shares(areas, busy) }
}

function grow(sums: Map<string, number>, key: string, by: number): void {
  sums.set(key, (sums.get(key) ?? 0) + by)
}

function shares(sums: ReadonlyMap<string, number>, busy: number): Share[] {
  return [...sums].map(([what, sum]) => ({ what, share: sum / busy })).sort((a, b) => b.share - a.share)
}

function placeOf(url: string): string {
  const inPackage = /\/node_modules\/(.*)$/.exec(url)
  return inPackage?.[1] ?? url.replace(`${ROOT}/`, '')
}

/** A package, a folder of ours with its file, or a module of Node. */
function areaOf(url: string): string {
  const place = placeOf(url)
  if (place.startsWith('src/')) return place
  return place.startsWith('node:') ? place : (place.split('/')[0] ?? place)
}

/** Functions without a file: V8's own, and Node's C++ called from JavaScript. */
function nativeArea(name: string): string {
  return name.startsWith('(') ? name : 'C++ called from JavaScript'
}
