/**
 * The HTTP/1.1 server that reads what sandboxes send, outside tunnels and inside them: Node's strict parser (llhttp
 * refuses every framing trick), turned into exchanges. It decides nothing.
 */
import http, { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { CoatcheckError } from '../core/errors.ts'
import { isNamed } from '../core/fields.ts'
import { uuidv7 } from '../core/id.ts'
import type { Clock } from '../core/ports.ts'
import { H1Sink } from './h1-sink.ts'
import { lengthOf } from './headers.ts'
import type { ExchangeRequest, UpgradeSocket } from './message.ts'
import { rejectionBytes } from './rejection.ts'
import { Turns } from './turns.ts'
import { isWebSocketHandshake } from './upgrade.ts'

/** What a parsed request is before it is known whose it is. */
export type ParsedRequest = Omit<ExchangeRequest, 'sandbox' | 'tunnel'>

export type OnRequest = (request: ParsedRequest, sink: H1Sink, socket: Socket) => void

/** @param head bytes that came after the CONNECT. */
export type OnConnect = (message: IncomingMessage, socket: Socket, head: Buffer) => void

/** A request that could not be read and never became an exchange: at most one for each connection, which ends with it. */
export type OnMalformed = (id: string, error: CoatcheckError, socket: Socket) => void

export interface H1Limits {
  readonly headerBytes: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  /** Whether a sandbox that ended its side of the connection after a request still gets the answer, or is taken for gone. */
  readonly halfClosed: 'abort' | 'answer'
}

/** How long a refused connection is read from. */
const LINGER_MS = 1_000
/** How often silent connections are looked for. */
const SWEEP_MS = 1_000

/** Knows whose turn it is on each connection, and closes those on which a sandbox stalls, or on which nothing more may come. */
class TurnTakingServer extends http.Server {
  readonly turns = new Turns()

  constructor(options: http.ServerOptions, idleTimeoutMs: number) {
    super(options)
    this.on('connection', (socket: Socket) => this.turns.open(socket))
    // A silence that is the upstream's is bounded by its own timeouts.
    const sweep = () => this.turns.expire(performance.now(), idleTimeoutMs)
    const sweeper = setInterval(sweep, Math.max(1, Math.min(SWEEP_MS, idleTimeoutMs / 4))).unref()
    this.once('close', () => clearInterval(sweeper))
  }

  /** Those that are idle now, and from now on each as it becomes so. */
  override closeIdleConnections(): void {
    super.closeIdleConnections()
    this.turns.drain()
  }
}

function serverOptions(limits: H1Limits): http.ServerOptions {
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: 0,
    connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
    requireHostHeader: false,
    insecureHTTPParser: false,
    optimizeEmptyRequests: true,
    noDelay: true,
    shouldUpgradeCallback: (request) => isHandshake(request),
  }
}

/** The callbacks get one request at a time of each connection, and must not throw. */
export function createH1Server(
  limits: H1Limits,
  clock: Clock,
  onRequest: OnRequest,
  onConnect: OnConnect,
  onMalformed: OnMalformed = () => undefined,
): http.Server {
  const server = new TurnTakingServer(serverOptions(limits), limits.idleTimeoutMs)
  Object.assign(server, { httpAllowHalfOpen: limits.halfClosed === 'answer' })
  const { turns } = server
  const keptFor = Math.floor(limits.idleTimeoutMs / 1_000)
  const take = (message: IncomingMessage, response: ServerResponse, expects: boolean) => {
    const { socket } = message
    turns.take(socket, message, response, () => {
      onRequest(parsed(message, clock, expects, null), new H1Sink(response, keptFor), socket)
    })
  }
  server.on('request', (message, response) => take(message, response, false))
  server.on('checkContinue', (message, response) => take(message, response, true))
  server.on('checkExpectation', (message, response) => take(message, response, false))
  server.on('upgrade', (message, stream, head) => {
    const socket = handedOver(stream)
    turns.take(socket, message, null, () => {
      const sink = new H1Sink(responseOn(message, socket), 0)
      onRequest(parsed(message, clock, false, { socket, head }), sink, socket)
    })
  })
  server.on('connect', (message, stream, head) => {
    const socket = handedOver(stream)
    turns.take(socket, message, null, () => onConnect(message, socket, head))
  })
  server.on('clientError', (error: NodeJS.ErrnoException, stream: Duplex) => {
    const socket = stream as Socket
    if (turns.inAnswer(socket)) socket.destroy()
    // What is still coming after the answer fails again, and is read away.
    if (!socket.writable) return
    const id = uuidv7(clock())
    const failure = parseFailure(error)
    // A body that cannot be read ends its exchange, which says so. A connection on which nothing came asked for nothing.
    if (!turns.isBusy(socket) && socket.bytesRead > 0) onMalformed(id, failure, socket)
    answerAndClose(socket, rejectionBytes(failure, id))
  })
  return server
}

/** A connection that Node's server has let go of, its error listener included: without one an error ends the process. */
function handedOver(stream: Duplex): Socket {
  stream.on('error', () => stream.destroy())
  return stream as Socket
}

/** Closing at once would reset the connection under a sandbox that still sends, and take the answer from it. */
function answerAndClose(socket: Duplex, answer: Buffer): void {
  socket.end(answer)
  const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(linger))
}

function isHandshake(message: IncomingMessage): boolean {
  try {
    return isWebSocketHandshake(message.method ?? '', message.rawHeaders)
  } catch {
    return false
  }
}

/** A response for a handshake that is refused: Node hands out none once a request upgrades. */
function responseOn(message: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(message)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  return response
}

function parsed(
  message: IncomingMessage,
  clock: Clock,
  expectsContinue: boolean,
  upgrade: UpgradeSocket | null,
): ParsedRequest {
  const body = upgrade === null && hasBody(message.rawHeaders) ? message : null
  return {
    id: uuidv7(clock()),
    // A request line can claim 2.0 and llhttp lets it, but only an h2 connection speaks it (RFC 9113 3).
    httpVersion: message.httpVersion === '2.0' ? '2.0 in a request line' : message.httpVersion,
    method: message.method ?? '',
    target: message.url ?? '',
    headers: message.rawHeaders,
    body,
    // RFC 9112 7.1.2: only a chunked body has them.
    trailers: body === null || lengthOf(message.rawHeaders) !== null ? null : () => message.rawTrailers,
    expectsContinue,
    upgrade,
  }
}

/** RFC 9112 6.3: a request has a body when it says how it is framed. */
function hasBody(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (isNamed(name, 'transfer-encoding')) return true
    if (isNamed(name, 'content-length') && headers[i + 1] !== '0') return true
  }
  return false
}

function parseFailure(error: NodeJS.ErrnoException): CoatcheckError {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new CoatcheckError(
      'headers_too_large',
      'The request head is too large.',
      'Send fewer or shorter fields; limits.headerBytes sets the bound.',
      { cause: error },
    )
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new CoatcheckError(
      'bad_request',
      'The request head did not arrive in time.',
      'Send it at once; limits.headersTimeout sets the bound.',
      { cause: error },
    )
  }
  return new CoatcheckError('bad_request', 'The request is not valid HTTP/1.1.', 'Send a request as RFC 9112 says.', {
    cause: error,
  })
}
