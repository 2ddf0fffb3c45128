/**
 * What a gateway's request target says: `/gateway/ROUTE[/~NAME:TOKEN]/…`. What stands behind it goes on byte for byte,
 * and what identifies the sandbox ends here.
 */
import { CoatcheckError } from '../core/errors.ts'
import { type Authority, formatAuthority, parseAbsoluteTarget } from '../core/host.ts'
import type { Credentials } from './identify.ts'
import type { Scheme } from './message.ts'

/** An origin under a name. */
export interface Route {
  readonly name: string
  readonly scheme: Scheme
  readonly authority: Authority
  /** What the Host field says at the origin. */
  readonly hostField: string
  /** `https://host[:port][/prefix]`. */
  readonly url: string
  /** Path of the origin under which everything lies; empty or `/a/b`. */
  readonly prefix: string
}

export interface GatewayTarget {
  readonly route: string
  /** What the client put before its own paths: `/gateway/ROUTE`, and the credentials as they were sent. */
  readonly base: string
  /** Undefined when the path holds none; null when what stands in their place cannot be read. */
  readonly credentials: Credentials | null | undefined
  /** Path and query behind the base: empty, or with `/` or `?` first. */
  readonly rest: string
}

/** @param url normal form of `gateway.routes`. */
export function compileRoute(name: string, url: string): Route {
  const { scheme, authority, path } = parseAbsoluteTarget(url)
  const hostField = formatAuthority(authority.host, authority.port, scheme === 'https' ? 443 : 80)
  return { name, scheme, authority, hostField, url, prefix: path === '/' ? '' : path }
}

/** Undefined when it is not a gateway's path at all. */
export function readGatewayTarget(target: string): GatewayTarget | undefined {
  const [, start, route, behind] = /^(\/gateway\/([^/?]+))(.*)$/s.exec(target) ?? []
  if (start === undefined || route === undefined || behind === undefined) return undefined
  // Also when the tilde is escaped: whatever looks like credentials must not go on to the origin.
  const [, segment, text, rest] = /^(\/(?:~|%7e)([^/?]*))(.*)$/is.exec(behind) ?? []
  if (segment === undefined) return { route, base: start, credentials: undefined, rest: behind }
  return { route, base: start + segment, credentials: credentialsOf(text ?? ''), rest: rest ?? '' }
}

function credentialsOf(text: string): Credentials | null {
  const decoded = decodedOrNull(text)
  const colon = decoded?.indexOf(':') ?? -1
  return decoded === null || colon < 0 ? null : { name: decoded.slice(0, colon), token: decoded.slice(colon + 1) }
}

function decodedOrNull(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

/** A dot segment in any spelling that some server reads as one. */
const SEPARATOR = String.raw`[/\\;]|%(?:25)*(?:2f|5c|3b)`
const DOT_SEGMENT = new RegExp(String.raw`(?:^|${SEPARATOR})(?:\.|%(?:25)*2e){1,2}(?:$|${SEPARATOR})`, 'i')

/** The absolute target at the origin. Throws `bad_request` for a path that could lead out of the route's prefix. */
export function targetAt(route: Route, rest: string): string {
  const [path = ''] = rest.split('?', 1)
  if (route.prefix !== '' && DOT_SEGMENT.test(path)) {
    throw new CoatcheckError(
      'bad_request',
      'The path has a dot segment, which could lead out of the route.',
      'Send the path without "." and "..".',
    )
  }
  return route.url + rest
}
