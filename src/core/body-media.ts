/**
 * What a body is, as far as placing values in it goes: which syntax its Content-Type names, and nothing guessed.
 *
 * `unknown` is every body whose values cannot be told from its structure, or whose structure counts bytes: no type at
 * all, binary types, charsets that are no superset of ASCII, parameters given twice. No value is put into those,
 * because a value of another length breaks protobuf, gRPC, archives and images without a word.
 */

import { MARKER } from './placeholder.ts'

export type BodyMedia =
  /** RFC 8259; also several documents after one another. */
  | { readonly kind: 'json' }
  /** application/x-www-form-urlencoded. */
  | { readonly kind: 'form' }
  /** RFC 2046; parts have names in multipart/form-data alone. */
  | { readonly kind: 'multipart'; readonly boundary: string; readonly named: boolean }
  | { readonly kind: 'xml' }
  /** text/* without a syntax of its own that values could break. */
  | { readonly kind: 'text' }
  /** Text in a syntax that is not followed here, such as HTML, YAML or GraphQL: takes values that need no escape. */
  | { readonly kind: 'code' }
  /** A WebSocket text message that is no JSON: takes values that are UTF-8, as all of it has to be (RFC 6455 5.6). */
  | { readonly kind: 'message' }
  | { readonly kind: 'unknown' }

const UNKNOWN: BodyMedia = Object.freeze({ kind: 'unknown' })

/** RFC 9110 5.6.2 and 8.3.1. */
const TYPE = /^[!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+/
const PARAMETER = /[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"([^"\\]*)"))?/y
/** RFC 2046 5.1.1. */
const BOUNDARY = /^[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]$/
const UTF8 = /^(?:utf-?8|us-ascii|ascii)$/i
/** One byte for each ASCII character, and that byte for nothing else. */
const OVER_ASCII = /^(?:utf-?8|us-ascii|ascii|iso-8859-\d{1,2}|windows-125\d)$/i
const CODE = new Set([
  'text/html',
  'text/javascript',
  'text/ecmascript',
  'text/css',
  'text/yaml',
  'text/x-yaml',
  'application/yaml',
  'application/x-yaml',
  'application/toml',
  'application/javascript',
  'application/ecmascript',
  'application/graphql',
  'application/sql',
  'application/jwt',
  'application/jose',
])
const JSON_TYPES = new Set([
  'application/json',
  'text/json',
  'text/x-json',
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/x-jsonlines',
  'application/csp-report',
])

/** Of the only Content-Type field, undefined when there is none. A body in a content coding has no media here. */
export function mediaOf(contentType: string | undefined): BodyMedia {
  if (contentType === undefined) return UNKNOWN
  const text = contentType.trim()
  const type = TYPE.exec(text.toLowerCase())?.[0]
  if (type === undefined) return UNKNOWN
  const parameters = parametersOf(text, type.length)
  if (parameters === null) return UNKNOWN
  const media = syntaxOf(type, parameters)
  const charset = parameters.get('charset')
  const charsets = media.kind === 'text' || media.kind === 'code' ? OVER_ASCII : UTF8
  return charset === undefined || charsets.test(charset) ? media : UNKNOWN
}

/** Bytes of a message that tell what it is. */
const TELLING_BYTES = 64

/**
 * Of a WebSocket text message, by its beginning: JSON when it opens an object or array, after the digits that
 * Engine.IO and Socket.IO put before theirs; else text.
 */
export function mediaOfMessage(beginning: Buffer): BodyMedia {
  const json = /^[ \t\r\n\d]*[[{]/.test(beginning.toString('latin1', 0, TELLING_BYTES))
  return json ? { kind: 'json' } : { kind: 'message' }
}

/** False while more bytes could still make another thing of it. */
export function tellsMedia(beginning: Buffer): boolean {
  return beginning.length >= TELLING_BYTES || !/^[ \t\r\n\d]*$/.test(beginning.toString('latin1'))
}

function syntaxOf(type: string, parameters: ReadonlyMap<string, string>): BodyMedia {
  if (JSON_TYPES.has(type) || type.endsWith('+json')) return { kind: 'json' }
  if (type === 'application/x-www-form-urlencoded') return { kind: 'form' }
  if (type === 'text/xml' || type === 'application/xml' || type.endsWith('+xml')) return { kind: 'xml' }
  if (CODE.has(type)) return { kind: 'code' }
  if (type.startsWith('text/')) return { kind: 'text' }
  const boundary = parameters.get('boundary')
  if (!type.startsWith('multipart/') || boundary === undefined) return UNKNOWN
  // A placeholder in the boundary would be one in every delimiter.
  if (!BOUNDARY.test(boundary) || boundary.includes(MARKER)) return UNKNOWN
  return { kind: 'multipart', boundary, named: type === 'multipart/form-data' }
}

/** Lower-case name -> value; null when one comes twice or something is no parameter, which servers read in many ways. */
function parametersOf(text: string, from: number): ReadonlyMap<string, string> | null {
  const parameters = new Map<string, string>()
  PARAMETER.lastIndex = from
  while (PARAMETER.lastIndex < text.length) {
    const match = PARAMETER.exec(text)
    if (match === null) return null
    const name = match[1]?.toLowerCase()
    if (name === undefined) continue
    if (parameters.has(name)) return null
    parameters.set(name, match[2] ?? match[3] ?? '')
  }
  return parameters
}
