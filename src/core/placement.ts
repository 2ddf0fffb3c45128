/**
 * A placement: a part of a request where a secret may be put. An allow-list, because deny-lists of reflecting headers
 * have been bypassed; and a spot: the part of one request where a placeholder was found.
 *
 * Some fields never take a value, not even under `header:*` or by name: those that route or frame the message, end at
 * a proxy, or decide whether the response can be inspected. Nor do header names, or placeholders found in an encoded
 * form that cannot be rewritten faithfully.
 */
import { CoatcheckError } from './errors.ts'
import { isPointer } from './json-pointer.ts'
import { MARKER } from './placeholder.ts'
import { mayBeTrailer } from './trailer-fields.ts'

export type Placement =
  | { readonly kind: 'credential-headers' }
  /** Lower case, or `*` for every header that can take a value. */
  | { readonly kind: 'header'; readonly name: string }
  /** Inside the decoded credentials of `Authorization: Basic`, and nowhere else. */
  | { readonly kind: 'basic' }
  /** null = any parameter. */
  | { readonly kind: 'query'; readonly name: string | null }
  | { readonly kind: 'path' }
  /** One place in a body: a JSON pointer (`/client_secret`), a form field or part (`client_secret`); null = any place. */
  | { readonly kind: 'body'; readonly selector: string | null }
  /** Text messages of a WebSocket. */
  | { readonly kind: 'websocket' }
  | { readonly kind: 'trailer' }
  /** AWS Signature Version 4: the request is signed again; no value is put into it. Only of secrets of type `aws`. */
  | { readonly kind: 'aws-sigv4' }

export type Spot =
  /** `name` in lower case; `pair` is the index of the name in the raw headers; `basic`: inside decoded credentials. */
  | { readonly kind: 'header'; readonly name: string; readonly pair: number; readonly basic: boolean }
  | { readonly kind: 'header-name'; readonly pair: number }
  /** Percent-decoded name; empty when the placeholder is (in) the name itself or the name is not a plain one. */
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'path' }
  /** A JSON string, the value of a form field, the content of a part, text; null when the place cannot be named. */
  | { readonly kind: 'body'; readonly selector: string | null }
  | { readonly kind: 'body-closed'; readonly why: BodyClosed }
  | { readonly kind: 'websocket' }
  /** `name` in lower case; `pair` is the index of the name in the raw trailers. */
  | { readonly kind: 'trailer'; readonly name: string; readonly pair: number }
  | { readonly kind: 'aws-sigv4' }
  /** Readable after decoding, but not in a form that can be rewritten: base64 that is not canonical, `xcoat%5F…`. */
  | { readonly kind: 'encoded'; readonly within: 'basic' | 'target' }

/**
 * Why a place in a body takes no value: it is a name (an object key, a field name, a part's header); it is outside of
 * every value (a bare JSON word, a comment, a tag); what stands before it is malformed or too large to follow; or the
 * body's media type is not one whose values are known.
 */
export type BodyClosed = 'name' | 'outside' | 'malformed' | 'media'

/** What a secret gets whose placements were not chosen: credential headers. */
export const DEFAULT_PLACEMENTS: readonly Placement[] = Object.freeze([{ kind: 'credential-headers' } as const])

const SUPPORTED =
  'credential-headers, header:<name>, header:*, basic, query, query:<name>, path, body, body:<JSON pointer or field>, websocket, trailer, aws-sigv4'

