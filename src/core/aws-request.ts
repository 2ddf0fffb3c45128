/**
 * Reads the AWS Signature Version 4 of a request that was signed with a placeholder's access key id: in its Authorization
 * field or, presigned, in its query. Reads nothing but what the signature says of itself; whether it is true is for
 * aws-signature.ts.
 */
import { AWS_MARKER } from './aws-credentials.ts'
import { CoatcheckError } from './errors.ts'
import { every } from './fields.ts'
import type { RequestHead } from './substitution.ts'

export const AWS_ALGORITHM = 'AWS4-HMAC-SHA256'

/** How the body is signed: by a text that the canonical request has in place of its digest, by its digest, or in chunks. */
export type AwsPayload =
  | { readonly kind: 'stated'; readonly text: string }
  | { readonly kind: 'digest' }
  | { readonly kind: 'chunks'; readonly text: string; readonly trailer: boolean }

export interface AwsSignature {
  readonly form: 'header' | 'query'
  readonly accessKeyId: string
  /** `20150830/us-east-1/s3/aws4_request`. */
  readonly scope: string
  readonly date: string
  readonly region: string
  readonly service: string
  /** `20150830T123600Z`. */
  readonly time: string
  /** Lower case, as the client ordered them. */
  readonly signedHeaders: readonly string[]
  /** 64 hex digits. */
  readonly signature: string
  readonly payload: AwsPayload
}

const CREDENTIAL = /^([^/\s,]+)\/(\d{8})\/([A-Za-z0-9_-]{1,64})\/([A-Za-z0-9_.-]{1,64})\/aws4_request$/
const SIGNED_HEADERS = /^[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*$/
const SIGNATURE = /^[0-9a-f]{64}$/
const TIME = /^\d{8}T\d{6}Z$/
const STATED = /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-UNSIGNED-PAYLOAD-TRAILER)$/
const CHUNKS = /^STREAMING-AWS4-HMAC-SHA256-PAYLOAD(-TRAILER)?$/

const ONLY_SIGV4 = 'Sign with AWS Signature Version 4 (AWS4-HMAC-SHA256); nothing else is signed again here.'

/** Null when no placeholder signed it. Throws `signature_invalid` when one did, in a form that is not read here. */
export function findAwsSignature(head: RequestHead): AwsSignature | null {
  const authorization = every(head.headers, 'authorization').filter((value) => value.includes(AWS_MARKER))
  const query = head.path.includes(AWS_MARKER) ? queryOf(head.path) : null
  const inQuery = query?.get('X-Amz-Credential')?.startsWith(AWS_MARKER) === true ? query : null
  const [signed] = authorization
  if (signed === undefined || !/(?:^|[=\s])XCOAT[A-Z2-7]{15}(?![A-Za-z0-9])/.test(signed)) {
    return inQuery === null ? null : signedInQuery(head, inQuery)
  }
  if (authorization.length > 1 || inQuery !== null) {
    throw unreadable('The request is signed more than once.', 'Sign it once, in its Authorization field or its query.')
  }
  return signedInHeader(head, signed)
}

function signedInHeader(head: RequestHead, authorization: string): AwsSignature {
  const space = authorization.indexOf(' ')
  if (authorization.slice(0, space) !== AWS_ALGORITHM) {
    throw unreadable('The request is signed in another way than AWS Signature Version 4.', ONLY_SIGV4)
  }
  const parts = new Map<string, string>()
  for (const part of authorization.slice(space).split(',')) {
    const equals = part.indexOf('=')
    const name = part.slice(0, equals).trim()
    if (parts.has(name)) throw unreadable('The Authorization field says something twice.', ONLY_SIGV4)
    parts.set(name, part.slice(equals + 1).trim())
  }
  const time = every(head.headers, 'x-amz-date')[0] ?? timeOfDate(every(head.headers, 'date')[0])
  const stated = every(head.headers, 'x-amz-content-sha256')[0]
  const said = { credential: parts.get('Credential'), signature: parts.get('Signature'), time }
  return read('header', { ...said, signedHeaders: parts.get('SignedHeaders') }, stated)
}

