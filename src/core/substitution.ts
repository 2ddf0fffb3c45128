/**
 * Finds placeholders in a request head and puts values in their place: one left-to-right pass over each text, nothing
 * inserted is looked at again, every other byte stays as it was, and the result is a new head or an error, never half.
 *
 * Each spot has its own writing: a header takes the value as it is if that is safe; the target takes it
 * percent-encoded; `Basic` credentials are decoded, rewritten and encoded again. Only canonical base64 is rewritten,
 * because anything else can be read in more than one way.
 */
import { CoatcheckError } from './errors.ts'
import { findTokens, MARKER, TOKEN_LENGTH } from './placeholder.ts'
import type { Spot } from './placement.ts'
import { allowsSpot } from './placement.ts'
import type { MountedSecret, SecretValue } from './secret.ts'
import { findInTarget } from './target-spots.ts'

export interface RequestHead {
  readonly method: string
  /** Origin-form target, byte-exact latin1. */
  readonly path: string
  /** name, value, name, value … in raw order and case, latin1. */
  readonly headers: readonly string[]
}

/** One placeholder in one request. */
export interface Occurrence {
  readonly token: string
  readonly spot: Spot
  /** Where the token starts in the header value, the target or the decoded credentials; -1 in `encoded` spots. */
  readonly index: number
  /** Decoded credentials (latin1) for tokens inside `Basic`, else null. */
  readonly decoded: string | null
}

/** A value that the decision let go, for all occurrences of its token that its placements allow. */
export interface Release {
  readonly secret: MountedSecret
  readonly value: SecretValue
}

export type HeaderSafety = { readonly ok: true } | { readonly ok: false; readonly why: string }

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** A header value (by its pair), or the target, with what is put into it. */
interface EditedText {
  readonly pair: number
  readonly first: Occurrence
  readonly edits: Edit[]
}

/** Stands for the target where headers have the number of their pair. */
const TARGET_PAIR = -1
const NO_OCCURRENCES: readonly Occurrence[] = Object.freeze([])
/** RFC 7235: the scheme in any case, blanks, then the credentials. */
const BASIC = /^basic[ \t]+/i
const TARGET = /^[\x21-\x7e]+$/

/** Everything in the head that is a well-formed token, in order: headers as they stand, then the target. */
export function findPlaceholders(head: RequestHead): readonly Occurrence[] {
  let found: Occurrence[] | null = null
  const { headers, path } = head
  for (let pair = 0; pair + 1 < headers.length; pair += 2) {
    const name = headers[pair] as string
    const value = headers[pair + 1] as string
    if (name.length >= TOKEN_LENGTH && name.includes(MARKER)) found = inHeaderName(name, pair, found)
    // Credentials that decode to a whole token are longer than the token too.
    if (value.length < TOKEN_LENGTH) continue
    if (value.includes(MARKER)) found = inHeaderValue(name, value, pair, found)
    if (name.length === 13 && isBasic(name, value)) found = inBasic(value, pair, found)
  }
  for (const { token, spot, index } of findInTarget(path)) found = add(found, { token, spot, index, decoded: null })
  return found ?? NO_OCCURRENCES
}

/** The same in trailer fields, taken for the headers of a head that has nothing else. */
export function findInTrailers(headers: readonly string[]): readonly Occurrence[] {
  return findPlaceholders({ method: '', path: '', headers }).map((found) => {
    if (found.spot.kind !== 'header') return found
    const { name, pair } = found.spot
    return { ...found, spot: { kind: 'trailer', name, pair } }
  })
}

/**
 * True when the bytes before the token are this secret's dress. When false, what stands there is not this secret's
 * placeholder, and the answer is that of an unknown one.
 */
export function matchesDress(head: RequestHead, occurrence: Occurrence, secret: MountedSecret): boolean {
  if (occurrence.index < 0) return true
  const dress = secret.placeholder.length - TOKEN_LENGTH
  const start = occurrence.index - dress
  return start >= 0 && textOf(head, occurrence).startsWith(secret.placeholder, start)
}

/**
 * The head with the released placeholders replaced, dress included. An occurrence stays as it is when its token is not
 * in `releases`, or when its secret's placements or dress do not cover it. Returns the same head when nothing is
 * replaced. Throws `value_not_placeable` when a value cannot be written faithfully and safely where it belongs.
 */
