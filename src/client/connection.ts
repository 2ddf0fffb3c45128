/**
 * How a call gets its answer: one request, or several when the server asks to wait or is not there and the call may be repeated. The
 * token goes to one server: redirects are not followed. Nothing that was sent is in an error.
 */
import { type ActingScope, type Query, queryText, scopeText, serverAddress } from './address.ts'
import { CoatcheckError, misused } from './error.ts'
import { decideRetry, pause, retryAfter } from './retry.ts'

export interface CoatcheckOptions {
  /** The server's address, such as `http://127.0.0.1:8081`. */
  readonly url: string
  /** An API token, or what gives the current one: asked before every request. */
  readonly token: string | (() => string | Promise<string>)
  /** Where calls act. Default: where the token is. */
  readonly scope?: ActingScope
  /** Milliseconds of one call, all its attempts together. Default 30,000. */
  readonly timeoutMs?: number
  /** Attempts after the first one. Default 3; 0 = never again. */
  readonly retries?: number
  /** Used instead of the runtime's own. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** Of one call; what is not given is as the client was made. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
  readonly retries?: number
}

/** Of a create: the same key and the same fields within an hour make one thing, and repeat its answer. */
export interface CreateOptions extends CallOptions {
  /** 1 to 255 printable ASCII characters. Default: a new one for each call, the same for its attempts. */
  readonly idempotencyKey?: string
}

export interface Sending {
  readonly query?: Query
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Doing it twice is as doing it once. Default: GET, PUT and DELETE are, and what has an idempotency key. */
  readonly repeatable?: boolean
  /** Statuses beside 2xx that are answers, and are not waited out. */
  readonly accepted?: readonly number[]
}

const TIMEOUT_MS = 30_000
const RETRIES = 3
/** What timers can count. */
const LONGEST_MS = 2 ** 31 - 1

interface Deadline {
  readonly signal: AbortSignal
  readonly expired: AbortSignal
  readonly endsAt: number
}

export class Connection {
  readonly #base: string
  readonly #options: CoatcheckOptions
  readonly #scope: string | undefined

  /** Throws `usage`. */
  constructor(options: CoatcheckOptions) {
    this.#base = serverAddress(options.url)
    this.#options = options
    this.#scope = scopeText(options.scope)
    if (typeof options.token === 'string') checkToken(options.token)
    checkCount('timeoutMs', options.timeoutMs)
    checkCount('retries', options.retries)
  }

  /** What makes the same connection for another scope. */
  options(scope: ActingScope): CoatcheckOptions {
    return { ...this.#options, scope }
  }

  /** The answer's document; undefined when it has none. */
  async call<T>(method: string, path: string, sending: Sending = {}, options: CallOptions = {}): Promise<T> {
    const text = await this.text(method, path, sending, options)
    return (text === '' ? undefined : parsed(text)) as T
  }

  /** The answer's body as it is. */
  async text(method: string, path: string, sending: Sending = {}, options: CallOptions = {}): Promise<string> {
    checkCount('timeoutMs', options.timeoutMs)
    checkCount('retries', options.retries)
    const deadline = deadlineOf(options.signal, options.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS)
    const retries = options.retries ?? this.#options.retries ?? RETRIES
    const repeatable = sending.repeatable ?? ['GET', 'PUT', 'DELETE'].includes(method)
    for (let number = 0; ; number++) {
      const outcome = await this.#attempt(method, path, sending, deadline)
      if (typeof outcome === 'string') return outcome
      if (method === 'DELETE' && number > 0 && outcome.status !== null && [404, 410].includes(outcome.status)) return ''
      const { status, retryAfterMs } = outcome
      const limits = { retries, leftMs: deadline.endsAt - Date.now() }
      const decision = decideRetry({ number, status, retryAfterMs, repeatable }, limits, Math.random)
      if (!decision.again) throw outcome
      await pause(decision.waitMs, deadline.signal).catch((reason: unknown) => {
        throw this.#failure(reason, deadline)
      })
    }
  }

  /** An answer that goes on: its body is not read here, and there is no time limit but the signal. */
  async open(path: string, sending: Sending, signal: AbortSignal): Promise<Response> {
    const send = await this.#prepared('GET', path, sending)
    try {
      const answer = await send(signal)
      if (answer.ok) return answer
      throw refusalOf(answer, await answer.text())
    } catch (thrown) {
      if (thrown instanceof CoatcheckError || signal.aborted) throw thrown
      throw this.#unreachable()
    }
  }

  /** The body, or why there is none. Throws the signal's reason when the caller aborted. */
  async #attempt(method: string, path: string, sending: Sending, deadline: Deadline): Promise<string | CoatcheckError> {
    const send = await this.#prepared(method, path, sending)
    try {
      const answer = await send(deadline.signal)
      const text = await answer.text()
      return answer.ok || sending.accepted?.includes(answer.status) === true ? text : refusalOf(answer, text)
    } catch (thrown) {
      if (deadline.signal.aborted) throw this.#failure(thrown, deadline)
      return this.#unreachable()
    }
  }

