/** One command's conversation with the API: opened on the server or the data directory, always closed again. */
import type { ErrorDocument, PageOf } from '../api/contract.ts'
import { PAGE_LIMIT } from '../api/contract.ts'
import { eventsIn } from '../client/event-stream.ts'
import { Failure, usage } from './failure.ts'
import type { CliDeps, CliIo, LocalOptions } from './io.ts'
import type { Headers, Transport, TransportAnswer } from './transport.ts'

export type Query = Readonly<Record<string, string | number | undefined>>

export class Session {
  readonly #transport: Transport
  /** Sent with every call. */
  readonly #headers: Headers

  constructor(transport: Transport, headers: Headers = {}) {
    this.#transport = transport
    this.#headers = headers
  }

  /** The answer's document. Throws the API's error as a Failure. */
  async call<T>(method: string, path: string, body?: unknown, headers: Headers = {}): Promise<T> {
    const answer = await this.answer(method, path, body, headers)
    if (!isDone(answer)) throw refusal(answer)
    return (answer.body === '' ? undefined : parsed(answer)) as T
  }

  /** An answer that is not JSON, such as PEM. */
  async text(path: string): Promise<string> {
    const answer = await this.answer('GET', path)
    if (!isDone(answer)) throw refusal(answer)
    return answer.body
  }

  /** Whatever the answer is: for those whose status is a part of it. */
  async answer(method: string, path: string, body?: unknown, headers: Headers = {}): Promise<TransportAnswer> {
    return await this.#transport.request(method, path, body, { ...this.#headers, ...headers })
  }

  /** Documents as they are streamed, until the stream ends or breaks; null when nothing is streamed here. */
  async streamed<T>(path: string, signal: AbortSignal): Promise<AsyncIterable<T> | null> {
    const bytes = (await this.#transport.stream?.(path, this.#headers, signal)) ?? null
    return bytes === null ? null : documentsIn<T>(bytes)
  }

  /** Every page of a list, one at a time. */
  async *pages<T>(path: string, query: Query = {}): AsyncGenerator<readonly T[]> {
    for await (const page of this.pageDocuments<T>(path, query)) yield page.items
  }

  async *pageDocuments<T>(path: string, query: Query): AsyncGenerator<PageOf<T> & { readonly total?: number }> {
    let cursor: string | null = null
    do {
      const page: PageOf<T> = await this.call(
        'GET',
        withQuery(path, { limit: PAGE_LIMIT.max, ...query, cursor: cursor ?? undefined }),
      )
      yield page
      cursor = page.nextCursor
    } while (cursor !== null)
  }

  /** A whole list as one page, in the API's own shape. */
  async all<T>(path: string, query: Query = {}): Promise<PageOf<T>> {
    const items: T[] = []
    for await (const page of this.pages<T>(path, query)) items.push(...page)
    return { items, nextCursor: null }
  }
}

async function* documentsIn<T>(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<T, void, undefined> {
  try {
    for await (const { data } of eventsIn(bytes)) if (data !== null) yield JSON.parse(data) as T
  } catch {
    // Broken or aborted: whoever reads goes on from what it has.
  }
}

/** As `all`, with the total when the query asks for it. */
export async function allWithTotal<T>(
  session: Session,
  path: string,
  query: Query,
): Promise<PageOf<T> & { readonly total?: number }> {
  const items: T[] = []
  let total: number | undefined
  for await (const page of session.pageDocuments<T>(path, query)) {
    items.push(...page.items)
    total = page.total
  }
  return { items, nextCursor: null, ...(total === undefined ? {} : { total }) }
}

/** Runs `work` on the server that COATCHECK_URL names, or on the data directory itself. */
export async function withSession<T>(
  io: CliIo,
  deps: CliDeps,
  options: LocalOptions,
  headers: Headers,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const transport = await openTransport(io, deps, options)
  try {
    return await work(new Session(transport, headers))
  } finally {
    await transport.close()
  }
}

export function withQuery(path: string, query: Query): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined)
  return set.length === 0
    ? path
    : `${path}?${new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()}`
}

async function openTransport(io: CliIo, deps: CliDeps, options: LocalOptions): Promise<Transport> {
  const url = io.env['COATCHECK_URL']
  if (url === undefined || url === '') return await deps.openLocal(options)
  const token = io.env['COATCHECK_TOKEN']
  if (token === undefined || token === '') {
    throw usage(
      'COATCHECK_URL is set but COATCHECK_TOKEN is not.',
      'Set COATCHECK_TOKEN to an API token of that server.',
    )
  }
  const { httpTransport } = await import('./api-client.ts')
  return httpTransport(url, token)
}

/** A redirect is not followed: it is no answer of this API. */
function isDone({ status }: TransportAnswer): boolean {
  return status >= 200 && status < 300
}

function parsed(answer: TransportAnswer): unknown {
  try {
    return JSON.parse(answer.body)
  } catch {
    throw stranger()
  }
}

function refusal(answer: TransportAnswer): Failure {
  const { error } = parsed(answer) as Partial<ErrorDocument>
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') return stranger()
  return new Failure(error.code, error.message, error.hint ?? '', error.requestId ?? null)
}

function stranger(): Failure {
  return new Failure('unreachable', 'What answered there is not a coatcheck server.', 'Correct COATCHECK_URL.')
}
