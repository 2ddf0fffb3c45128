/**
 * AWS Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html): tells whether a request
 * was signed with one credential pair, and signs it again with another.
 *
 * Date, region, service and the canonical form stay the client's. The fields that are signed are those the client signed,
 * as they are sent now. The host is always one of them, so a signature is of no use anywhere else.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type CanonicalForm, canonicalForms, canonicalRequest, encodeAll } from './aws-canonical.ts'
import type { AwsCredentials } from './aws-credentials.ts'
import { AWS_ALGORITHM, type AwsSignature, decodePercent } from './aws-request.ts'
import { FieldNames, isNamed, without } from './fields.ts'
import type { SecretValue } from './secret.ts'
import type { RequestHead } from './substitution.ts'

/** What a signature is made with: the key of one day, region and service. */
export interface AwsKey {
  readonly key: Buffer
  /** `20150830T123600Z`. */
  readonly time: string
  readonly scope: string
}

export interface AwsSigned {
  readonly head: RequestHead
  /** The first link of the chain, where chunks are signed. */
  readonly signature: string
}

const TOKEN_FIELD = 'x-amz-security-token'
const TOKEN_FIELDS = new FieldNames([TOKEN_FIELD])
const TOKEN_PARAMETER = 'X-Amz-Security-Token'

/** The key that signs what this signature is about, of another secret access key. */
export function awsKey({ date, region, service, time, scope }: AwsSignature, secret: SecretValue): AwsKey {
  let key = hmac(Buffer.concat([Buffer.from('AWS4'), secret.reveal()]), date)
  for (const part of [region, service, 'aws4_request']) key = hmac(key, part)
  return { key, time, scope }
}

/** Signs a string of one kind: `lines` follow its algorithm, time and scope. 64 hex digits. */
export function awsSign({ key, time, scope }: AwsKey, algorithm: string, lines: readonly string[]): string {
  return hmac(key, [algorithm, time, scope, ...lines].join('\n')).toString('hex')
}

/**
 * The canonical form in which the request, as it came, has this signature by this key; null when it has none.
 * @param payload what stands for the body: its SHA-256 in hex, or the text that was stated.
 */
export function verifyAws(
  head: RequestHead,
  signature: AwsSignature,
  key: AwsKey,
  payload: string,
): CanonicalForm | null {
  const given = Buffer.from(signature.signature, 'hex')
  const tried = new Set<string>()
  for (const form of canonicalForms(signature.service)) {
    const canonical = canonicalRequest(head, form, signature.signedHeaders, payload)
    if (tried.has(canonical)) continue
    tried.add(canonical)
    if (timingSafeEqual(given, Buffer.from(signatureOf(canonical, key), 'hex'))) return form
  }
  return null
}

export interface AwsSigning {
  /** As it came. */
  readonly signature: AwsSignature
  readonly form: CanonicalForm
  readonly credentials: AwsCredentials
  readonly payload: string
}

/** The head as it will be sent, signed with the real pair; a session token of the client's is dropped, the real one added. */
export function signAws(head: RequestHead, signing: AwsSigning): AwsSigned {
  return signing.signature.form === 'header' ? signInHeader(head, signing) : signInQuery(head, signing)
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function signInHeader(head: RequestHead, { signature, form, credentials, payload }: AwsSigning): AwsSigned {
  const headers = withToken(head.headers, credentials.sessionToken)
  const names = namesToSign(signature.signedHeaders, headers)
  if (credentials.sessionToken !== null) names.push(TOKEN_FIELD)
  names.sort()
  const canonical = canonicalRequest({ ...head, headers }, form, names, payload)
  const signed = signatureOf(canonical, awsKey(signature, credentials.secretAccessKey))
  const credential = `Credential=${credentials.accessKeyId}/${signature.scope}`
  const authorization = `${AWS_ALGORITHM} ${credential}, SignedHeaders=${names.join(';')}, Signature=${signed}`
  for (let pair = 0; pair < headers.length; pair += 2) {
    if (isNamed(headers[pair] as string, 'authorization')) headers[pair + 1] = authorization
  }
  return { head: { ...head, headers }, signature: signed }
}

function signInQuery(head: RequestHead, { signature, form, credentials, payload }: AwsSigning): AwsSigned {
  const headers = withToken(head.headers, null)
  const names = namesToSign(signature.signedHeaders, headers).sort()
  const replaced: Readonly<Record<string, string | null>> = {
    'X-Amz-Credential': `${credentials.accessKeyId}/${signature.scope}`,
    'X-Amz-SignedHeaders': names.join(';'),
    'X-Amz-Signature': null,
    [TOKEN_PARAMETER]: null,
  }
  const question = head.path.indexOf('?')
  const parts = head.path.slice(question + 1).split('&')
  const kept = parts.flatMap((part) => {
    const name = decodePercent(part.split('=', 1)[0] as string)
    const value = Object.hasOwn(replaced, name) ? replaced[name] : undefined
    if (value === undefined) return [part]
    return value === null ? [] : [`${name}=${encodeAll(value)}`]
  })
  const { sessionToken } = credentials
  if (sessionToken !== null) kept.push(`${TOKEN_PARAMETER}=${encodeAll(sessionToken.reveal().toString('latin1'))}`)
  const path = `${head.path.slice(0, question + 1)}${kept.join('&')}`
  const canonical = canonicalRequest({ ...head, path, headers }, form, names, payload)
  const signed = signatureOf(canonical, awsKey(signature, credentials.secretAccessKey))
  return { head: { ...head, headers, path: `${path}&X-Amz-Signature=${signed}` }, signature: signed }
}

/** What the client signed, less what is not sent on. */
function namesToSign(signed: readonly string[], headers: readonly string[]): string[] {
  const sent = new Set<string>()
  for (let pair = 0; pair < headers.length; pair += 2) sent.add((headers[pair] as string).toLowerCase())
  return [...new Set(signed)].filter((name) => sent.has(name) && name !== TOKEN_FIELD)
}

function withToken(headers: readonly string[], token: SecretValue | null): string[] {
  const kept = without(headers, TOKEN_FIELDS)
  if (token !== null) kept.push(TOKEN_FIELD, token.reveal().toString('latin1'))
  return kept
}

function signatureOf(canonical: string, key: AwsKey): string {
  return awsSign(key, AWS_ALGORITHM, [sha256(Buffer.from(canonical, 'latin1'))])
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest()
}
