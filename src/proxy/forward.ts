/**
 * Requests to upstreams that speak HTTP/1.1. Connections are kept per workspace, scheme, host and port, and never shared
 * across them; one carries one exchange at a time. Nothing is redirected, retried, decompressed or cached: what the
 * upstream says is what the sandbox gets.
 */
import type { Destination, Forwarder, ForwardObserver, OutgoingRequest, ResponseSink, UpstreamPeer } from './message.ts'
import type { Upstream, UpstreamConnection } from './upstream.ts'

export interface ForwardLimits {
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly headerBytes: number
}

/** An engine's hold on one open connection: it sends a request and reads the answer, one exchange at a time. */
export interface H1Connection {
  readonly peer: UpstreamPeer
  /** False once it can carry nothing more. */
  readonly isOpen: boolean
  /** What the upstream's `Keep-Alive` said last, in milliseconds; null when it gave no time. */
  readonly keepAliveMs: number | null
  /**
   * Resolves when the response is complete, after `onFree` when another request may follow. Rejects with CoatcheckError
   * or with what the sink threw.
   */
  send(request: OutgoingRequest, sink: ResponseSink): Promise<void>
  /** Ends an exchange that has been silent for too long by `now`, in milliseconds of `performance.now()`. */
  expire(now: number): void
  /** Resolves once it is closed. */
  destroy(): Promise<void>
}

export interface ConnectionEvents {
  readonly onFree: () => void
  readonly onClose: () => void
}

/** An engine. It must not call back before it has returned. */
export type EngineOf = (
  opened: UpstreamConnection,
  destination: Destination,
  limits: ForwardLimits,
  events: ConnectionEvents,
) => H1Connection

interface Kept {
  readonly connection: H1Connection
  /** Milliseconds of `performance.now()` since it was last free. */
  freeSince: number
}

/** Idle connections kept for one workspace and destination. */
const IDLE_PER_KEY = 64
/** How long one is kept when the upstream does not say: less than the shortest that servers commonly allow. */
const IDLE_MS = 4_000
/** Closed this long before the upstream would, so that no request meets a closing connection. */
const IDLE_MARGIN_MS = 1_000
const IDLE_MOST_MS = 60_000
const SWEEP_MS = 1_000

/** The last key of each destination, which the requests of a tunnel share: a text made anew is hashed anew. */
const lastKeys = new WeakMap<Destination, { readonly workspaceId: string; readonly key: string }>()

/** Connections are shared by requests of equal keys, and by no others. */
export function poolKey({ workspaceId, destination }: Pick<OutgoingRequest, 'workspaceId' | 'destination'>): string {
  const last = lastKeys.get(destination)
  if (last?.workspaceId === workspaceId) return last.key
  const key = `${workspaceId}|${destination.scheme}|${destination.host}|${destination.port}`
  lastKeys.set(destination, { workspaceId, key })
  return key
}

export class H1Forwarder implements Forwarder {
  readonly #upstream: Upstream
  readonly #limits: ForwardLimits
  readonly #engine: EngineOf
  readonly #idle = new Map<string, Kept[]>()
  readonly #open = new Set<H1Connection>()
  #sweeper: NodeJS.Timeout | null = null

  constructor(upstream: Upstream, limits: ForwardLimits, engine: EngineOf) {
    this.#upstream = upstream
    this.#limits = limits
    this.#engine = engine
  }

  /** @param opened a new connection to the destination that speaks HTTP/1.1, to be used instead of dialling one. */
  async forward(
    request: OutgoingRequest,
    sink: ResponseSink,
    observer: ForwardObserver,
    opened: UpstreamConnection | null = null,
  ): Promise<void> {
    const kept = opened === null ? this.forwardKept(request, sink, observer) : null
    if (kept !== null) return await kept
    const usable = opened !== null && !opened.socket.destroyed
    const fresh = usable ? opened : await this.#upstream.open(request.destination, ['http/1.1'])
    const connection = this.#keep(poolKey(request), request.destination, fresh)
    observer.reached(connection.peer)
    await connection.send(request, sink)
  }

  /** Sends the request on a kept connection; null when none is free. */
  forwardKept(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> | null {
    const idle = this.#idle.get(poolKey(request))
    for (let kept = idle?.pop(); kept !== undefined; kept = idle?.pop()) {
      const { connection } = kept
      if (!connection.isOpen) continue
      observer.reached(connection.peer)
      return connection.send(request, sink)
    }
    return null
  }

  async close(): Promise<void> {
    this.#idle.clear()
    await Promise.all([...this.#open].map((connection) => connection.destroy()))
  }

  #keep(key: string, destination: Destination, opened: UpstreamConnection): H1Connection {
    const connection: H1Connection = this.#engine(opened, destination, this.#limits, {
      onFree: () => this.#giveBack(key, kept),
      onClose: () => this.#forget(key, kept),
    })
    const kept: Kept = { connection, freeSince: 0 }
    this.#open.add(connection)
    const { headersTimeoutMs, idleTimeoutMs } = this.#limits
    const every = Math.max(1, Math.min(SWEEP_MS, headersTimeoutMs / 4, idleTimeoutMs / 4))
    this.#sweeper ??= setInterval(() => this.#sweep(), every).unref()
    return connection
  }

  #giveBack(key: string, kept: Kept): void {
    const idle = this.#idle.get(key)
    kept.freeSince = performance.now()
    if (idle === undefined) this.#idle.set(key, [kept])
    else if (idle.length < IDLE_PER_KEY) idle.push(kept)
    else void kept.connection.destroy()
  }

  /** Forgets a connection that closed, so that idle destinations cost nothing. */
  #forget(key: string, kept: Kept): void {
    this.#open.delete(kept.connection)
    const idle = this.#idle.get(key)?.filter((each) => each !== kept) ?? []
    if (idle.length === 0) this.#idle.delete(key)
    else this.#idle.set(key, idle)
    if (this.#open.size > 0 || this.#sweeper === null) return
    clearInterval(this.#sweeper)
    this.#sweeper = null
  }

  /** Closes what has been idle for longer than the upstream is taken to keep it, and ends exchanges that stand still. */
  #sweep(): void {
    const now = performance.now()
    for (const { connection, freeSince } of [...this.#idle.values()].flat()) {
      const kept = connection.keepAliveMs === null ? IDLE_MS : connection.keepAliveMs - IDLE_MARGIN_MS
      if (now - freeSince >= Math.min(kept, IDLE_MOST_MS) - SWEEP_MS) void connection.destroy()
    }
    for (const connection of this.#open) connection.expire(now)
  }
}