export function substitute(
  head: RequestHead,
  occurrences: readonly Occurrence[],
  releases: ReadonlyMap<string, Release>,
): RequestHead {
  const texts: EditedText[] = []
  for (const occurrence of occurrences) {
    const release = releases.get(occurrence.token)
    if (release === undefined || !allowsSpot(release.secret.placements, occurrence.spot)) continue
    if (!matchesDress(head, occurrence, release.secret)) continue
    const edit = editFor(head, occurrence, release)
    const pair = isField(occurrence.spot) ? occurrence.spot.pair : TARGET_PAIR
    const sameText = texts.find((text) => text.pair === pair)
    if (sameText === undefined) texts.push({ pair, first: occurrence, edits: [edit] })
    else sameText.edits.push(edit)
  }
  if (texts.length === 0) return head
  let path = head.path
  const headers = head.headers.slice()
  for (const { pair, first, edits } of texts) {
    const text = splice(textOf(head, first), edits)
    if (pair === TARGET_PAIR) path = checkedTarget(text)
    else headers[pair + 1] = first.decoded === null ? text : encodeBasic(headers[pair + 1] as string, text)
  }
  return { method: head.method, path, headers }
}

/**
 * Whether a value can stand in a header field: visible ASCII with single lines, blanks (SP, HTAB) only inside.
 * Bytes above 0x7e are refused because servers disagree about what they mean. `why` never holds the value.
 */
export function checkHeaderSafe(value: SecretValue): HeaderSafety {
  const bytes = value.reveal()
  if (bytes.length === 0) return { ok: false, why: 'it is empty' }
  for (const byte of bytes) {
    if (byte > 0x20 && byte < 0x7f) continue
    if (byte === 0x20 || byte === 0x09) continue
    if (byte === 0x0a || byte === 0x0d) return { ok: false, why: 'it contains a line break' }
    return { ok: false, why: byte > 0x7e ? 'it contains a byte outside ASCII' : 'it contains a control character' }
  }
  if (isBlank(bytes[0]) || isBlank(bytes[bytes.length - 1])) {
    return { ok: false, why: 'it begins or ends with a blank' }
  }
  return { ok: true }
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09
}

function inHeaderName(name: string, pair: number, into: Occurrence[] | null): Occurrence[] | null {
  let found = into
  for (const { token, index } of findTokens(name)) {
    found = add(found, { token, spot: { kind: 'header-name', pair }, index, decoded: null })
  }
  return found
}

function inHeaderValue(name: string, value: string, pair: number, into: Occurrence[] | null): Occurrence[] | null {
  let found = into
  for (const { token, index } of findTokens(value)) {
    const spot: Spot = { kind: 'header', name: name.toLowerCase(), pair, basic: false }
    found = add(found, { token, spot, index, decoded: null })
  }
  return found
}

function isBasic(name: string, value: string): boolean {
  const first = value.charCodeAt(0)
  return (first === 0x42 || first === 0x62) && name.toLowerCase() === 'authorization' && BASIC.test(value)
}

function inBasic(value: string, pair: number, into: Occurrence[] | null): Occurrence[] | null {
  const encoded = credentialsIn(value)
  const bytes = Buffer.from(encoded, 'base64')
  const decoded = bytes.toString('latin1')
  if (!decoded.includes(MARKER)) return into
  const canonical = bytes.toString('base64') === encoded && !value.slice(0, schemeLength(value)).includes('\t')
  let found = into
  for (const { token, index } of findTokens(decoded)) {
    const occurrence: Occurrence = canonical
      ? { token, spot: { kind: 'header', name: 'authorization', pair, basic: true }, index, decoded }
      : { token, spot: { kind: 'encoded', within: 'basic' }, index: -1, decoded: null }
    found = add(found, occurrence)
  }
  return found
}

/** What follows the scheme of `Basic`, encoded as it is. */
export function credentialsIn(value: string): string {
  return value.slice(schemeLength(value))
}

/** Length of the scheme and the blanks after it. */
function schemeLength(value: string): number {
  return BASIC.exec(value)?.[0].length ?? 0
}

