/**
 * WebSocket handshakes (RFC 6455 4): decided on like any request, sent on a connection that was vetted and verified
 * here, then opaque both ways. http-proxy-middleware joins the two sockets; its error page is not installed, because it
 * would show the URL.
 */

import type { IncomingMessage } from 'node:http'
import http from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { CoatcheckError } from '../core/errors.ts'
import { formatAuthority } from '../core/host.ts'
import { requireKnownFraming, responseFields, single } from './headers.ts'
import type { Forwarder, ForwardObserver, OutgoingRequest, ResponseSink, UpgradeSocket } from './message.ts'
import type { Upstream } from './upstream.ts'

/** A complete client handshake; anything else that says `Upgrade` is an ordinary request without it. */
export function isWebSocketHandshake(method: string, headers: readonly string[]): boolean {
  if (method !== 'GET' || single(headers, 'upgrade')?.toLowerCase() !== 'websocket') return false
  return single(headers, 'sec-websocket-version') === '13' && single(headers, 'sec-websocket-key')?.length === 24
}

/** An agent with exactly one connection, already open, so that nothing is dialled that was not vetted. */
class OneConnection extends http.Agent {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super({ keepAlive: false })
    this.#socket = socket
  }

  override createConnection(): Duplex {
    return this.#socket
  }
}

/** The fields as http.request takes them: order kept, repeated names as a list under their first spelling. */
function fieldMap(headers: readonly string[]): Record<string, string | string[]> {
  const map = new Map<string, { readonly name: string; readonly values: string[] }>()
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    const before = map.get(name.toLowerCase())
    if (before === undefined) map.set(name.toLowerCase(), { name, values: [value] })
    else before.values.push(value)
  }
  const fields = Array.from(map.values(), ({ name, values }): [string, string | string[]] => {
    return [name, values.length === 1 ? (values[0] as string) : values]
  })
  return Object.fromEntries([...fields, ['connection', 'Upgrade'], ['upgrade', 'websocket']])
}

export interface UpgradeLimits {
  /** How long the upstream may take to answer the handshake. */
  readonly headersTimeoutMs: number
  /** How long nothing may pass either way afterwards. */
  readonly idleTimeoutMs: number
}

export class WebSocketForwarder implements Forwarder {
  readonly #upstream: Upstream
  readonly #limits: UpgradeLimits

  constructor(upstream: Upstream, limits: UpgradeLimits) {
    this.#upstream = upstream
    this.#limits = limits
  }

  async forward(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const { socket, peer } = await this.#upstream.open(request.destination, ['http/1.1'])
    observer.reached(peer)
    const client = (request.upgrade as UpgradeSocket).socket as Socket
    try {
      await join(request, socket, sink, this.#limits)
    } finally {
      observer.received(client.bytesRead)
      socket.destroy()
    }
  }
}

/** Resolves when both sockets are done; rejects when it ended before the upstream answered. */
function join(request: OutgoingRequest, upstream: Socket, sink: ResponseSink, limits: UpgradeLimits): Promise<void> {
  const { socket: client, head } = request.upgrade as UpgradeSocket
  const { host, port } = request.destination
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const fail = (error: unknown) => reject(brokenOff(error))
  const leave = () => client.destroy()
  const deadline = setTimeout(() => reject(unanswered()), limits.headersTimeoutMs)
  const middleware = createProxyMiddleware({
    target: `http://${formatAuthority(host, port)}`,
    agent: new OneConnection(upstream),
    ejectPlugins: true,
    plugins: [
      (proxy) => {
        proxy.on('error', fail)
        proxy.on('proxyReqWs', (upstreamRequest) => {
          upstreamRequest.prependListener('upgrade', (response: IncomingMessage) => {
            clearTimeout(deadline)
            client.off('end', leave).once('close', resolve)
            ;(client as Socket).setTimeout(limits.idleTimeoutMs, leave)
            upstream.once('close', () => client.end())
            response.headers = fieldsOf(sink.switching(responseFields(response.rawHeaders)))
          })
          // In place of the middleware's own listeners, which it adds after this event: they would pipe the answer raw,
          // and close the socket before a failure is answered.
          queueMicrotask(() => {
            upstreamRequest.removeAllListeners('response').removeAllListeners('error')
            upstreamRequest.on('error', fail)
            upstreamRequest.once('response', (response) => {
              clearTimeout(deadline)
              relayAnswer(response, sink).then(resolve, reject)
            })
          })
        })
      },
    ],
  })
  sink.onGone(() => fail(new Error('the sandbox went away')))
  // Until the upstream agrees nothing reads this socket, and so nothing would notice that the sandbox left.
  client.once('end', leave).read(0)
  const handshake = { method: 'GET', url: request.path, headers: fieldMap(request.headers), socket: { server: {} } }
  middleware.upgrade(handshake as unknown as IncomingMessage, client as Socket, head)
  return promise.finally(() => clearTimeout(deadline))
}

function fieldsOf(headers: readonly string[]): http.IncomingHttpHeaders {
  const { connection: _connection, upgrade: _upgrade, ...rest } = fieldMap(headers)
  return { ...rest, Connection: 'Upgrade', Upgrade: 'websocket' }
}

/** The upstream said something else than 101: that is the answer. */
function relayAnswer(response: IncomingMessage, sink: ResponseSink): Promise<void> {
  return new Promise((resolve, reject) => {
    requireKnownFraming(response.rawHeaders)
    sink.head(response.statusCode ?? 502, response.statusMessage ?? '', responseFields(response.rawHeaders))
    response.on('data', (chunk: Buffer) => {
      if (sink.write(chunk)) return
      response.pause()
      sink.onDrain(() => response.resume())
    })
    response.once('end', () => {
      sink.end(response.rawTrailers)
      resolve()
    })
    response.once('error', (error) => reject(brokenOff(error)))
  })
}

function brokenOff(cause: unknown): CoatcheckError {
  if (cause instanceof CoatcheckError) return cause
  return new CoatcheckError('upstream_failed', 'The upstream broke off the WebSocket handshake.', 'Try again.', {
    cause,
  })
}

function unanswered(): CoatcheckError {
  return new CoatcheckError(
    'upstream_timeout',
    'The upstream did not answer the WebSocket handshake in time.',
    'Try again; upstream.headersTimeout sets how long to wait.',
  )
}
