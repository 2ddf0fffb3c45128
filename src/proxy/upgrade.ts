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
import { responseFields, single } from './headers.ts'
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

/** The fields as http.request takes them: case and order kept, repeated names as a list. */
function fieldMap(headers: readonly string[]): Record<string, string | string[]> {
  const map = new Map<string, string | string[]>()
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    const before = map.get(name)
    map.set(name, before === undefined ? value : [before, value].flat())
  }
  return Object.fromEntries([...map, ['connection', 'Upgrade'], ['upgrade', 'websocket']])
}

export class WebSocketForwarder implements Forwarder {
  readonly #upstream: Upstream

  constructor(upstream: Upstream) {
    this.#upstream = upstream
  }

  async forward(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const { socket, peer } = await this.#upstream.open(request.destination, ['http/1.1'])
    observer.reached(peer)
    const client = (request.upgrade as UpgradeSocket).socket as Socket
    try {
      await join(request, socket, sink)
    } finally {
      observer.received(client.bytesRead)
      socket.destroy()
    }
  }
}

/** Resolves when both sockets are done; rejects when the upstream failed before it answered. */
function join(request: OutgoingRequest, upstream: Socket, sink: ResponseSink): Promise<void> {
  const { socket: client, head } = request.upgrade as UpgradeSocket
  const { host, port } = request.destination
  return new Promise((resolve, reject) => {
    const middleware = createProxyMiddleware({
      target: `http://${formatAuthority(host, port)}`,
      agent: new OneConnection(upstream),
      ejectPlugins: true,
      plugins: [
        (proxy) => {
          proxy.on('error', (error) => reject(brokenOff(error)))
          proxy.on('proxyReqWs', (upstreamRequest) => {
            upstreamRequest.prependListener('upgrade', (response: IncomingMessage) => {
              response.headers = fieldsOf(sink.switching(response.rawHeaders))
            })
            // In place of the middleware's own listener, which it adds after this event and which pipes the answer raw.
            queueMicrotask(() => {
              upstreamRequest.removeAllListeners('response')
              upstreamRequest.once('response', (response) => void relayAnswer(response, sink).then(resolve, reject))
            })
          })
        },
      ],
    })
    client.once('close', resolve)
    upstream.once('close', () => client.end())
    const handshake = { method: 'GET', url: request.path, headers: fieldMap(request.headers), socket: { server: {} } }
    middleware.upgrade(handshake as unknown as IncomingMessage, client as Socket, head)
  })
}

function fieldsOf(headers: readonly string[]): http.IncomingHttpHeaders {
  const { connection: _connection, upgrade: _upgrade, ...rest } = fieldMap(headers)
  return { ...rest, Connection: 'Upgrade', Upgrade: 'websocket' }
}

/** The upstream said something else than 101: that is the answer. */
function relayAnswer(response: IncomingMessage, sink: ResponseSink): Promise<void> {
  return new Promise((resolve, reject) => {
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
