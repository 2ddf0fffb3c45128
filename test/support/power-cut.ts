/**
 * What a disk holds after a power cut, from a trace of the calls that wrote to it: whatever was synced, and of the rest nothing,
 * or some of it in any order. File names and sizes count as kept.
 */
import { readFileSync } from 'node:fs'

/** Calls to trace: strace -f -y -xx -s 1000000 -e trace=… */
export const TRACED = 'pwrite64,write,ftruncate,fdatasync,fsync'

export type DiskCall =
  | { readonly kind: 'write'; readonly file: string; readonly at: number | null; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly file: string; readonly size: number }
  | { readonly kind: 'sync'; readonly file: string }

/** Calls that succeeded, in the order in which they returned. */
export function callsIn(trace: string): DiskCall[] {
  const begun = new Map<string, string>()
  const calls: DiskCall[] = []
  for (const line of readFileSync(trace, 'latin1').split('\n')) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(thread, rest.slice(0, -'<unfinished ...>'.length))
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const call = callOf(resumed === null ? rest : `${begun.get(thread) ?? ''}${resumed[1]}`)
    if (call !== null) calls.push(call)
  }
  return calls
}

function callOf(text: string): DiskCall | null {
  const [, name = '', path = '', given = ''] = /^(\w+)\(\d+<([^>]*)>(.*)\) += \d+$/.exec(text) ?? []
  const file = decoded(path).toString('utf8')
  const [, hex = '', offset] = /^, "([^"]*)", \d+(?:, (\d+))? *$/.exec(given) ?? []
  switch (name) {
    case 'fsync':
    case 'fdatasync':
      return { kind: 'sync', file }
    case 'ftruncate':
      return { kind: 'truncate', file, size: Number(given.slice(2)) }
    case 'write':
    case 'pwrite64':
      return { kind: 'write', file, at: offset === undefined ? null : Number(offset), bytes: decoded(hex) }
    default:
      return null
  }
}

function decoded(text: string): Buffer {
  return Buffer.from(
    text.replace(/\\x([0-9a-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
}

/** One file on a disk that keeps what was synced. */
export class DiskFile {
  #kept: Buffer
  #pending: DiskCall[] = []

  constructor(kept: Buffer = Buffer.alloc(0)) {
    this.#kept = kept
  }

  take(call: DiskCall): void {
    if (call.kind !== 'sync') {
      this.#pending.push(call)
      return
    }
    this.#kept = this.#pending.reduce(applied, this.#kept)
    this.#pending = []
  }

  /** @param survives whether a call that was not synced reached the disk all the same. */
  afterCut(survives: () => boolean): Buffer {
    return this.#pending.filter(survives).reduce(applied, this.#kept)
  }
}

function applied(content: Buffer, call: DiskCall): Buffer {
  if (call.kind === 'truncate') return content.subarray(0, call.size)
  if (call.kind !== 'write' || call.at === null) return content
  const end = call.at + call.bytes.length
  const grown = Buffer.alloc(Math.max(content.length, end))
  content.copy(grown)
  call.bytes.copy(grown, call.at)
  return grown
}
