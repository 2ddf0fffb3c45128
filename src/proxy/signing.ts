/**
 * A request that is signed with a placeholder pair of AWS: decided on like any placeholder, its signature checked against
 * what the sandbox sent, recorded, and, once it is as it will be sent, signed again with the real pair.
 *
 * A request that no placeholder signed goes through untouched. One whose signature is not right is refused always,
 * whatever the settings say of other denials: signing it would vouch for bytes that the sandbox never signed.
 */
import { Readable } from 'node:stream'
import type { CanonicalForm } from '../core/aws-canonical.ts'
import { AwsChunkResigner } from '../core/aws-chunked.ts'
import { type AwsCredentials, awsReleases, parseAwsCredentials, readAwsPlaceholder } from '../core/aws-credentials.ts'
import { type AwsSignature, findAwsSignature } from '../core/aws-request.ts'
import { type AwsKey, awsKey, sha256, signAws, verifyAws } from '../core/aws-signature.ts'
import { CoatcheckError } from '../core/errors.ts'
import { HeldBytes } from '../core/held-bytes.ts'
import type { MaskerCache } from '../core/masking.ts'
import type { Spot } from '../core/placement.ts'
import { decideRelease, UNKNOWN_PLACEHOLDER } from '../core/policy.ts'
import { ReleasedValues } from '../core/released-values.ts'
import { type MountedSecret, SecretValue } from '../core/secret.ts'
import type { RequestHead } from '../core/substitution.ts'
import type { ExchangeRecord } from './exchange-log.ts'
import type { Destination, ExchangeRequest, OutgoingRequest, ResponseSink } from './message.ts'
import { auditedSecret, onDenied, type ReleasePorts } from './release.ts'
import { RequestBody } from './request-body.ts'
import { SignedSink } from './signed-response.ts'

export interface SigningPorts extends ReleasePorts {
  readonly maskers: MaskerCache | null
}

export interface SigningContext {
  readonly destination: Destination
  readonly path: string
  readonly record: ExchangeRecord
  readonly client: ResponseSink
}

export interface Signing {
  /** True when the request is signed again, so that its body must stay as it is. */
  readonly signed: boolean
  /** What goes on: where the signature covers the body's digest, the body was read and is there whole. */
  readonly request: ExchangeRequest
  /** The request as it leaves. */
  outgoing(request: OutgoingRequest): OutgoingRequest
  /** The answer as the sandbox gets it. */
  answerTo(client: ResponseSink): ResponseSink
}

const SPOT: Spot = { kind: 'aws-sigv4' }
/** Of a body whose digest is only in the signature. AWS's own limits are below it but for archives, which state theirs. */
const MOST_DIGESTED_BYTES = 16 * 1024 * 1024

/** Throws a release's refusal, `signature_invalid`, `body_too_large`, `audit_unavailable`, `store_unavailable`. */
export function signingOf(
  ports: SigningPorts,
  request: ExchangeRequest,
  context: SigningContext,
): Signing | Promise<Signing> {
  const head = { method: request.method, path: context.path, headers: request.headers }
  const signature = findAwsSignature(head)
  return signature === null ? unsigned(request) : resigning(ports, request, context, { head, signature })
}

async function resigning(
  ports: SigningPorts,
  request: ExchangeRequest,
  context: SigningContext,
  { head, signature }: { readonly head: RequestHead; readonly signature: AwsSignature },
): Promise<Signing> {
  const secret = await ports.secrets.find(request.sandbox, signature.accessKeyId)
  const held = secret === undefined ? null : readAwsPlaceholder(secret.placeholder)
  const { host, scheme } = context.destination
  const decision =
    held === null ? UNKNOWN_PLACEHOLDER : decideRelease(secret, SPOT, { host, scheme, now: ports.clock() })
  if (!decision.allow || held === null) {
    if (!decision.allow && (await onDenied(ports, request.sandbox)) === 'refuse') {
      throw new CoatcheckError(decision.reason, decision.message, decision.hint)
    }
    context.record.withheld(1)
    return unsigned(request)
  }
  const { whole, payload } = await payloadOf(signature, request, context.client)
  const key = awsKey(signature, SecretValue.fromText(held.secretAccessKey))
  const form = verifyAws(head, signature, key, payload)
  if (form === null) throw notSignedSo(decision.secret)
  const credentials = parseAwsCredentials(await ports.secrets.open(decision.secret))
  await context.record.release([auditedSecret(decision.secret, SPOT)])
  const releases = awsReleases(decision.secret, held, credentials)
  const released = ports.maskers === null ? null : new ReleasedValues(ports.maskers, releases)
  return new Resigning({ request: whole, signature, key, form, credentials, payload, released })
}

