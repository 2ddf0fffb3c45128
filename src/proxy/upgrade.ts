/**
 * WebSocket handshakes (RFC 6455 4): decided on like any request, sent on a connection that was vetted and verified
 * here, then opaque both ways, or inspected. http-proxy-middleware joins the two ends, of which the sandbox's is a stream
 * that inspects where there is something to inspect; its error page is not installed, because it would show the URL.
 */

import type { IncomingMessage } from 'node:http'
import http from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { CoatcheckError } from '../core/errors.ts'
import { every, FieldNames, without } from '../core/fields.ts'
import { formatAuthority } from '../core/host.ts'
import { requireKnownFraming, responseFields, single } from './headers.ts'
import type { Forwarder, ForwardObserver, OutgoingRequest, OutgoingUpgrade, ResponseSink } from './message.ts'
import type { StandingGrants } from './standing-grants.ts'
import type { Upstream } from './upstream.ts'
import { InspectedEnd } from './websocket-end.ts'

const EXTENSIONS = 'sec-websocket-extensions'
/** With extensions, such as permessage-deflate, frames are not what they say. */
const NOT_INSPECTABLE = new FieldNames([EXTENSIONS])

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

export interface UpgradeOptions {
  readonly grants: StandingGrants
  /** How long the upstream may take to answer the handshake. */
  readonly headersTimeoutMs: number
  /** How long nothing may pass either way afterwards. */
  readonly idleTimeoutMs: number
}

export class WebSocketForwarder implements Forwarder {
  readonly #upstream: Upstream
  readonly #options: UpgradeOptions

  constructor(upstream: Upstream, options: UpgradeOptions) {
    this.#upstream = upstream
    this.#options = options
  }

  async forward(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void> {
    const { socket, peer } = await this.#upstream.open(request.destination, ['http/1.1'])
    observer.reached(peer)
    const client = (request.upgrade as OutgoingUpgrade).socket as Socket
    try {
      await join(request, socket, sink, this.#options)
    } finally {
      observer.received(client.bytesRead)
      socket.destroy()
    }
  }
}

/** Resolves when both sockets are done; rejects when it ended before the upstream answered, or was ended here. */
function join(request: OutgoingRequest, upstream: Socket, sink: ResponseSink, options: UpgradeOptions): Promise<void> {
  const { socket, head, inspection } = request.upgrade as OutgoingUpgrade
  const client = socket as Socket
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const failed = (error: unknown) => reject(brokenOff(error))
  const leave = () => client.destroy()
  const deadline = setTimeout(() => reject(unanswered()), options.headersTimeoutMs)
  const inspected = inspection === null ? null : new InspectedEnd(client, head, inspection)
  const middleware = handshaker(request, upstream, {
    failed,
    answered(response) {
      clearTimeout(deadline)
      relayAnswer(response, sink).then(resolve, reject)
    },
    agreed(response, joinEnds) {
      clearTimeout(deadline)
      // Their frames could not be read, and the sandbox would believe that the extension was agreed on.
      if (inspection !== null && every(response.rawHeaders, EXTENSIONS).length > 0) return reject(unaskedExtension())
      client.off('end', leave).once('close', () => (inspected?.failure ? reject(inspected.failure) : resolve()))
      client.setTimeout(options.idleTimeoutMs, leave)
      upstream.once('close', () => (inspected ?? client).end())
      response.headers = fieldsOf(sink.switching(responseFields(response.rawHeaders)))
      joinEnds()
      if (inspection === null) return
      const end = (why: CoatcheckError) => inspected?.breakOff(why)
      client.once('close', options.grants.watch({ withdrawn: inspection.withdrawn, end }))
    },
  })
  sink.onGone(() => failed(new Error('the sandbox went away')))
  // Until the upstream agrees nothing reads this socket, and so nothing would notice that the sandbox left.
  client.once('end', leave).read(0)
  const headers = inspection === null ? request.headers : without(request.headers, NOT_INSPECTABLE)
  const handshake = { method: 'GET', url: request.path, headers: fieldMap(headers), socket: { server: {} } }
  const [end, early] = inspected === null ? [client, head] : [inspected, Buffer.alloc(0)]
  middleware.upgrade(handshake as unknown as IncomingMessage, end as Socket, early)
  return promise.finally(() => clearTimeout(deadline))
}

/** What may become of a handshake. */
interface Outcomes {
  readonly failed: (error: unknown) => void
  /** The upstream said something else than 101. */
  readonly answered: (response: IncomingMessage) => void
  /** @param joinEnds writes the 101 with the response's `headers`, and pipes both ways. */
  readonly agreed: (response: IncomingMessage, joinEnds: () => void) => void
}

type OnUpgrade = (response: IncomingMessage, socket: Duplex, head: Buffer) => void

function handshaker({ destination }: OutgoingRequest, upstream: Socket, on: Outcomes) {
  return createProxyMiddleware({
    target: `http://${formatAuthority(destination.host, destination.port)}`,
    agent: new OneConnection(upstream),
    ejectPlugins: true,
    plugins: [
      (proxy) => {
        proxy.on('error', on.failed)
        // The middleware's own listeners are added after this event. They would pipe any other answer raw, and close the
        // socket before a failure is answered; the one that joins the ends is kept for when it is its turn.
        proxy.on('proxyReqWs', (pending) => queueMicrotask(() => listen(pending, on)))
      },
    ],
  })
}

function listen(pending: http.ClientRequest, on: Outcomes): void {
  const joining = pending.listeners('upgrade') as OnUpgrade[]
  pending.removeAllListeners('upgrade').removeAllListeners('response').removeAllListeners('error')
  pending.on('error', on.failed)
  pending.once('response', on.answered)
  pending.once('upgrade', (response, socket, head) => {
    on.agreed(response, () => {
      for (const each of joining) each(response, socket, head)
    })
  })
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

function unaskedExtension(): CoatcheckError {
  return new CoatcheckError(
    'unmaskable_response',
    'The upstream agreed on a WebSocket extension that was not asked for, so its messages cannot be searched.',
    'Ask its operator, or send this handshake without a placeholder.',
  )
}

function unanswered(): CoatcheckError {
  return new CoatcheckError(
    'upstream_timeout',
    'The upstream did not answer the WebSocket handshake in time.',
    'Try again; upstream.headersTimeout sets how long to wait.',
  )
}
