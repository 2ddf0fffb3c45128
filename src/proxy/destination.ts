/**
 * Where a request goes, decided once: request target, Host and the CONNECT authority must all name the same canonical
 * host and port, or the request is refused. Nothing is repaired (RFC 9112 3.2, 3.3; stricter where it says "ignore").
 */
import { CoatcheckError } from '../core/errors.ts'
import { every } from '../core/fields.ts'
import { type Authority, formatAuthority, parseAbsoluteTarget, parseAuthority } from '../core/host.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { Destination, ExchangeRequest, Scheme, Tunnel } from './message.ts'

const NEVER_FORWARDED = new Set(['TRACE', 'TRACK', 'DEBUG', 'CONNECT'])

const DEFAULT_PORT: Readonly<Record<Scheme, number>> = { http: 80, https: 443 }

export interface Routed {
  readonly destination: Destination
  /** The target in origin form, byte for byte as sent. */
  readonly path: string
  /** What the Host field says upstream. */
  readonly hostField: string
}

function badRequest(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('bad_request', message, hint)
}

/** Refuses methods that reflect a request (RFC 9110 9.3.8), tunnels in tunnels, and versions framed otherwise. */
function requireForwardable(request: ExchangeRequest): void {
  if (NEVER_FORWARDED.has(request.method)) {
    throw new CoatcheckError(
      'method_not_allowed',
      `${request.method} is never forwarded.`,
      'Use another method; TRACE would send the credentials back.',
    )
  }
  if (request.httpVersion !== '1.1' && request.httpVersion !== '2.0') {
    throw new CoatcheckError('version_not_supported', `HTTP/${request.httpVersion} is not forwarded.`, 'Use HTTP/1.1.')
  }
  if (every(request.headers, 'expect').some((expected) => expected.toLowerCase() !== '100-continue')) {
    throw badRequest('The Expect field asks for something that is not known here.', 'Expect 100-continue or nothing.')
  }
}

function onlyHost(headers: readonly string[]): string {
  const fields = every(headers, 'host')
  const [host] = fields
  if (fields.length !== 1 || host === undefined) {
    throw badRequest(
      fields.length === 0 ? 'The request has no Host field.' : 'The request has more than one Host field.',
      'Send exactly one Host field that names the destination.',
    )
  }
  return host
}

function hostNamedIn(headers: readonly string[], scheme: Scheme): Authority {
  return parseAuthority(onlyHost(headers), DEFAULT_PORT[scheme])
}

function same(left: Authority, right: Authority): boolean {
  return left.host === right.host && left.port === right.port
}

function placeOf(scheme: Scheme, { host, port }: Authority): Omit<Routed, 'path'> {
  return { destination: { scheme, host, port }, hostField: formatAuthority(host, port, DEFAULT_PORT[scheme]) }
}

/** @param secure true when the sandbox's TLS is ended here. */
export function tunnelTo(authority: Authority, secure: boolean, sandbox: SandboxIdentity): Tunnel {
  return { sandbox, authority, ...placeOf(secure ? 'https' : 'http', authority) }
}

function routeInTunnel(request: ExchangeRequest, { authority, destination, hostField }: Tunnel): Routed {
  if (!request.target.startsWith('/')) {
    throw badRequest('Inside a tunnel the request target must be a path.', 'Send an origin-form target such as "/".')
  }
  const host = onlyHost(request.headers)
  // Most clients write it as it goes on: then there is nothing to read.
  if (host !== hostField && !same(parseAuthority(host, DEFAULT_PORT[destination.scheme]), authority)) {
    throw new CoatcheckError(
      'misdirected',
      'The Host field names another host than the tunnel was opened to.',
      'Open a tunnel for each host.',
    )
  }
  return { destination, path: request.target, hostField }
}

function routeAbsolute(request: ExchangeRequest): Routed {
  if (request.target.startsWith('/') || request.target === '*') {
    throw badRequest(
      'This is a forward proxy: the request target must be an absolute URL.',
      'Set HTTP_PROXY and HTTPS_PROXY instead of using this address as a server.',
    )
  }
  const { scheme, authority, path } = parseAbsoluteTarget(request.target)
  if (!same(hostNamedIn(request.headers, scheme), authority)) {
    throw new CoatcheckError(
      'authority_mismatch',
      'The request target and the Host field name different hosts.',
      'Send a Host field that equals the host of the URL.',
    )
  }
  return { ...placeOf(scheme, authority), path }
}

/** Throws `bad_request`, `invalid_host`, `authority_mismatch`, `misdirected`, `method_not_allowed`, `version_not_supported`. */
export function routeRequest(request: ExchangeRequest): Routed {
  requireForwardable(request)
  return request.tunnel === null ? routeAbsolute(request) : routeInTunnel(request, request.tunnel)
}

/** Where a redirected plain request goes: its Host field alone says so. Throws `bad_request`, `invalid_host`. */
export function routeHost(headers: readonly string[]): Authority {
  return hostNamedIn(headers, 'http')
}

/** The authority of a CONNECT: the port is required, and a Host field, where sent, must agree (RFC 9110 9.3.6). */
export function routeConnect(target: string, headers: readonly string[]): Authority {
  const authority = parseAuthority(target, null)
  const fields = every(headers, 'host')
  if (fields.length > 1) throw badRequest('CONNECT has more than one Host field.', 'Send one Host field.')
  const [host] = fields
  // Common clients send the Host of a CONNECT with or without the port.
  if (host !== undefined && !same(parseAuthority(host, authority.port), authority)) {
    throw new CoatcheckError(
      'authority_mismatch',
      'The CONNECT target and its Host field name different hosts.',
      'Send a Host field that equals the CONNECT target.',
    )
  }
  return authority
}
