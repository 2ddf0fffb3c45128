/**
 * Which header fields end here and which go on.
 *
 * Rules: hop-by-hop fields (RFC 9110 7.6.1) never cross; what `Connection` nominates is removed before anything is put
 * into the request, and a field that carries policy or a credential may not be nominated at all; `Proxy-Authorization`
 * never leaves; order, case and duplicates of everything else are kept.
 */
import { CoatcheckError } from '../core/errors.ts'
import { every, FieldNames, isNamed } from '../core/fields.ts'
import { isCredentialHeader } from '../core/placement.ts'

const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]

const ENDS_IN_REQUEST = new FieldNames([...HOP_BY_HOP, 'expect', 'trailer'])
const ENDS_IN_RESPONSE = new FieldNames([...HOP_BY_HOP, 'alt-svc', 'coatcheck-error'])

/** Names `Connection` may list without harm: they are connection options, not fields. */
const CONNECTION_OPTIONS = new Set([...HOP_BY_HOP, 'close', 'trailer'])

const NONE: readonly string[] = Object.freeze([])

/** End-to-end fields whose removal would change what the request means. */
const NEVER_NOMINATED = new Set([
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'cookie',
  'via',
  'expect',
])

/** RFC 9110 5.6.2: what a method and the name of a field are. */
export const HTTP_TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
// oxlint-disable-next-line no-control-regex -- these are what a value may not hold (RFC 9110 5.5)
export const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/** The value of the only field of that (lower-case) name; undefined when absent; throws when there are several. */
export function single(headers: readonly string[], name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    if (!isNamed(headers[i] as string, name)) continue
    if (found !== undefined) {
      throw new CoatcheckError('bad_request', `The request has two ${name} fields.`, `Send ${name} once.`)
    }
    found = headers[i + 1]
  }
  return found
}

function nominated(connection: string, into: Set<string> | null): Set<string> | null {
  let names = into
  for (const name of fieldsNamedIn(connection)) {
    if (NEVER_NOMINATED.has(name) || isCredentialHeader(name)) {
      throw new CoatcheckError(
        'bad_request',
        `The Connection field nominates ${name}, which belongs to the request itself.`,
        'Remove it from the Connection field.',
      )
    }
    names = (names ?? new Set<string>()).add(name)
  }
  return names
}

/** The fields that a Connection field names, in lower case; its options are none. */
function fieldsNamedIn(connection: string): readonly string[] {
  const list = connection.toLowerCase()
  // Nearly all say one thing.
  if (list === 'keep-alive' || list === 'close') return NONE
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((name) => name !== '' && !CONNECTION_OPTIONS.has(name))
}

/** The (lower-case) names of fields that `Connection` nominates; null when it nominates none. Throws `bad_request`. */
export function nominatedIn(headers: readonly string[]): ReadonlySet<string> | null {
  let names: Set<string> | null = null
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i] as string, 'connection')) names = nominated(headers[i + 1] as string, names)
  }
  return names
}

/**
 * The request's fields that go on. `Expect` is answered here, so it ends here; `Trailer` too, because request trailers
 * are dropped but where a value may be put into them (they could smuggle what was never decided on). Host is written in
 * canonical form, in its place.
 */
export function requestFields(headers: readonly string[], host: string): string[] {
  const names = nominatedIn(headers)
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (ENDS_IN_REQUEST.has(name) || names?.has(name.toLowerCase())) continue
    kept.push(name, isNamed(name, 'host') ? host : (headers[i + 1] as string))
  }
  return kept
}

/**
 * The response's fields that go on. `Alt-Svc` ends here, so that no client leaves the proxy by another protocol, and so
 * does our own mark, so that no upstream can pass its answer off as a refusal of ours.
 */
export function responseFields(headers: readonly string[]): string[] {
  let names: Set<string> | null = null
  for (let i = 0; i < headers.length; i += 2) {
    if (!isNamed(headers[i] as string, 'connection')) continue
    for (const name of fieldsNamedIn(headers[i + 1] as string)) {
      if (!NEVER_NOMINATED.has(name)) names = (names ?? new Set<string>()).add(name)
    }
  }
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (ENDS_IN_RESPONSE.has(name) || names?.has(name.toLowerCase())) continue
    kept.push(name, headers[i + 1] as string)
  }
  return kept
}

/**
 * Refuses a transfer coding that nobody asked for: it is taken off nowhere, and hides what it codes from masking
 * (RFC 9112 6.1). Throws `upstream_failed`.
 */
export function requireKnownFraming(headers: readonly string[]): void {
  for (const codings of every(headers, 'transfer-encoding')) {
    if (codings.toLowerCase() === 'chunked') continue
    throw new CoatcheckError(
      'upstream_failed',
      'The upstream answered in a transfer coding that was not asked for.',
      'Ask its operator; only chunked is understood.',
    )
  }
}

/** The Content-Length; null when there is none. Only of fields whose framing was checked before. */
export function lengthOf(headers: readonly string[]): number | null {
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i] as string, 'content-length')) return Number(headers[i + 1])
  }
  return null
}

/** How long an upstream keeps a silent connection, in milliseconds; null when it does not say. */
export function keepAliveOf(headers: readonly string[]): number | null {
  for (let i = 0; i < headers.length; i += 2) {
    if (!isNamed(headers[i] as string, 'keep-alive')) continue
    const match = /(?:^|[,;\s])timeout=([0-9]{1,6})/i.exec(headers[i + 1] as string)
    if (match !== null) return Number(match[1]) * 1000
  }
  return null
}

/** With names in lower case, as HTTP/2 has them (RFC 9113 8.2.1). */
export function lowerNames(headers: readonly string[]): string[] {
  return headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text))
}
