/**
 * The texts a setting can be written as (an address, a range, a path, a URL): each reads to its normal form or is refused
 * with the reason and the fix. What may hold a password is never quoted.
 */
import { classifyAddress, compileAddressGuard, formatAddress, isIpv4, parseAddress } from './core/address.ts'
import { asCoatcheckError } from './core/errors.ts'
import {
  canonicalAddress,
  canonicalHost,
  formatAuthority,
  isCanonicalName,
  isIpLiteral,
  parseAbsoluteTarget,
} from './core/host.ts'
import type { ListenAddress, ProxyIdentity, TransparentIdentity } from './settings.ts'
import type { Kind } from './settings-kinds.ts'
import { refuse, shown } from './settings-kinds.ts'

/** `host:port`, IPv6 in brackets. */
export function parseListen(given: string): ListenAddress {
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(given) ?? []
  const host = bracketed === undefined ? listenHost(plain.toLowerCase()) : listenIpv6(bracketed)
  const port = Number(digits)
  if (host !== undefined && port <= 65_535) return Object.freeze({ host, port })
  return refuse(`${shown(given)} is not an address and a port`, 'Write it as 127.0.0.1:8080 or [::1]:8080')
}

function listenHost(host: string): string | undefined {
  return isIpv4(host) || isCanonicalName(host) ? host : undefined
}

function listenIpv6(text: string): string | undefined {
  const address = parseAddress(text)
  return address?.family === 6 ? formatAddress(address) : undefined
}