function unsigned(request: ExchangeRequest): Signing {
  return { signed: false, request, outgoing: same, answerTo: same }
}

function same<T>(untouched: T): T {
  return untouched
}

interface ResigningParts {
  readonly request: ExchangeRequest
  readonly signature: AwsSignature
  /** The placeholder's. */
  readonly key: AwsKey
  readonly form: CanonicalForm
  readonly credentials: AwsCredentials
  readonly payload: string
  /** Null when nothing is masked. */
  readonly released: ReleasedValues | null
}

class Resigning implements Signing {
  readonly signed = true
  readonly #parts: ResigningParts

  constructor(parts: ResigningParts) {
    this.#parts = parts
  }

  get request(): ExchangeRequest {
    return this.#parts.request
  }

  answerTo(client: ResponseSink): ResponseSink {
    const { released, request } = this.#parts
    return released === null ? client : new SignedSink(client, released, request.method)
  }

  outgoing(request: OutgoingRequest): OutgoingRequest {
    const { signature, key, credentials } = this.#parts
    const { head, signature: seed } = signAws(request, this.#parts)
    if (signature.payload.kind !== 'chunks' || request.body === null) return { ...request, ...head }
    const given = { key, seed: signature.signature }
    const made = { key: awsKey(signature, credentials.secretAccessKey), seed }
    return {
      ...request,
      ...head,
      body: resigned(request.body, new AwsChunkResigner(given, made, signature.payload.trailer)),
    }
  }
}

function resigned(source: Readable, resigner: AwsChunkResigner): Readable {
  const chunks = async function* (): AsyncGenerator<Buffer, void, undefined> {
    for await (const bytes of source as AsyncIterable<Buffer>) yield* resigner.push(bytes)
    yield* resigner.finish()
  }
  const stream = Readable.from(chunks(), { objectMode: true })
  return stream.once('close', () => source.destroy())
}

/** What the canonical request has in the body's place, and the request with its body still to be sent. */
async function payloadOf(
  { payload }: AwsSignature,
  request: ExchangeRequest,
  client: ResponseSink,
): Promise<{ readonly whole: ExchangeRequest; readonly payload: string }> {
  if (payload.kind !== 'digest') return { whole: request, payload: payload.text }
  if (request.body === null) return { whole: request, payload: sha256('') }
  if (request.expectsContinue) client.informational(100, [])
  const held = new HeldBytes()
  for await (const bytes of new RequestBody(request.body, null) as AsyncIterable<Buffer>) {
    held.append(bytes)
    if (held.length > MOST_DIGESTED_BYTES) throw tooLarge()
  }
  const bytes = held.take(held.length)
  const body = Readable.from([bytes], { objectMode: true })
  return { whole: { ...request, body, expectsContinue: false }, payload: sha256(bytes) }
}

function notSignedSo({ name }: MountedSecret): CoatcheckError {
  return new CoatcheckError(
    'signature_invalid',
    `The request names the placeholder of secret "${name}", but is not signed with its secret access key, or was changed afterwards.`,
    'Use both halves of the pair as they were given, and let nothing between the client and this proxy change a signed field, the path or the query. A wrong clock is not it: AWS itself answers that.',
  )
}

function tooLarge(): CoatcheckError {
  return new CoatcheckError(
    'body_too_large',
    'The body is signed by its digest and larger than 16 MiB, too large to be read before it is sent.',
    'State the digest in X-Amz-Content-Sha256, or send it in parts.',
  )
}
