/**
 * The upstream engine: undici `dispatch` with raw fields, one request at a time on each connection.
 *
 * Connections are kept per workspace, scheme, host and port, and never shared across them. undici neither follows
 * redirects nor retries, decompresses or caches here: what the upstream says is what the sandbox gets.
 */
import { type buildConnector, Client, type Dispatcher } from 'undici'
import { CoatcheckError } from '../core/errors.ts'
import { formatAuthority } from '../core/host.ts'
import { requireKnownFraming, responseFields } from './headers.ts'
import type { Destination, Forwarder, ForwardObserver, OutgoingRequest, ResponseSink, UpstreamPeer } from './message.ts'
import type { Upstream, UpstreamConnection } from './upstream.ts'

export interface ForwardLimits {
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly headerBytes: number
}

/** One connection's client; `peer` is who the open connection was verified to be. */
interface Link {
  readonly client: Client
  readonly key: string
  /** Opened before there was a request for it, and not yet used. */
  opened: UpstreamConnection | null
  peer: UpstreamPeer | null
}

/** Idle connections kept for one workspace and destination. */
const IDLE_PER_KEY = 64
/** They are written without waiting for a slow sandbox, so an upstream may not send them without end. */
const MOST_INFORMATIONAL = 64

/** Connections are shared by requests of equal keys, and by no others. */
export function poolKey({ workspaceId, destination }: Pick<OutgoingRequest, 'workspaceId' | 'destination'>): string {
  return `${workspaceId}|${destination.scheme}|${destination.host}|${destination.port}`
}

export class UndiciForwarder implements Forwarder {
  readonly #upstream: Upstream
  readonly #limits: ForwardLimits
  readonly #idle = new Map<string, Link[]>()
  readonly #open = new Set<Link>()

  constructor(upstream: Upstream, limits: ForwardLimits) {
    this.#upstream = upstream
    this.#limits = limits
  }

  /** @param opened a new connection to the destination that speaks HTTP/1.1, to be used instead of dialling one. */
  forward(
    request: OutgoingRequest,
    sink: ResponseSink,
    observer: ForwardObserver,
    opened: UpstreamConnection | null = null,
  ): Promise<void> {
    const kept = opened === null ? this.forwardKept(request, sink, observer) : null
    return kept ?? this.#send(this.#link(poolKey(request), request.destination, opened), request, sink, observer)
  }

  /** Sends the request on a kept connection; null when none is free. */
  forwardKept(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> | null {
    const link = this.#idle.get(poolKey(request))?.pop()
    return link === undefined ? null : this.#send(link, request, sink, observer)
  }

  #send(link: Link, request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    return new Promise((resolve, reject) => {
      const finished = (error: unknown): void => {
        this.#giveBack(link)
        if (error === null) resolve()
        else reject(failure(error))
      }
      const { method, path, headers, body } = request
      const handler = new ResponseHandler(link, sink, observer, finished)
      link.client.dispatch({ method, path, headers: headers as string[], body }, handler)
    })
  }

  async close(): Promise<void> {
    const links = [...this.#open]
    this.#idle.clear()
    this.#open.clear()
    await Promise.all(links.map((link) => link.client.destroy()))
  }

  #link(key: string, destination: Destination, opened: UpstreamConnection | null): Link {
    const client = new Client(`${destination.scheme}://${formatAuthority(destination.host, destination.port)}`, {
      pipelining: 1,
      allowH2: false,
      strictContentLength: true,
      headersTimeout: this.#limits.headersTimeoutMs,
      bodyTimeout: this.#limits.idleTimeoutMs,
      maxHeaderSize: this.#limits.headerBytes,
      connect: (_options, callback) => {
        void this.#connect(link, destination, callback)
      },
    })
    const link: Link = { client, key, opened, peer: null }
    this.#open.add(link)
    client.on('disconnect', () => this.#drop(link))
    return link
  }

  async #connect(link: Link, destination: Destination, callback: buildConnector.Callback): Promise<void> {
    try {
      const { opened } = link
      link.opened = null
      const usable = opened !== null && !opened.socket.destroyed
      // Never at once: undici is not ready for a connection before it has asked.
      const connection = await (usable ? opened : this.#upstream.open(destination, ['http/1.1']))
      link.peer = connection.peer
      callback(null, connection.socket)
    } catch (error) {
      callback(error as Error, null)
    }
  }

  #giveBack(link: Link): void {
    const idle = this.#idle.get(link.key) ?? []
    if (!this.#open.has(link)) return
    if (idle.length >= IDLE_PER_KEY) {
      this.#drop(link)
      return
    }
    idle.push(link)
    this.#idle.set(link.key, idle)
  }

  /** Forgets a connection that closed, so that idle destinations cost nothing. */
  #drop(link: Link): void {
    if (!this.#open.delete(link)) return
    const idle = this.#idle.get(link.key)?.filter((each) => each !== link) ?? []
    if (idle.length === 0) this.#idle.delete(link.key)
    else this.#idle.set(link.key, idle)
    void link.client.close()
  }
}

function rawFields(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((each) => (typeof each === 'string' ? each : each.toString('latin1')))
}

/** undici reads the reason as UTF-8; its bytes go on as they came, or, where they were not UTF-8, no reason at all. */
function reasonBytes(reason: string): string {
  if (/^[\x20-\x7e]*$/.test(reason)) return reason
  return reason.includes('\ufffd') ? '' : Buffer.from(reason, 'utf8').toString('latin1')
}

class ResponseHandler implements Dispatcher.DispatchHandler {
  readonly #link: Link
  readonly #sink: ResponseSink
  readonly #observer: ForwardObserver
  readonly #finished: (error: unknown) => void
  #informational = 0

  constructor(link: Link, sink: ResponseSink, observer: ForwardObserver, finished: (error: unknown) => void) {
    this.#link = link
    this.#sink = sink
    this.#observer = observer
    this.#finished = finished
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#link.peer !== null) this.#observer.reached(this.#link.peer)
    const abort = () => controller.abort(new Error('the sandbox went away'))
    if (this.#sink.gone) abort()
    else this.#sink.onGone(abort)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _fields: unknown, reason = ''): void {
    const raw = rawFields(controller.rawHeaders)
    requireKnownFraming(raw)
    const fields = responseFields(raw)
    if (status >= 200) this.#sink.head(status, reasonBytes(reason), fields)
    else if (++this.#informational <= MOST_INFORMATIONAL) this.#sink.informational(status, fields)
    else throw new Error('more informational answers than anyone sends')
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#sink.write(chunk)) return
    controller.pause()
    this.#sink.onDrain(() => controller.resume())
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#sink.end(rawFields(controller.rawTrailers))
    this.#finished(null)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finished(error)
  }
}

/** undici's and Node's errors as ours; what they say stays inside as the cause. */
function failure(error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  const code = (error as { code?: string }).code ?? ''
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return new CoatcheckError(
      'upstream_timeout',
      'The upstream did not answer in time.',
      'Try again; upstream.headersTimeout and upstream.idleTimeout set how long to wait.',
      { cause: error },
    )
  }
  return new CoatcheckError(
    'upstream_failed',
    'The upstream broke off or answered with something that is not HTTP.',
    'Try again; the operator log has the detail under the request id.',
    { cause: error },
  )
}
