/**
 * The canonical request of AWS Signature Version 4: one text for one request, in each of the forms that clients sign.
 *
 * AWS's rule is that a path is normalised and encoded twice, and for S3 taken as it is, encoded once. Clients differ where
 * a path has dot segments, empty ones or `%2F`, and where a query has `+`; so all forms are tried, the service's own
 * first, and the one the client signed is the one that is signed again. Text is latin1, one character for each byte.
 */
import { decodePercent, isS3 } from './aws-request.ts'
import { every } from './fields.ts'
import type { RequestHead } from './substitution.ts'

export type PathForm = 'normalized-twice' | 'twice' | 'once' | 'as-sent'
export type QueryForm = 'encoded' | 'plus-is-blank' | 'as-sent'

export interface CanonicalForm {
  readonly path: PathForm
  readonly query: QueryForm
}

const QUERY_FORMS: readonly QueryForm[] = ['encoded', 'plus-is-blank', 'as-sent']
const PATH_FORMS: readonly PathForm[] = ['normalized-twice', 'twice', 'once', 'as-sent']
const S3_PATH_FORMS: readonly PathForm[] = ['once', 'as-sent', 'twice', 'normalized-twice']

/** In the order in which they are tried. */
export function canonicalForms(service: string): readonly CanonicalForm[] {
  const paths = isS3(service) ? S3_PATH_FORMS : PATH_FORMS
  return QUERY_FORMS.flatMap((query) => paths.map((path) => ({ path, query })))
}

/** @param payload what stands for the body: its SHA-256 in hex, or a text such as UNSIGNED-PAYLOAD. */
export function canonicalRequest(
  head: RequestHead,
  form: CanonicalForm,
  signedHeaders: readonly string[],
  payload: string,
): string {
  const question = head.path.indexOf('?')
  const path = question === -1 ? head.path : head.path.slice(0, question)
  const query = question === -1 ? '' : head.path.slice(question + 1)
  const fields = signedHeaders.map((name) => `${name}:${canonicalField(head, name)}\n`)
  return [
    head.method,
    canonicalPath(path, form.path),
    canonicalQuery(query, form.query),
    fields.join(''),
    signedHeaders.join(';'),
    payload,
  ].join('\n')
}

function canonicalField(head: RequestHead, name: string): string {
  return every(head.headers, name)
    .map((value) => value.trim().replace(/[ \t]+/g, ' '))
    .join(',')
}

function canonicalPath(path: string, form: PathForm): string {
  const whole = path === '' ? '/' : path
  if (form === 'as-sent') return whole
  const segments = (form === 'normalized-twice' ? normalized(whole) : whole).split('/')
  return segments.map((segment) => encodeAll(form === 'once' ? decodePercent(segment) : segment)).join('/')
}

/** RFC 3986 6.2.2.3, and no empty segments. */
function normalized(path: string): string {
  const kept: string[] = []
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.')
  for (const segment of segments) {
    if (segment === '..') kept.pop()
    else kept.push(segment)
  }
  return kept.length > 0 && /\/\.{0,2}$/.test(path) ? `/${kept.join('/')}/` : `/${kept.join('/')}`
}

function canonicalQuery(query: string, form: QueryForm): string {
  const pairs: (readonly [string, string])[] = []
  for (const part of query.split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const [name, value] = equals === -1 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)]
    if (decodePercent(name) !== 'X-Amz-Signature') pairs.push([written(name, form), written(value, form)])
  }
  pairs.sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
  return pairs.map(([name, value]) => `${name}=${value}`).join('&')
}

function written(text: string, form: QueryForm): string {
  if (form === 'as-sent') return text
  return encodeAll(decodePercent(form === 'plus-is-blank' ? text.replaceAll('+', ' ') : text))
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

/** Everything but A-Z a-z 0-9 - . _ ~ percent-encoded in capitals. */
export function encodeAll(text: string): string {
  return text.replace(
    /[^A-Za-z0-9._~-]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}
