/**
 * The proxy's port: absolute-form requests and CONNECT. Identity is settled here, before a certificate is minted or
 * anything else is read; what to do with a request is `exchange.ts`.
 */
import type http from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import type { Authority } from '../core/host.ts'
import type { HostList } from '../core/host-pattern.ts'
import { uuidv7 } from '../core/id.ts'
import type { LeafIssuer, SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { routeConnect } from './destination.ts'
import { type ExchangePorts, runExchange } from './exchange.ts'
import { ExchangeRecord } from './exchange-log.ts'
import { createH1Server, type H1Limits, type ParsedRequest } from './h1-server.ts'
import type { H1Sink } from './h1-sink.ts'
import { H2Server } from './h2-server.ts'
import { every } from './headers.ts'
import { type IdentityRule, identify, presentsCredentials } from './identify.ts'
import { intercept } from './intercept.ts'
import type { ResponseSink, Tunnel } from './message.ts'
import { passThrough } from './passthrough.ts'
import type { RateLimit } from './rate-limit.ts'
import { reject, rejectionBytes } from './rejection.ts'
import { TunnelSet } from './tunnel-set.ts'
import type { Upstream } from './upstream.ts'

export interface ListenerLimits extends H1Limits {
  readonly connections: number
  readonly tunnelsPerSandbox: number
  readonly handshakeTimeoutMs: number
}

export interface ListenerPorts extends ExchangePorts {
  readonly sandboxes: SandboxReader
  readonly identity: IdentityRule
  readonly leaves: LeafIssuer
  readonly leafRate: RateLimit
  readonly upstream: Upstream
  /** Hosts that get a blind tunnel. */
  readonly passthrough: HostList
  /** `needed`: only hosts that some mounted secret allows are intercepted. */
  readonly intercept: 'all' | 'needed'
  /** Offer HTTP/2 to sandboxes. */
  readonly http2: boolean
  readonly limits: ListenerLimits
}

export class ProxyListener {
  readonly #ports: ListenerPorts
  readonly #outer: http.Server
  readonly #inner: http.Server
  readonly #h2: H2Server
  readonly #tunnels: TunnelSet

  constructor(ports: ListenerPorts) {
    this.#ports = ports
    this.#tunnels = new TunnelSet(ports.sandboxes, ports.limits.tunnelsPerSandbox)
    this.#outer = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink) => void this.#absolute(request, sink),
      (message, socket, head) => void this.#connect(message, socket, head),
    )
    this.#outer.maxConnections = ports.limits.connections
    this.#inner = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink, socket) => void this.#tunnelled(request, sink, socket, this.#tunnels.of(socket) as Tunnel),
      (message, socket) => this.#refuse(socket, this.#tunnels.of(socket)?.sandbox ?? null, nestedConnect(), message),
    )
    this.#h2 = new H2Server(ports.limits, ports.clock)
    // The inner server listens nowhere; this event starts its watch over slow request heads.
    this.#inner.emit('listening')
  }

  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, fail) => {
      this.#outer.once('error', fail)
      this.#outer.listen(port, host, () => {
        this.#outer.removeListener('error', fail)
        resolve()
      })
    })
    return this.#outer.address() as AddressInfo
  }

  /** Stops accepting, lets exchanges finish for `graceMs`, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#outer.close(() => resolve()))
    this.#outer.closeIdleConnections()
    this.#inner.closeIdleConnections()
    this.#h2.close()
    const deadline = setTimeout(() => this.#cut(), graceMs)
    await Promise.all([closed, this.#tunnels.closed()])
    clearTimeout(deadline)
    this.#inner.close()
  }

  #cut(): void {
    this.#outer.closeAllConnections()
    this.#tunnels.destroyAll()
  }

  async #absolute(request: ParsedRequest, sink: H1Sink): Promise<void> {
    let sandbox: SandboxIdentity
    try {
      sandbox = await identify(this.#ports.sandboxes, this.#ports.identity, request.headers)
    } catch (error) {
      this.#recordRefusal(request.id, request.method, request.headers, error)
      reject(sink, error, request.id)
      return
    }
    await runExchange(this.#ports, { ...request, sandbox, tunnel: null }, sink)
  }

  async #tunnelled(request: ParsedRequest, sink: ResponseSink, socket: Socket, tunnel: Tunnel): Promise<void> {
    if (!(await this.#ports.sandboxes.isCurrent(tunnel.sandbox))) {
      reject(sink, new CoatcheckError('identity_required', 'The sandbox is gone.', 'Create a sandbox.'), request.id)
      socket.end()
      return
    }
    await runExchange(this.#ports, { ...request, sandbox: tunnel.sandbox, tunnel }, sink)
  }

  async #connect(message: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const id = uuidv7(this.#ports.clock())
    let sandbox: SandboxIdentity | null = null
    try {
      requireNoBody(message.rawHeaders)
      const known = await identify(this.#ports.sandboxes, this.#ports.identity, message.rawHeaders)
      sandbox = known
      const authority = routeConnect(message.url ?? '', message.rawHeaders)
      const blind = await this.#isBlind(known, authority)
      if (!blind) this.#requireLeafAllowance(known, authority)
      this.#tunnels.add(socket, known)
      if (blind) await passThrough(this.#ports, { id, sandbox: known, authority, client: socket, head })
      else await this.#intercept(socket, head, known, authority)
    } catch (error) {
      this.#refuse(socket, sandbox, error, message, id)
    }
  }

  async #intercept(socket: Socket, head: Buffer, sandbox: SandboxIdentity, authority: Authority): Promise<void> {
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    if (head.length > 0) socket.unshift(head)
    const { leaves, limits } = this.#ports
    const alpn = this.#ports.http2 ? ['h2', 'http/1.1'] : ['http/1.1']
    const ports = { leaves, handshakeTimeoutMs: limits.handshakeTimeoutMs, alpn }
    try {
      const { stream, secure, protocol } = await intercept(ports, socket, authority)
      const tunnel = { sandbox, authority, secure }
      if (protocol === 'h2') this.#serveH2(stream, tunnel)
      else {
        this.#tunnels.serve(stream, tunnel)
        this.#inner.emit('connection', stream)
      }
    } catch (error) {
      const record = new ExchangeRecord(this.#ports, uuidv7(this.#ports.clock()), 'CONNECT', sandbox)
      record.routed({ scheme: 'https', ...authority }, null)
      record.failed(error)
      record.finish(null, 0, 0)
    }
  }

  #serveH2(stream: Socket, tunnel: Tunnel): void {
    this.#h2.serve(stream, {
      request: (request, sink) => this.#tunnelled(request, sink, stream, tunnel),
      malformed: ({ id, method, headers }, sink, error) => {
        this.#recordRefusal(id, method, headers, error, tunnel.sandbox)
        reject(sink, error, id)
      },
    })
  }

  async #isBlind(sandbox: SandboxIdentity, { host }: Authority): Promise<boolean> {
    const { passthrough, intercept, secrets } = this.#ports
    if (passthrough.allows(host)) return true
    return intercept === 'needed' && !(await secrets.anyMountedAllows(sandbox, host))
  }

  /** A sandbox that walks through endless names is slowed down before it costs a signature each. */
  #requireLeafAllowance(sandbox: SandboxIdentity, { host }: Authority): void {
    if (this.#ports.leaves.has(host) || this.#ports.leafRate.take(sandbox.id)) return
    throw new CoatcheckError(
      'rate_limited',
      'This sandbox opens tunnels to too many new hosts.',
      'Slow down; limits.newLeavesPerSecond sets the rate.',
    )
  }

  #refuse(
    socket: Socket,
    sandbox: SandboxIdentity | null,
    thrown: unknown,
    message: IncomingMessage,
    id = uuidv7(this.#ports.clock()),
  ): void {
    const error = asCoatcheckError(thrown)
    if (socket.writable) socket.end(rejectionBytes(error, id))
    else socket.destroy()
    this.#recordRefusal(id, message.method ?? '', message.rawHeaders, error, sandbox)
  }

  #recordRefusal(
    id: string,
    method: string,
    headers: readonly string[],
    error: unknown,
    sandbox: SandboxIdentity | null = null,
  ): void {
    // Clients first ask without credentials, by protocol; that is no event.
    if (asCoatcheckError(error).code === 'identity_required' && !presentsCredentials(headers)) return
    const record = new ExchangeRecord(this.#ports, id, method, sandbox)
    record.failed(error)
    record.finish(null, 0, 0)
  }
}

function requireNoBody(headers: readonly string[]): void {
  const framed =
    every(headers, 'transfer-encoding').length > 0 || every(headers, 'content-length').some((n) => n !== '0')
  if (framed)
    throw new CoatcheckError('bad_request', 'CONNECT has no body.', 'Send the bytes after the tunnel is open.')
}

function nestedConnect(): CoatcheckError {
  return new CoatcheckError('method_not_allowed', 'A tunnel cannot be opened inside a tunnel.', 'Open it to the proxy.')
}