  /** The request, up to sending it: what fails here is the caller's, and is thrown as it is. */
  async #prepared(method: string, path: string, sending: Sending): Promise<(signal: AbortSignal) => Promise<Response>> {
    const { query = {}, body, headers = {} } = sending
    const url = `${this.#base}${path}${queryText(query)}`
    const init: RequestInit = {
      method,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${await this.#token()}`,
        ...(this.#scope === undefined ? {} : { 'coatcheck-scope': this.#scope }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'manual',
    }
    const send = this.#options.fetch ?? fetch
    return async (signal) => {
      signal.throwIfAborted()
      return await send(url, { ...init, signal })
    }
  }

  async #token(): Promise<string> {
    const { token } = this.#options
    return typeof token === 'string' ? token : checkToken(await token())
  }

  /** The caller's own reason, or that the time is over. */
  #failure(reason: unknown, { expired, signal }: Deadline): unknown {
    if (signal.aborted && signal.reason === expired.reason && expired.aborted) {
      const hint = 'Try again, or give it more time with timeoutMs; it may have been done all the same.'
      return new CoatcheckError('timeout', `The coatcheck server at ${this.#base} did not answer in time.`, hint)
    }
    return signal.aborted ? signal.reason : reason
  }

  #unreachable(): CoatcheckError {
    return new CoatcheckError(
      'unreachable',
      `Cannot reach the coatcheck server at ${this.#base}.`,
      'Start it with coatcheck serve, or correct url.',
    )
  }
}

function deadlineOf(signal: AbortSignal | undefined, timeoutMs: number): Deadline {
  const expired = AbortSignal.timeout(Math.min(timeoutMs, LONGEST_MS))
  const both = signal === undefined ? expired : AbortSignal.any([signal, expired])
  return { signal: both, expired, endsAt: Date.now() + timeoutMs }
}

function refusalOf(answer: Response, text: string): CoatcheckError {
  const retryAfterMs = retryAfter(answer.headers.get('retry-after'), Date.now())
  const details = { status: answer.status, requestId: answer.headers.get('x-request-id'), retryAfterMs }
  const { error } = errorIn(text)
  if (typeof error?.code === 'string' && typeof error.message === 'string') {
    return new CoatcheckError(error.code, error.message, typeof error.hint === 'string' ? error.hint : '', details)
  }
  return stranger(details)
}

interface SentError {
  readonly error?: { readonly code?: unknown; readonly message?: unknown; readonly hint?: unknown } | null
}

function errorIn(text: string): SentError {
  try {
    const document: unknown = JSON.parse(text)
    return typeof document === 'object' && document !== null ? document : {}
  } catch {
    return {}
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not passed on as a cause: the parser quotes the text it failed at.
    throw stranger({})
  }
}

function stranger(details: { readonly status?: number }): CoatcheckError {
  const message = 'What answered there is not a coatcheck server.'
  return new CoatcheckError('unexpected_answer', message, 'Correct url, or what stands in between.', details)
}

/** Sent as a header, so it is checked here: the runtime's own error would repeat it. */
function checkToken(token: string): string {
  if (typeof token === 'string' && /^[\x21-\x7e]{1,8192}$/.test(token)) return token
  throw misused('token is not a token.', 'Give an API token, as coatcheck token create prints it.')
}

function checkCount(name: string, count: number | undefined): void {
  if (count === undefined || (Number.isInteger(count) && count >= 0)) return
  throw misused(`${name} is not a whole number from 0.`, `Leave ${name} out, or give a whole number.`)
}
