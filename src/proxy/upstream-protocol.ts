/**
 * By which protocol a request goes on: agreed on with the upstream by ALPN, whatever the sandbox spoke.
 *
 * A request that came over HTTP/2 offers the upstream h2 and http/1.1. One that came over HTTP/1.1 offers http/1.1
 * alone, which keeps the case of its names, and h2 only to an upstream that refuses that. Connections, of either
 * protocol, are kept per workspace, scheme, host and port.
 */
import type { TLSSocket } from 'node:tls'
import { CoatcheckError } from '../core/errors.ts'
import { type ForwardLimits, type H1Forwarder, poolKey } from './forward.ts'
import { H2Connection } from './h2-connection.ts'
import { exchangeOn } from './h2-exchange.ts'
import type { Forwarder, ForwardObserver, OutgoingRequest, ResponseSink } from './message.ts'
import type { Upstream, UpstreamConnection } from './upstream.ts'

/** How often a request is sent anew that an upstream said it did not look at. */
const MOST_TRIES = 3
/** How long an upstream is taken to speak one protocol alone, because it chose HTTP/1.1 over h2, or refused HTTP/1.1. */
const REMEMBERED_MS = 5 * 60_000
const MOST_REMEMBERED = 10_000

/** What came of offering h2: a connection of the pool, or one that speaks HTTP/1.1, for whoever takes it first. */
interface Opened {
  h1: UpstreamConnection | null
  readonly isH2: boolean
}

export class NegotiatingForwarder implements Forwarder {
  readonly #upstream: Upstream
  readonly #limits: ForwardLimits
  readonly #h1: H1Forwarder
  readonly #connections = new Map<string, H2Connection[]>()
  readonly #opening = new Map<string, Promise<Opened>>()
  /** Upstreams that speak one protocol alone. */
  readonly #known = new Map<string, { readonly protocol: 'h1' | 'h2'; readonly until: number }>()

  constructor(upstream: Upstream, limits: ForwardLimits, h1: H1Forwarder) {
    this.#upstream = upstream
    this.#limits = limits
    this.#h1 = h1
  }

  forward(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const fromH2 = request.received.httpVersion === '2.0'
    if (!fromH2) {
      const sent = this.#h1.forwardKept(request, sink, observer)
      if (sent !== null) return sent
    }
    if (request.destination.scheme === 'http') return this.#h1.forward(request, sink, observer)
    const known = this.#protocolOf(poolKey(request))
    const overH2 = known === null ? fromH2 : known === 'h2'
    return overH2 ? this.#overH2(request, sink, observer) : this.#overH1(request, sink, observer)
  }

  async close(): Promise<void> {
    for (const connection of [...this.#connections.values()].flat()) connection.destroy()
    await this.#h1.close()
  }

  async #overH1(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const sent = this.#h1.forwardKept(request, sink, observer)
    if (sent !== null) return await sent
    let opened: UpstreamConnection
    try {
      opened = await this.#upstream.open(request.destination, ['http/1.1'])
    } catch (error) {
      if (!refusesProtocol(error)) throw error
      this.#remember(poolKey(request), 'h2')
      return await this.#overH2(request, sink, observer)
    }
    await this.#h1.forward(request, sink, observer, opened)
  }

  async #overH2(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const key = poolKey(request)
    for (let tries = 0; tries < MOST_TRIES; ) {
      if (sink.gone) throw new Error('the sandbox went away')
      const connections = this.#connections.get(key) ?? []
      const free = connections.find((each) => each.hasRoom)
      const unsettled = connections.find((each) => each.isOpen && !each.isSettled)
      if (free !== undefined) {
        if (await exchangeOn(free, request, sink, observer, this.#limits)) return
        tries += 1
      } else if (unsettled !== undefined) await unsettled.settled
      else {
        const opened = await this.#open(key, request)
        if (!opened.isH2) {
          const { h1 } = opened
          opened.h1 = null
          return await this.#h1.forward(request, sink, observer, h1)
        }
      }
    }
    throw new CoatcheckError('upstream_failed', 'The upstream refused the request again and again.', 'Try again later.')
  }

  /** Dials once for all that wait for the same. */
  #open(key: string, request: OutgoingRequest): Promise<Opened> {
    const before = this.#opening.get(key)
    if (before !== undefined) return before
    const opening = this.#dial(key, request).finally(() => this.#opening.delete(key))
    this.#opening.set(key, opening)
    return opening
  }

  async #dial(key: string, { destination }: OutgoingRequest): Promise<Opened> {
    const opened = await this.#upstream.open(destination, ['h2', 'http/1.1'])
    const isH2 = (opened.socket as TLSSocket).alpnProtocol === 'h2'
    if (!isH2) {
      this.#remember(key, 'h1')
      return { h1: opened, isH2 }
    }
    const connection = new H2Connection(opened, this.#limits.headerBytes, (closed) => this.#drop(key, closed))
    this.#connections.set(key, [...(this.#connections.get(key) ?? []), connection])
    return { h1: null, isH2 }
  }

  #drop(key: string, closed: H2Connection): void {
    const rest = this.#connections.get(key)?.filter((each) => each !== closed) ?? []
    if (rest.length === 0) this.#connections.delete(key)
    else this.#connections.set(key, rest)
  }

  #protocolOf(key: string): 'h1' | 'h2' | null {
    const known = this.#known.get(key)
    return known === undefined || known.until < performance.now() ? null : known.protocol
  }

  #remember(key: string, protocol: 'h1' | 'h2'): void {
    this.#known.delete(key)
    this.#known.set(key, { protocol, until: performance.now() + REMEMBERED_MS })
    if (this.#known.size > MOST_REMEMBERED) this.#known.delete(this.#known.keys().next().value as string)
  }
}

/** The alert of an upstream that speaks none of the protocols offered (RFC 7301 3.2). */
function refusesProtocol(error: unknown): boolean {
  const cause = (error as { cause?: { code?: string } }).cause
  return cause?.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'
}
