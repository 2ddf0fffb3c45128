/**
 * The proxy's port: absolute-form requests and CONNECT. Identity is settled here, before a certificate is minted or
 * anything else is read; what to do with a request is `exchange.ts`.
 */
import type http from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { every } from '../core/fields.ts'
import { uuidv7 } from '../core/id.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { routeConnect } from './destination.ts'
import { type ExchangePorts, runExchange } from './exchange.ts'
import { createH1Server, type H1Limits, type ParsedRequest } from './h1-server.ts'
import type { H1Sink } from './h1-sink.ts'
import { type IdentityRule, identify, presentsCredentials } from './identify.ts'
import { Listening } from './listening.ts'
import { recordRefusal } from './record-refusal.ts'
import { reject, rejectionBytes } from './rejection.ts'
import type { StandingGrants } from './standing-grants.ts'
import type { TunnelServer } from './tunnel-server.ts'

export interface ListenerPorts extends ExchangePorts {
  readonly sandboxes: SandboxReader
  readonly grants: StandingGrants
  readonly identity: IdentityRule
  readonly limits: H1Limits & { readonly connections: number }
}

export class ProxyListener {
  readonly #ports: ListenerPorts
  readonly #tunnels: TunnelServer
  readonly #server: http.Server
  readonly #listening: Listening

  constructor(ports: ListenerPorts, tunnels: TunnelServer) {
    this.#ports = ports
    this.#tunnels = tunnels
    this.#server = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink, socket) => void this.#absolute(request, sink, socket),
      (message, socket, head) => void this.#connect(message, socket, head),
    )
    this.#listening = new Listening(this.#server, ports.limits.connections)
  }

  listen(host: string, port: number): Promise<AddressInfo> {
    return this.#listening.open(host, port)
  }

  /** Stops accepting, lets exchanges finish for `graceMs`, then cuts what is left. Tunnels are closed by their server. */
  async close(graceMs: number): Promise<void> {
    const closed = this.#listening.close(graceMs)
    this.#server.closeIdleConnections()
    await closed
  }

  async #absolute(request: ParsedRequest, sink: H1Sink, socket: Socket): Promise<void> {
    let sandbox: SandboxIdentity
    try {
      sandbox = await identify(this.#ports.sandboxes, this.#ports.identity, request.headers)
    } catch (error) {
      this.#recordRefusal(request.id, request.method, request.headers, error)
      reject(sink, error, request.id)
      return
    }
    const over = this.#ports.grants.connection(sandbox, socket)
    await runExchange(this.#ports, { ...request, sandbox, tunnel: null }, sink)
    over()
  }

  async #connect(message: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const id = uuidv7(this.#ports.clock())
    const refuse = (error: CoatcheckError) => {
      if (socket.writable) socket.end(rejectionBytes(error, id))
      else socket.destroy()
    }
    let sandbox: SandboxIdentity | null = null
    try {
      requireNoBody(message.rawHeaders)
      sandbox = await identify(this.#ports.sandboxes, this.#ports.identity, message.rawHeaders)
      const authority = routeConnect(message.url ?? '', message.rawHeaders)
      const accept = () => void socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      await this.#tunnels.open({ id, sandbox, authority, socket, head, accept, refuse })
    } catch (thrown) {
      const error = asCoatcheckError(thrown)
      refuse(error)
      this.#recordRefusal(id, 'CONNECT', message.rawHeaders, error, sandbox)
    }
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
    recordRefusal(this.#ports, { id, method, sandbox }, error)
  }
}

function requireNoBody(headers: readonly string[]): void {
  const framed =
    every(headers, 'transfer-encoding').length > 0 || every(headers, 'content-length').some((n) => n !== '0')
  if (framed)
    throw new CoatcheckError('bad_request', 'CONNECT has no body.', 'Send the bytes after the tunnel is open.')
}
