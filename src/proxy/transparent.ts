/**
 * Ports for connections that a firewall redirected here from clients that know of no proxy.
 *
 * Where the client meant to connect to is never looked at: TLS goes to the host that its server name says, plain HTTP
 * to the host that its Host field says, each resolved and vetted here. So an address of somebody else's choosing, under
 * the name of an allowed host, leads to that host and nowhere else.
 */
import type http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { type Authority, canonicalHost, isIpLiteral } from '../core/host.ts'
import { uuidv7 } from '../core/id.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { readClientHello } from './client-hello.ts'
import { routeHost, tunnelTo } from './destination.ts'
import { type ExchangePorts, runExchange } from './exchange.ts'
import type { ExchangeLogPorts } from './exchange-log.ts'
import { createH1Server, type H1Limits, type ParsedRequest } from './h1-server.ts'
import { Listening } from './listening.ts'
import type { ResponseSink, TunnelCall } from './message.ts'
import { type Opening, readOpening } from './opening.ts'
import { recordRefusal } from './record-refusal.ts'
import { reject, rejectionBytes } from './rejection.ts'
import type { SourceIdentity } from './source-identity.ts'
import type { StandingGrants } from './standing-grants.ts'
import { type StreamLimits, StreamListener } from './stream-listener.ts'
import type { TunnelServer } from './tunnel-server.ts'

export interface TransparentTlsPorts extends ExchangeLogPorts {
  readonly sources: SourceIdentity
  /** Port of the upstream. */
  readonly tlsPort: number
  readonly limits: StreamLimits
}

/** AlertDescription (RFC 8446 6). */
const ACCESS_DENIED = 49
const UNRECOGNIZED_NAME = 112

export class TransparentTlsListener {
  readonly #ports: TransparentTlsPorts
  readonly #listener: StreamListener

  constructor(ports: TransparentTlsPorts, tunnels: TunnelServer) {
    this.#ports = ports
    this.#listener = new StreamListener(ports.limits, (socket) => this.#greet(socket), tunnels)
  }

  listen(host: string, port: number): Promise<AddressInfo> {
    return this.#listener.listen(host, port)
  }

  close(graceMs: number): Promise<void> {
    return this.#listener.close(graceMs)
  }

  async #greet(socket: Socket): Promise<TunnelCall | null> {
    const id = uuidv7(this.#ports.clock())
    const refuse = () => void socket.end(fatalAlert(ACCESS_DENIED))
    let sandbox: SandboxIdentity | null = null
    try {
      sandbox = await this.#ports.sources.identify(socket.remoteAddress)
      const { serverName, bytes } = await readOpening(socket, helloIn)
      const authority = { host: nameOf(serverName), port: this.#ports.tlsPort }
      return { id, sandbox, authority, socket, head: bytes, accept: () => undefined, refuse }
    } catch (error) {
      if (socket.writable) socket.end(fatalAlert(sandbox === null ? ACCESS_DENIED : UNRECOGNIZED_NAME))
      if (sandbox !== null) recordRefusal(this.#ports, { id, method: 'CONNECT', sandbox }, error)
      return null
    }
  }
}

/** All that has come once it holds a whole ClientHello: what comes behind it belongs to the tunnel as well. */
function helloIn(bytes: Buffer): Opening<{ readonly serverName: string | null; readonly bytes: Buffer }> {
  const hello = readClientHello(bytes)
  if (hello.kind === 'incomplete') return { needs: hello.needs }
  if (hello.kind === 'hello') return { value: { serverName: hello.serverName, bytes }, used: bytes.length }
  throw new CoatcheckError(
    'bad_request',
    `The redirected connection ${hello.flaw}.`,
    'Redirect TLS to transparent.listenTls, plain HTTP to transparent.listenHttp, and nothing else.',
  )
}

function nameOf(serverName: string | null): Authority['host'] {
  const host = serverName === null ? null : canonicalHost(serverName)
  if (host !== null && !isIpLiteral(host)) return host
  throw new CoatcheckError(
    'bad_request',
    'The TLS handshake names no server, so there is nowhere to go.',
    'Use a client that sends the server name (SNI), or one that can use a proxy.',
  )
}

/** A fatal alert before any key is known: a record of TLS 1.2, as every version reads it. */
function fatalAlert(description: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, description])
}

export interface TransparentHttpPorts extends ExchangePorts {
  readonly grants: StandingGrants
  readonly sources: SourceIdentity
  readonly limits: H1Limits & { readonly connections: number }
}

export class TransparentHttpListener {
  readonly #ports: TransparentHttpPorts
  readonly #server: http.Server
  readonly #listening: Listening

  constructor(ports: TransparentHttpPorts) {
    this.#ports = ports
    this.#server = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink, socket) => void this.#exchange(request, sink, socket),
      (_message, socket) => void socket.end(rejectionBytes(noConnect(), uuidv7(ports.clock()))),
      (id, error, socket) => void this.#recordMalformed(id, error, socket),
    )
    this.#listening = new Listening(this.#server, ports.limits.connections)
  }

  listen(host: string, port: number): Promise<AddressInfo> {
    return this.#listening.open(host, port)
  }

  async close(graceMs: number): Promise<void> {
    const closed = this.#listening.close(graceMs)
    this.#server.closeIdleConnections()
    await closed
  }

  /** Each request is as if in a plain tunnel to the host that it names itself. */
  async #exchange(request: ParsedRequest, sink: ResponseSink, socket: Socket): Promise<void> {
    let sandbox: SandboxIdentity | null = null
    try {
      sandbox = await this.#ports.sources.identify(socket.remoteAddress)
      const tunnel = tunnelTo(routeHost(request.headers), false, sandbox)
      const over = this.#ports.grants.connection(sandbox, socket)
      await runExchange(this.#ports, { ...request, sandbox, tunnel }, sink)
      over()
    } catch (thrown) {
      const error = asCoatcheckError(thrown)
      const { id, method } = request
      if (sandbox !== null) recordRefusal(this.#ports, { id, method, sandbox }, error)
      reject(sink, error, id, 'origin')
    }
  }

  async #recordMalformed(id: string, error: CoatcheckError, { remoteAddress }: Socket): Promise<void> {
    const sandbox = await this.#ports.sources.identify(remoteAddress).catch(() => null)
    if (sandbox !== null) recordRefusal(this.#ports, { id, method: '-', sandbox }, error)
  }
}

function noConnect(): CoatcheckError {
  return new CoatcheckError('method_not_allowed', 'This is no proxy to open tunnels to.', 'Connect to the host itself.')
}