function encodeBasic(original: string, decoded: string): string {
  return original.slice(0, schemeLength(original)) + Buffer.from(decoded, 'latin1').toString('base64')
}

function add(found: Occurrence[] | null, occurrence: Occurrence): Occurrence[] {
  if (found === null) return [occurrence]
  found.push(occurrence)
  return found
}

/** The text that `index` counts in. */
function textOf(head: RequestHead, occurrence: Occurrence): string {
  if (occurrence.decoded !== null) return occurrence.decoded
  const { spot } = occurrence
  if (isField(spot)) return head.headers[spot.pair + 1] ?? ''
  if (spot.kind === 'header-name') return head.headers[spot.pair] ?? ''
  return head.path
}

function editFor(head: RequestHead, occurrence: Occurrence, { secret, value }: Release): Edit {
  const end = occurrence.index + TOKEN_LENGTH
  const start = end - secret.placeholder.length
  const { spot } = occurrence
  if (!isField(spot)) return { start, end, text: forTarget(secret, value, spot.kind) }
  if (spot.kind === 'trailer' || !spot.basic) return { start, end, text: forField(secret, value, spot.kind) }
  return { start, end, text: forBasic(secret, value, textOf(head, occurrence), start) }
}

function isField(spot: Spot): spot is Extract<Spot, { readonly kind: 'header' | 'trailer' }> {
  return spot.kind === 'header' || spot.kind === 'trailer'
}

function forField(secret: MountedSecret, value: SecretValue, kind: 'header' | 'trailer'): string {
  const safety = checkHeaderSafe(value)
  if (!safety.ok) throw notPlaceable(secret, `a ${kind}`, safety.why)
  return value.reveal().toString('latin1')
}

/** RFC 7617: no control characters, and no colon in the user-id, where it would move the split. */
function forBasic(secret: MountedSecret, value: SecretValue, credentials: string, start: number): string {
  const bytes = value.reveal()
  for (const byte of bytes) {
    if (byte < 0x20 || byte === 0x7f) {
      throw notPlaceable(secret, 'Basic credentials', 'it contains a control character')
    }
  }
  const colon = credentials.indexOf(':')
  if (colon !== -1 && start <= colon && bytes.includes(0x3a)) {
    throw notPlaceable(secret, 'the user half of Basic credentials', 'it contains a colon')
  }
  return bytes.toString('latin1')
}

/** RFC 3986: everything outside the unreserved set percent-encoded, so that the value cannot add structure. */
function forTarget(secret: MountedSecret, value: SecretValue, kind: Spot['kind']): string {
  const bytes = value.reveal()
  if (bytes.length === 0) throw notPlaceable(secret, 'the target', 'it is empty')
  if (kind === 'path' && bytes.every((byte) => byte === 0x2e)) {
    throw notPlaceable(secret, 'the path', 'it could make a dot segment')
  }
  let text = ''
  for (const byte of bytes) text += TARGET_TEXT[byte] as string
  return text
}

/** Byte -> itself when unreserved, else its percent-encoding in capitals. */
const TARGET_TEXT: readonly string[] = Array.from({ length: 256 }, (_none, byte) => {
  const character = String.fromCharCode(byte)
  return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

function splice(text: string, edits: Edit[]): string {
  if (edits.length > 1) edits.sort((a, b) => a.start - b.start)
  let result = ''
  let from = 0
  for (const edit of edits) {
    if (edit.start < from) throw new CoatcheckError('internal', 'Placeholders overlap.', 'Send each placeholder apart.')
    result += text.slice(from, edit.start) + edit.text
    from = edit.end
  }
  return result + text.slice(from)
}

function checkedTarget(target: string): string {
  if (TARGET.test(target)) return target
  throw new CoatcheckError(
    'bad_request',
    'The request target holds a character that a target may not hold.',
    'Percent-encode everything outside visible ASCII.',
  )
}

function notPlaceable(secret: MountedSecret, where: string, why: string): CoatcheckError {
  return new CoatcheckError(
    'value_not_placeable',
    `The value of secret "${secret.name}" cannot be put into ${where}: ${why}.`,
    `Store a value that fits: coatcheck secret rotate ${secret.name}`,
  )
}