function signedInQuery(head: RequestHead, query: ReadonlyMap<string, string>): AwsSignature {
  if (query.get('X-Amz-Algorithm') !== AWS_ALGORITHM) {
    throw unreadable('The request is presigned in another way than AWS Signature Version 4.', ONLY_SIGV4)
  }
  const credential = query.get('X-Amz-Credential')
  const stated = every(head.headers, 'x-amz-content-sha256')[0] ?? query.get('X-Amz-Content-Sha256')
  const time = query.get('X-Amz-Date')
  const said = { credential, time, signature: query.get('X-Amz-Signature') }
  const signedHeaders = query.get('X-Amz-SignedHeaders')
  // S3 takes a presigned request with any body.
  const open = isS3(CREDENTIAL.exec(credential ?? '')?.[4] ?? '') ? 'UNSIGNED-PAYLOAD' : undefined
  return read('query', { ...said, signedHeaders }, stated ?? open)
}

type Said = Readonly<Record<'credential' | 'signature' | 'time' | 'signedHeaders', string | undefined>>

function read(form: AwsSignature['form'], said: Said, stated: string | undefined): AwsSignature {
  const { credential = '', signature = '', time = '', signedHeaders = '' } = said
  const [, accessKeyId, date, region, service] = CREDENTIAL.exec(credential) ?? []
  const whole = SIGNATURE.test(signature) && SIGNED_HEADERS.test(signedHeaders) && TIME.test(time)
  if (!whole || accessKeyId === undefined || date === undefined || region === undefined || service === undefined) {
    throw unreadable('The AWS signature of the request is not complete.', ONLY_SIGV4)
  }
  if (!time.startsWith(date)) {
    throw unreadable('The AWS signature names another day than the request.', 'Sign with one date: X-Amz-Date.')
  }
  const names = signedHeaders.split(';')
  if (!names.includes('host')) {
    throw unreadable('The AWS signature does not cover the host.', 'Sign the Host field, as every AWS client does.')
  }
  const scope = credential.slice(accessKeyId.length + 1)
  const payload = payloadOf(stated)
  return { form, accessKeyId, scope, date, region, service, time, signedHeaders: names, signature, payload }
}

/** Services whose clients encode a path once (S3 and its kin); all others encode it twice. */
export function isS3(service: string): boolean {
  return /^s3(?:$|express$|-)/.test(service)
}

function payloadOf(stated: string | undefined): AwsPayload {
  if (stated === undefined) return { kind: 'digest' }
  if (STATED.test(stated)) return { kind: 'stated', text: stated }
  const chunks = CHUNKS.exec(stated)
  if (chunks !== null) return { kind: 'chunks', text: stated, trailer: chunks[1] !== undefined }
  throw unreadable(
    'The body is signed in a way that is not known here.',
    'Send it with its SHA-256, as UNSIGNED-PAYLOAD, or as STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with or without -TRAILER.',
  )
}

/** Decoded; throws on what is there twice, since two readers could take either. */
function queryOf(path: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>()
  const start = path.indexOf('?')
  if (start === -1) return query
  for (const part of path.slice(start + 1).split('&')) {
    const equals = part.indexOf('=')
    const name = decodePercent(equals === -1 ? part : part.slice(0, equals))
    if (!name.startsWith('X-Amz-')) continue
    if (query.has(name)) throw unreadable('A parameter of the AWS signature is there twice.', 'Send each once.')
    query.set(name, equals === -1 ? '' : decodePercent(part.slice(equals + 1)))
  }
  return query
}

/** latin1 in and out; a `%` that begins no escape stays. */
export function decodePercent(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** Of a Date field, in either of the forms AWS takes. */
function timeOfDate(date: string | undefined): string | undefined {
  if (date === undefined || TIME.test(date)) return date
  const at = Date.parse(date)
  return Number.isNaN(at) ? undefined : new Date(at).toISOString().replace(/[-:]|\.\d{3}/g, '')
}

function unreadable(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('signature_invalid', message, hint)
}
