/**
 * The gateway's port, for clients that take a base URL but no proxy: `http://HOST:PORT/gateway/ROUTE/…` is a request to
 * the route's origin, by the same identity, policy, audit and masking as through the proxy.
 *
 * A request becomes the one that a client of the proxy would have sent, in absolute form, and goes through `runExchange`:
 * one exchange path is one policy. So http-proxy-middleware carries here what it carries everywhere, WebSockets
 * (upgrade.ts), and the forwarder the rest: it keeps fields as they are, checks who was dialled, and streams with
 * back-pressure, none of which the middleware does.
 */
import type http from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { type ExchangePorts, runExchange } from './exchange.ts'
import { compileRoute, type GatewayTarget, type Route, readGatewayTarget, targetAt } from './gateway-route.ts'
import { GatewaySink } from './gateway-sink.ts'
import { createH1Server, type H1Limits, type ParsedRequest } from './h1-server.ts'
import { type Credentials, credentialsIn, type IdentityRule, identifyBy, presentsCredentials } from './identify.ts'
import { Listening } from './listening.ts'
import type { ResponseSink } from './message.ts'
import { recordRefusal } from './record-refusal.ts'
import { reject, rejectionBytes } from './rejection.ts'
import type { StandingGrants } from './standing-grants.ts'

export interface GatewayPorts extends ExchangePorts {
  readonly sandboxes: SandboxReader
  readonly grants: StandingGrants
  readonly identity: IdentityRule
  /** Name -> origin, in the normal form of `gateway.routes`. */
  readonly routes: Readonly<Record<string, string>>
  readonly limits: H1Limits & { readonly connections: number }
}

export class GatewayListener {
  readonly #ports: GatewayPorts
  readonly #routes: ReadonlyMap<string, Route>
  readonly #server: http.Server
  readonly #listening: Listening

  constructor(ports: GatewayPorts) {
    this.#ports = ports
    this.#routes = new Map(Object.entries(ports.routes).map(([name, url]) => [name, compileRoute(name, url)]))
    this.#server = createH1Server(
      ports.limits,
      ports.clock,
      (request, sink, socket) => void this.#exchange(request, sink, socket),
      (message, socket) => this.#refuseConnect(message, socket),
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

  async #exchange(request: ParsedRequest, sink: ResponseSink, socket: Socket): Promise<void> {
    const { id, method } = request
    const asked = readGatewayTarget(request.target)
    let sandbox: SandboxIdentity | null = null
    try {
      sandbox = await this.#identify(asked, request.headers)
      const route = this.#routes.get(asked?.route ?? '')
      if (asked === undefined || route === undefined) throw notFound(request.target)
      const target = targetAt(route, asked.rest)
      const headers = fieldsAt(route, request.headers, asked.credentials ?? undefined)
      const answer = new GatewaySink(sink, route, asked.base)
      const over = this.#ports.grants.connection(sandbox, socket)
      await runExchange(this.#ports, { ...request, target, headers, sandbox, tunnel: null }, answer)
      over()
    } catch (error) {
      const silent = sandbox === null && asked?.credentials === undefined && !presentsCredentials(request.headers)
      if (!silent) recordRefusal(this.#ports, { id, method, sandbox }, error)
      reject(sink, error, id, 'origin')
    }
  }

  async #identify(asked: GatewayTarget | undefined, headers: readonly string[]): Promise<SandboxIdentity> {
    const { sandboxes, identity } = this.#ports
    const inPath = asked?.credentials
    if (inPath !== undefined && presentsCredentials(headers)) throw identifiedTwice()
    const credentials = inPath === undefined && identity.kind === 'required' ? credentialsIn(headers) : inPath
    try {
      return await identifyBy(sandboxes, identity, credentials ?? undefined)
    } catch (error) {
      throw asCoatcheckError(error).code === 'identity_required' ? unidentified() : error
    }
  }

  #refuseConnect(message: IncomingMessage, socket: Socket): void {
    const error = new CoatcheckError(
      'method_not_allowed',
      'This is the gateway, which opens no tunnels.',
      'Use it as a base URL: http://HOST:PORT/gateway/ROUTE. The proxy has a port of its own.',
    )
    const id = uuidv7(this.#ports.clock())
    if (socket.writable) socket.end(rejectionBytes(error, id))
    else socket.destroy()
    if (presentsCredentials(message.rawHeaders)) {
      recordRefusal(this.#ports, { id, method: 'CONNECT', sandbox: null }, error)
    }
  }
}

/** The request's fields as for the origin; a Referer that holds the token ends here with it. */
function fieldsAt(route: Route, headers: readonly string[], credentials: Credentials | undefined): readonly string[] {
  const fields: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1] as string
    if (name === 'referer' && credentials !== undefined && value.includes(credentials.token)) continue
    fields.push(headers[i] as string, name === 'host' ? route.hostField : value)
  }
  return fields
}

function notFound(target: string): CoatcheckError {
  if (/^https?:/i.test(target)) {
    return new CoatcheckError(
      'bad_request',
      'This is the gateway, not the proxy.',
      'Use it as a base URL: http://HOST:PORT/gateway/ROUTE. The proxy has a port of its own.',
    )
  }
  return new CoatcheckError(
    'not_found',
    'The gateway has no such route.',
    'Ask for /gateway/ROUTE/…; an operator names the routes in gateway.routes.',
  )
}

function unidentified(): CoatcheckError {
  return new CoatcheckError(
    'identity_required',
    'The gateway does not know which sandbox this is.',
    'Use the base URL http://HOST:PORT/gateway/ROUTE/~NAME:TOKEN, or send Proxy-Authorization: Basic.',
  )
}

function identifiedTwice(): CoatcheckError {
  return new CoatcheckError(
    'bad_request',
    'The request names its sandbox twice, in its path and in a field.',
    'Leave out Proxy-Authorization, or the ~NAME:TOKEN of the base URL.',
  )
}
