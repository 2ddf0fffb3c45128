/**
 * Requests that clients of a foreign contract were seen to send, each with an answer that its client accepted, and what it takes to
 * send them here: the ids and tokens of the recording stand for those of this server.
 */
import { readFileSync } from 'node:fs'

export interface Recorded {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
  readonly status: number
  readonly answer: unknown
}

export interface Contract {
  readonly file: string
  /** Recorded text -> ours, before anything was answered. */
  readonly known: Readonly<Record<string, string>>
  /** Fields whose keys are the caller's own. */
  readonly free: readonly string[]
  /** Fields of the recording that are no part of the contract. */
  readonly strange: readonly string[]
}

export function recorded(file: string): readonly Recorded[] {
  const text = readFileSync(new URL(`../../../vectors/wire/${file}.jsonl`, import.meta.url), 'utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Recorded]))
}

/** What is handed out by one answer and sent with a later request. */
const HANDED_OUT = ['id', 'access_token']
const TIME = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z/g

/** Recorded text -> ours; grows with every answer. */
export class Translation {
  readonly #ours: Map<string, string>
  #cursor = ''

  constructor(known: Readonly<Record<string, string>>) {
    this.#ours = new Map(Object.entries(known))
  }

  translate(text: string): string {
    let ours = text.replace(TIME, () => new Date(Date.now() + 3_600_000).toISOString())
    // The longest first: one text may hold another.
    const known = [...this.#ours].sort(([a], [b]) => b.length - a.length)
    for (const [theirs, mine] of known) ours = ours.replaceAll(theirs, () => mine)
    return ours
  }

  /** With the cursor that we gave out; without one where the list ended here. */
  url(url: string): string {
    const [path = '', query] = url.split('?')
    if (query === undefined) return this.translate(path)
    const parameters = new URLSearchParams(query)
    if (parameters.has('cursor')) parameters.set('cursor', this.#cursor)
    if (parameters.get('cursor') === '') parameters.delete('cursor')
    return `${this.translate(path)}?${parameters.toString()}`
  }

  learn(theirs: unknown, mine: unknown): void {
    if (!isObject(theirs) || !isObject(mine)) return
    for (const [key, text] of Object.entries(theirs)) {
      const ours = mine[key]
      if (HANDED_OUT.includes(key) && typeof text === 'string' && typeof ours === 'string') this.#ours.set(text, ours)
      if (key === 'nextCursor') this.#cursor = typeof ours === 'string' ? ours : ''
      this.learn(text, ours)
    }
  }
}

/** How ours differs from the recorded shape: a missing field, or one of another kind. What we add is no difference. */
export function shapeDifferences(
  theirs: unknown,
  mine: unknown,
  contract: Contract,
  write: boolean,
  at = '',
): string[] {
  if (Array.isArray(theirs) && Array.isArray(mine)) {
    if (theirs.length === 0 || mine.length === 0) return []
    return shapeDifferences(theirs[0], mine[0], contract, write, `${at}[]`)
  }
  if (isObject(theirs) && isObject(mine)) {
    return Object.entries(theirs).flatMap(([key, value]) => {
      if (contract.strange.includes(key)) return []
      if (!(key in mine)) return [`${at}.${key} is missing`]
      return contract.free.includes(key) ? [] : shapeDifferences(value, mine[key], contract, write, `${at}.${key}`)
    })
  }
  // A write never answers with the value that was sent.
  if (write && at.endsWith('.raw_value') && mine === null) return []
  return kindOf(theirs) === kindOf(mine) ? [] : [`${at} is ${kindOf(mine)}, not ${kindOf(theirs)}`]
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  return Array.isArray(value) ? 'array' : typeof value
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
