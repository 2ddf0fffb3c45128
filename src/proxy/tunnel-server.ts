/**
 * What becomes of a tunnel once its sandbox and its destination are known, however it was asked for (CONNECT, SOCKS, a
 * redirected connection): blind or intercepted, within its limits, each request in it an exchange.
 */
import type http from 'node:http'
import type { Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import type { Authority } from '../core/host.ts'
import type { HostList } from '../core/host-pattern.ts'
import { uuidv7 } from '../core/id.ts'
import type { LeafIssuer, SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { tunnelTo } from './destination.ts'
import { type ExchangePorts, runExchange } from './exchange.ts'
import { createH1Server, type H1Limits, type ParsedRequest } from './h1-server.ts'
import { H2Server } from './h2-server.ts'
import { intercept } from './intercept.ts'
import type { ResponseSink, Tunnel, TunnelCall } from './message.ts'
import { passThrough } from './passthrough.ts'
import type { RateLimit } from './rate-limit.ts'
import { recordRefusal } from './record-refusal.ts'
import { reject, rejectionBytes } from './rejection.ts'
import { SANDBOX_GONE, type StandingGrants } from './standing-grants.ts'
import { TunnelSet } from './tunnel-set.ts'
import type { Upstream } from './upstream.ts'

export interface TunnelLimits extends H1Limits {
  readonly tunnelsPerSandbox: number
  readonly handshakeTimeoutMs: number
}

export interface TunnelPorts extends ExchangePorts {
  readonly sandboxes: SandboxReader
  readonly grants: StandingGrants
  readonly leaves: LeafIssuer
  readonly leafRate: RateLimit
  readonly upstream: Upstream
  /** Hosts that get a blind tunnel. */
  readonly passthrough: HostList
  /** `needed`: only hosts that some mounted secret allows are intercepted. */
  readonly intercept: 'all' | 'needed'
  /** Offer HTTP/2 to sandboxes. */
  readonly http2: boolean
  readonly limits: TunnelLimits
}

export class TunnelServer {
  readonly #ports: TunnelPorts
  readonly #h1: http.Server
  readonly #h2: H2Server
  readonly #tunnels: TunnelSet

  constructor(ports: TunnelPorts) {
    this.#ports = ports
    this.#tunnels = new TunnelSet(ports.grants, ports.limits.tunnelsPerSandbox)
    this.#h1 = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink, socket) => void this.#exchange(request, sink, socket, this.#tunnels.of(socket) as Tunnel),
      (_message, socket) => this.#refuseNested(socket),
      (id, error, socket) => this.#refuseMalformed(id, error, this.#tunnels.of(socket) as Tunnel),
    )
    this.#h2 = new H2Server(ports.limits, ports.clock)
    // The server listens nowhere; this event starts its watch over slow request heads.
    this.#h1.emit('listening')
  }

  /** Never rejects: whatever goes wrong is answered and recorded. */
  async open(call: TunnelCall): Promise<void> {
    const { sandbox, authority, socket } = call
    try {
      const blind = await this.#isBlind(sandbox, authority)
      if (!blind) this.#requireLeafAllowance(sandbox, authority)
      this.#tunnels.add(socket, sandbox)
      if (blind) await passThrough(this.#ports, call)
      else await this.#intercept(call)
    } catch (thrown) {
      const error = asCoatcheckError(thrown)
      call.refuse(error)
      this.#record(call.id, 'CONNECT', sandbox, error, authority)
    }
  }

  /** Lets exchanges finish for `graceMs`, then cuts what is left. */
  async close(graceMs: number): Promise<void> {
    this.#h1.closeIdleConnections()
    this.#h2.close()
    const deadline = setTimeout(() => this.#tunnels.destroyAll(), graceMs)
    await this.#tunnels.closed()
    clearTimeout(deadline)
    this.#h1.close()
  }

  async #intercept({ socket, head, sandbox, authority, accept }: TunnelCall): Promise<void> {
    accept()
    if (head.length > 0) socket.unshift(head)
    const { leaves, limits, http2 } = this.#ports
    const alpn = http2 ? ['h2', 'http/1.1'] : ['http/1.1']
    const ports = { leaves, handshakeTimeoutMs: limits.handshakeTimeoutMs, alpn }
    try {
      const { stream, secure, protocol } = await intercept(ports, socket, authority)
      const tunnel = tunnelTo(authority, secure, sandbox)
      if (protocol === 'h2') this.#serveH2(stream, tunnel)
      else {
        this.#tunnels.serve(stream, tunnel)
        this.#h1.emit('connection', stream)
      }
    } catch (error) {
      this.#record(uuidv7(this.#ports.clock()), 'CONNECT', sandbox, error, authority)
    }
  }

  #serveH2(stream: Socket, tunnel: Tunnel): void {
    this.#h2.serve(stream, {
      request: (request, sink) => this.#exchange(request, sink, stream, tunnel),
      malformed: ({ id, method }, sink, error) => {
        this.#record(id, method, tunnel.sandbox, error, tunnel.authority)
        reject(sink, error, id)
      },
    })
  }

  async #exchange(request: ParsedRequest, sink: ResponseSink, socket: Socket, tunnel: Tunnel): Promise<void> {
    try {
      const current = this.#ports.sandboxes.isCurrent(tunnel.sandbox)
      if (!(current instanceof Promise ? await current : current)) throw SANDBOX_GONE
    } catch (error) {
      this.#record(request.id, request.method, tunnel.sandbox, error, tunnel.authority)
      reject(sink, error, request.id)
      socket.end()
      return
    }
    await runExchange(this.#ports, { ...request, sandbox: tunnel.sandbox, tunnel }, sink)
  }

  /** Its method is not known, and its path neither. */
  #refuseMalformed(id: string, error: CoatcheckError, { sandbox, authority }: Tunnel): void {
    this.#record(id, '-', sandbox, error, authority)
  }

  #refuseNested(socket: Socket): void {
    const id = uuidv7(this.#ports.clock())
    const error = new CoatcheckError(
      'method_not_allowed',
      'A tunnel cannot be opened inside a tunnel.',
      'Open it to the proxy.',
    )
    if (socket.writable) socket.end(rejectionBytes(error, id))
    else socket.destroy()
    this.#record(id, 'CONNECT', this.#tunnels.of(socket)?.sandbox ?? null, error)
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

  #record(id: string, method: string, sandbox: SandboxIdentity | null, error: unknown, authority?: Authority): void {
    const destination = authority && ({ scheme: 'https', ...authority } as const)
    recordRefusal(this.#ports, { id, method, sandbox, ...(destination && { destination }) }, error)
  }
}