export function formatListen({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** True when only this machine can connect to the address. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || classifyAddress(host) === 'loopback'
}

/** `required`, or `sandbox:NAME` with a sandbox's name or id. */
export function parseIdentity(given: string): ProxyIdentity {
  if (given === 'required') return Object.freeze({ kind: 'required' })
  const [, name] = /^sandbox:([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/.exec(given) ?? []
  if (name !== undefined) return Object.freeze({ kind: 'sandbox', name })
  return refuse(`${shown(given)} is no way to identify a sandbox`, 'Write required or sandbox:NAME')
}

/** `sources`, or `sandbox:NAME` with a sandbox's name or id. */
export function parseTransparentIdentity(given: string): TransparentIdentity {
  if (given === 'sources') return Object.freeze({ kind: 'sources' })
  const [, name] = /^sandbox:([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/.exec(given) ?? []
  if (name !== undefined) return Object.freeze({ kind: 'sandbox', name })
  return refuse(`${shown(given)} is no way to identify a sandbox`, 'Write sources or sandbox:NAME')
}

/** A sandbox's name or id. */
export function parseSandboxName(given: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(given)) return given
  return refuse(`${shown(given)} is not the name of a sandbox`, 'Write its name or id')
}

/** The name of a gateway's route, which stands in paths. */
export function parseRouteName(given: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(given)) return given
  return refuse(
    `${shown(given)} is no name for a route`,
    'Use a-z, 0-9 and -, at most 63, and begin with a letter or digit',
  )
}

/** `https://host[:port][/prefix]`, without a slash at the end. */
export function parseOrigin(given: string): string {
  const fix = 'Write it as https://host, with :port and /prefix where needed'
  const target = orUndefined(() => parseAbsoluteTarget(given))
  if (target === undefined) return refuse('this is not the URL of an origin', fix)
  const { scheme, authority, path } = target
  if (/[?%\\;]|\/\/|\/\.{1,2}(\/|$)/.test(path)) {
    return refuse('the URL has a query, or a prefix that servers read in different ways', fix)
  }
  const port = scheme === 'https' ? 443 : 80
  return `${scheme}://${formatAuthority(authority.host, authority.port, port)}${path.replace(/\/$/, '')}`
}

/** A path as it was written: relative ones are relative to the working directory. */
export function parsePath(given: string): string {
  if (given === '' || hasControl(given)) refuse('this is not a path', 'Write the path of a file or directory')
  if (/^~(\/|$)/.test(given)) refuse('~ is not expanded here', 'Write the path in full')
  return given
}

/** `sqlite`, or the URL of a PostgreSQL database. */
export function parseDatabase(given: string): string {
  if (given === 'sqlite') return given
  const url = URL.canParse(given) && !hasControl(given) ? new URL(given) : undefined
  const known = url !== undefined && ['postgres:', 'postgresql:'].includes(url.protocol) && url.hostname !== ''
  return known ? given : refuse('this is no database', 'Write sqlite or postgres://user@host:5432/name')
}

/** `http://[user:password@]host:port`, or the same with `https` or `socks5`. */
export function parseUpstreamProxy(given: string): string {
  const fix = 'Write it as http://host:port, https://… or socks5://…, with user:password@ before the host where needed'
  const url = URL.canParse(given) && !hasControl(given) ? new URL(given) : undefined
  if (!url || url.hostname === '') return refuse('this is not the URL of a proxy', fix)
  if (!['http:', 'https:', 'socks5:'].includes(url.protocol)) refuse(`${url.protocol}// is not spoken to a proxy`, fix)
  if (!/:\d+\/?$/.test(given)) refuse('the URL does not end in a port', fix)
  if (!isPercentEncoded(`${url.username}:${url.password}`))
    refuse('the user or password has a stray %', 'Write % as %25')
  if (!['', '/'].includes(url.pathname) || /[?#]/.test(given)) refuse('the URL has a path, a query or a fragment', fix)
  return given
}

/** `stdout`, `file:PATH` or `none`. */
export function parseSink(given: string): string {
  if (given === 'stdout' || given === 'none') return given
  if (!given.startsWith('file:')) refuse(`${shown(given)} is no sink`, 'Write stdout, file:PATH or none')
  return `file:${parsePath(given.slice('file:'.length))}`
}

/** The list, unless it names `none` and something else. */
export function onlyNone(sinks: Kind<readonly string[]>): Kind<readonly string[]> {
  return {
    ...sinks,
    read(tree, path, report) {
      const read = sinks.read(tree, path, report)
      const items = tree.kind === 'list' ? tree.items : []
      if (items.length < 2 || !items.some((item) => item.kind === 'scalar' && item.value === 'none')) return read
      return report(tree.line, path, { what: 'none stands beside other sinks', fix: 'Remove none, or the others' })
    },
  }
}

/** `file`, or `env:NAME` with the name of the variable that holds the key. */
export function parseKeyringSource(given: string): string {
  if (given === 'file' || /^env:[A-Za-z_][A-Za-z0-9_]*$/.test(given)) return given
  return refuse(
    'this is no source of keys',
    'Write file, or env:NAME with the name of a variable (never the key itself)',
  )
}

/** A name that stands for addresses; not an address itself. */
export function parseHostName(given: string): string {
  const host = orUndefined(() => canonicalHost(given))
  if (host !== undefined && !isIpLiteral(host)) return host
  return refuse(
    `${shown(given)} is not a host name`,
    'Write a plain name such as api.internal, without port or wildcard',
  )
}

export function parseIpAddress(given: string): string {
  const fix = 'Write an address such as 10.1.2.3 or fd00::1, without port or brackets'
  return orUndefined(() => canonicalAddress(given)) ?? refuse(`${shown(given)} is not an IP address`, fix)
}

/** A range that core/address.ts can guard with. */
export function parseCidr(given: string): string {
  try {
    compileAddressGuard({ allowed: [given], own: () => [] })
    return given
  } catch (error) {
    const { message, hint } = asCoatcheckError(error)
    return refuse(
      message.replace(/^Range 1/, () => shown(given)),
      hint,
    )
  }
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function isPercentEncoded(given: string): boolean {
  return orUndefined(() => decodeURIComponent(given)) !== undefined
}

function hasControl(given: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\x00-\x1f\x7f]/.test(given)
}