/** RFC 9110 5.6.2. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/
/** Parameter names that servers read alike; others (`a;b`, an escape of `=`) are nobody's name. */
const QUERY_NAME = /^[A-Za-z0-9._~[\]$:@!*'()-]{1,128}$/

const NEVER_TAKES_A_VALUE = new Set([
  // routing and framing
  'host',
  'content-length',
  'content-encoding',
  'content-range',
  'transfer-encoding',
  'trailer',
  'te',
  'expect',
  'max-forwards',
  'via',
  'forwarded',
  // the hop, not the message
  'connection',
  'keep-alive',
  'upgrade',
  'http2-settings',
  // answered by the handshake itself (RFC 6455); sec-websocket-protocol does carry credentials for some services
  'sec-websocket-key',
  'sec-websocket-accept',
  'sec-websocket-version',
  'sec-websocket-extensions',
  // rewritten or dropped on a request that releases, so that the response can be masked
  'accept-encoding',
  'range',
  'if-range',
])

/** Last words that say credential. */
const CREDENTIAL_ENDINGS = new Set([
  'key',
  'token',
  'secret',
  'apikey',
  'appkey',
  'authkey',
  'accesskey',
  'secretkey',
  'apitoken',
  'authtoken',
  'accesstoken',
])
/** Words that say credential wherever they stand. `author`, `authority` and `authenticated` do not. */
const AUTH_WORDS = new Set(['auth', 'authorization', 'authentication', 'authtoken', 'authkey'])
/** What a key or token before whose name these words stand is for: telling requests apart, not proving who asks. */
const NOT_A_CREDENTIAL = new Set([
  'cache',
  'change',
  'continuation',
  'correlation',
  'csrf',
  'cursor',
  'dedup',
  'deduplication',
  'forgery',
  'host',
  'idempotency',
  'lock',
  'next',
  'page',
  'pagination',
  'partition',
  'public',
  'request',
  'routing',
  'shard',
  'sort',
  'surrogate',
  'sync',
  'trace',
  'tracking',
  'websocket',
  'xsrf',
])
/** Families whose members describe the request, its route or its origin, whatever their last word is. */
const NOT_CREDENTIAL_FAMILIES = ['sec-', 'proxy-', 'access-control-', 'x-forwarded-', 'x-original-', 'if-', 'www-']

/** Reads a placement text; throws `invalid_input` with the list of those that exist. */
export function parsePlacement(text: string): Placement {
  if (text === 'credential-headers' || text === 'header') return { kind: 'credential-headers' }
  if (text === 'basic' || text === 'path' || text === 'websocket' || text === 'trailer') return { kind: text }
  if (text === 'aws-sigv4') return { kind: text }
  if (text === 'query') return { kind: 'query', name: null }
  if (text === 'body') return { kind: 'body', selector: null }
  if (text.startsWith('header:')) return headerPlacement(text.slice('header:'.length))
  if (text.startsWith('query:')) return queryPlacement(text.slice('query:'.length))
  if (text.startsWith('body:')) return bodyPlacement(text.slice('body:'.length))
  throw new CoatcheckError('invalid_input', 'There is no such placement.', `Placements are: ${SUPPORTED}.`)
}

/** The text that `parsePlacement` reads as this placement, in its normal form. */
export function formatPlacement(placement: Placement): string {
  switch (placement.kind) {
    case 'header':
      return `header:${placement.name}`
    case 'query':
      return placement.name === null ? 'query' : `query:${placement.name}`
    case 'body':
      return placement.selector === null ? 'body' : `body:${placement.selector}`
    default:
      return placement.kind
  }
}

/** Where a placeholder was found, as audit events and messages name it: `header:x-api-key`, `basic`, `query:key` … */
export function formatSpot(spot: Spot): string {
  switch (spot.kind) {
    case 'header':
      return spot.basic ? 'basic' : `header:${spot.name}`
    case 'query':
      return spot.name === '' ? 'query' : `query:${spot.name}`
    case 'body':
      return spot.selector === null ? 'body' : `body:${spot.selector}`
    case 'body-closed':
      return `body-${spot.why}`
    case 'encoded':
      return `encoded:${spot.within}`
    default:
      return spot.kind
  }
}

/** True when one of the placements covers the spot. */
export function allowsSpot(placements: readonly Placement[], spot: Spot): boolean {
  if (!canTakeValue(spot)) return false
  for (const placement of placements) {
    if (covers(placement, spot)) return true
  }
  return false
}

/** False for spots that no placement can open. */
export function canTakeValue(spot: Spot): boolean {
  if (spot.kind === 'header') return headerTakesValue(spot.name)
  if (spot.kind === 'trailer') return headerTakesValue(spot.name) && mayBeTrailer(spot.name)
  return spot.kind !== 'header-name' && spot.kind !== 'body-closed' && spot.kind !== 'encoded'
}

/**
 * True for headers whose (lower-case) name says credential: `authorization`; a name with the word `auth`,
 * `authorization` or `authentication`; a name whose last word is `key`, `token`, `secret` or a compound such as
 * `apikey`. Words are separated by dashes. Not `cookie` or `set-cookie`, not what ends at a proxy, not the `sec-`,
 * `x-forwarded-`, `x-original-` and `access-control-` families, and not keys and tokens that tell requests apart:
 * `idempotency-key`, `x-csrf-token`, `cache-key`, `lock-token` (test/vectors/placements has the whole list).
 */
export function isCredentialHeader(lowerName: string): boolean {
  if (lowerName === 'authorization') return true
  if (!headerTakesValue(lowerName)) return false
  if (NOT_CREDENTIAL_FAMILIES.some((family) => lowerName.startsWith(family))) return false
  const words = lowerName.split('-')
  if (words.some((word) => AUTH_WORDS.has(word))) return true
  if (!CREDENTIAL_ENDINGS.has(words[words.length - 1] as string)) return false
  return !NOT_A_CREDENTIAL.has(words[words.length - 2] ?? '')
}

/** The parameter name as placements compare it; empty when it is not a plain name. Takes the raw text before `=`. */
export function queryName(raw: string): string {
  let name = raw
  if (raw.includes('%')) {
    try {
      name = decodeURIComponent(raw)
    } catch {
      return ''
    }
  }
  return QUERY_NAME.test(name) && !name.includes(MARKER) ? name : ''
}

function covers(placement: Placement, spot: Spot): boolean {
  switch (placement.kind) {
    case 'credential-headers':
      return spot.kind === 'header' && isCredentialHeader(spot.name)
    case 'header':
      return spot.kind === 'header' && (placement.name === '*' || placement.name === spot.name)
    case 'basic':
      return spot.kind === 'header' && spot.basic
    case 'query':
      return spot.kind === 'query' && (placement.name === null || placement.name === spot.name)
    case 'body':
      return spot.kind === 'body' && (placement.selector === null || placement.selector === spot.selector)
    case 'path':
    case 'websocket':
    case 'trailer':
    case 'aws-sigv4':
      return spot.kind === placement.kind
  }
}

function headerTakesValue(lowerName: string): boolean {
  return !NEVER_TAKES_A_VALUE.has(lowerName) && !lowerName.startsWith('proxy-')
}

function headerPlacement(text: string): Placement {
  const name = text.toLowerCase()
  if (name === '*') return { kind: 'header', name }
  if (!HEADER_NAME.test(name) || name.includes(MARKER)) {
    throw new CoatcheckError(
      'invalid_input',
      'The placement does not name a header.',
      'Write header:<name>, for example header:x-api-key, or header:* for every header.',
    )
  }
  if (!headerTakesValue(name)) {
    throw new CoatcheckError(
      'invalid_input',
      `A secret is never put into the ${name} header: it routes or frames the message.`,
      `Placements are: ${SUPPORTED}.`,
    )
  }
  return { kind: 'header', name }
}

function queryPlacement(name: string): Placement {
  if (queryName(name) === name && name !== '') return { kind: 'query', name }
  throw new CoatcheckError(
    'invalid_input',
    'The placement does not name a query parameter.',
    'Write query:<name> with the decoded name, for example query:key, or query for every parameter.',
  )
}

/** A pointer begins with `/`, a field name never does. There are no wildcards: `*` would read like one. */
function bodyPlacement(selector: string): Placement {
  const named = selector.startsWith('/')
    ? isPointer(selector) && !selector.split('/').includes('*')
    : queryName(selector) === selector && selector !== '' && selector !== '*'
  if (named) return { kind: 'body', selector }
  throw new CoatcheckError(
    'invalid_input',
    'The placement does not name a place in a body.',
    'Write body:/<JSON pointer>, such as body:/client_secret or body:/keys/0, or body:<form field or part name>; body for any place.',
  )
}
