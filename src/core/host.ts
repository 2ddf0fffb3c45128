/**
 * One canonical host for every decision: what is not already a plain name or a standard IP literal is refused, never repaired.
 *
 * Folded: ASCII case and one trailing dot of a name. Nothing else: no percent-decoding, no IDNA mapping, no numeric IPv4,
 * no URL parser. RFC 3986 section 3.2 gives the grammar; RFC 1035 and 5890 the limits of a name; `_` is allowed in labels
 * because real hosts carry it. Messages never repeat the text they refuse.
 */
import { domainToASCII, domainToUnicode } from 'node:url'
import { formatAddress, isIpv4, parseAddress } from './address.ts'
import { CoatcheckError } from './errors.ts'

declare const canonical: unique symbol

/** A lower-case A-label name without trailing dot, a dotted-decimal IPv4, or an RFC 5952 IPv6 without brackets. */
export type CanonicalHost = string & { readonly [canonical]: true }

export interface Authority {
  readonly host: CanonicalHost
  readonly port: number
}

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
/** The last label must not look like a number: some resolver would read the name as an IPv4 address. */
const NAME = new RegExp(`^(?:${LABEL}\\.)*(?![0-9]+$|0x)${LABEL}$`)
const MAX_NAME = 253

/** True for a name in canonical form: lower-case LDH labels and `_`, at most 253 bytes, no IP literal in any spelling. */
export function isCanonicalName(text: string): text is CanonicalHost {
  return text.length <= MAX_NAME && NAME.test(text) && (!text.includes('xn--') || hasSoundALabels(text))
}

/** RFC 5890: an A-label decodes, and encodes back to itself. Otherwise two programs could disagree on the name. */
function hasSoundALabels(name: string): boolean {
  const unicode = domainToUnicode(name)
  return !/(?:^|\.)xn--/.test(unicode) && domainToASCII(unicode) === name
}

/** The canonical host of a name, an IPv4 literal or a bracketed IPv6 literal; throws `invalid_host` for anything else. */
export function canonicalHost(raw: string): CanonicalHost {
  if (isCanonicalName(raw) || isIpv4(raw)) return raw as CanonicalHost
  if (raw.startsWith('[') && raw.endsWith(']')) return canonicalIpv6(raw.slice(1, -1))
  if (raw.length > MAX_NAME + 1) throw refused('is longer than 253 bytes')
  // Judged before folding: toLowerCase would turn U+212A, the Kelvin sign, into an ASCII k.
  if (!/^[A-Za-z0-9._-]+$/.test(raw)) throw refused(flawOf(raw))
  const name = (raw.endsWith('.') ? raw.slice(0, -1) : raw).toLowerCase()
  if (isCanonicalName(name)) return name
  throw refused(/(?:^|\.)(?:[0-9]+|0x[^.]*)$/.test(name) ? 'is a number in a nonstandard spelling' : 'is malformed')
}

function canonicalIpv6(text: string): CanonicalHost {
  const address = parseAddress(text)
  if (address?.family !== 6) throw refused('has brackets around something other than an IPv6 address')
  return formatAddress(address) as CanonicalHost
}

/** The canonical host of an address as resolvers and sockets give it: IPv4, or IPv6 without brackets. Throws `invalid_host`. */
export function canonicalAddress(raw: string): CanonicalHost {
  const address = parseAddress(raw)
  if (address === undefined) throw refused('is not an IP address')
  return formatAddress(address) as CanonicalHost
}

const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'is empty'],
  [/@/, 'carries user information'],
  [/%/, 'contains a percent sign'],
  [/\\/, 'contains a backslash'],
  [/[^\x20-\x7e]/, 'contains a control character or a byte outside ASCII'],
  [/\s/, 'contains white space'],
  [/[:[\]]/, 'has an IPv6 address without brackets, stray brackets, or a second port'],
]

function flawOf(raw: string): string {
  return FLAWS.find(([flaw]) => flaw.test(raw))?.[1] ?? 'contains a character no host name has'
}

function refused(flaw: string): CoatcheckError {
  return new CoatcheckError(
    'invalid_host',
    `The host of this request ${flaw}.`,
    'Send a plain host name such as api.example.com (international names as xn--…) or a standard IP literal.',
  )
}

function parsePort(text: string): number {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new CoatcheckError(
    'invalid_host',
    'The port of this request is malformed.',
    'Write the port as a decimal number from 1 to 65535 without leading zeros, or leave it and its colon out.',
  )
}

/** Reads `host[:port]`; throws `invalid_host`. A null default makes the port mandatory, as CONNECT does (RFC 9110 section 9.3.6). */
export function parseAuthority(raw: string, defaultPort: number | null): Authority {
  const colon = raw.startsWith('[') ? raw.indexOf(':', raw.lastIndexOf(']')) : raw.indexOf(':')
  const host = canonicalHost(colon < 0 ? raw : raw.slice(0, colon))
  if (colon >= 0) return { host, port: parsePort(raw.slice(colon + 1)) }
  if (defaultPort !== null) return { host, port: defaultPort }
  throw new CoatcheckError(
    'invalid_host',
    'This request names no port.',
    'Write host:port, such as api.example.com:443.',
  )
}

/** True for an IPv4 or IPv6 literal in canonical form (or bracketed), false for a name. */
export function isIpLiteral(host: string): boolean {
  return host.includes(':') || isIpv4(host)
}

/** The authority as it goes on the wire: brackets around IPv6, the port left out when it is the default. */
export function formatAuthority(host: CanonicalHost, port: number, defaultPort?: number): string {
  const text = host.includes(':') ? `[${host}]` : host
  return port === defaultPort ? text : `${text}:${port}`
}

export interface AbsoluteTarget {
  readonly scheme: 'http' | 'https'
  readonly authority: Authority
  /** Path and query, byte for byte as sent; an empty path becomes `/` (RFC 9112 section 3.2.1). */
  readonly path: string
}

const SCHEME = /^(https?):\/\//i

/** Reads an absolute-form request target; throws `bad_request` or, for its authority, `invalid_host`. */
export function parseAbsoluteTarget(raw: string): AbsoluteTarget {
  const prefix = SCHEME.exec(raw)
  if (prefix === null) {
    throw badTarget('is not an http or https URL', 'Send the whole URL: http://host/path or https://host/path.')
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\x00-\x20\x7f]/.test(raw)) throw badTarget('contains white space or a control character', 'Percent-encode it.')
  if (raw.includes('#')) throw badTarget('has a fragment', 'Leave out the # and what follows it.')
  const scheme = prefix[0].length === 8 ? 'https' : 'http'
  const start = prefix[0].length
  const length = raw.slice(start).search(/[/?]/)
  const end = length < 0 ? raw.length : start + length
  const authority = parseAuthority(raw.slice(start, end), scheme === 'https' ? 443 : 80)
  const rest = raw.slice(end)
  return { scheme, authority, path: rest.startsWith('/') ? rest : `/${rest}` }
}

function badTarget(flaw: string, hint: string): CoatcheckError {
  return new CoatcheckError('bad_request', `The target of this request ${flaw}.`, hint)
}
