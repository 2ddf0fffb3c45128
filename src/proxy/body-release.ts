/**
 * The request's body as it goes on. Without a secret that may be put into it, it passes untouched and is only scanned;
 * with one, placeholders are swapped while it streams, each decided on and recorded before its value is written.
 *
 * Framing is kept: chunked stays chunked. A body with a Content-Length is completed first when it is small, and sent with
 * its new length; a larger one is sent chunked, or refused at the first swap, as the settings say.
 */
import { Readable } from 'node:stream'
import { mediaOf } from '../core/body-media.ts'
import { BodySubstituter, type DecideInBody, substituteBody } from '../core/body-substitution.ts'
import { CoatcheckError } from '../core/errors.ts'
import { FieldNames, without } from '../core/fields.ts'
import type { OccurrenceBudget } from '../core/occurrence-budget.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import type { MountedSecret } from '../core/secret.ts'
import { codingOf, decoded, encoded } from './content-coding.ts'
import {
  type ContentPorts,
  inWorkspace,
  longestDress,
  placeableSecrets,
  releasableInContent,
  releaseInContent,
  requireNoneWithheld,
} from './content-release.ts'
import type { ExchangeRecord } from './exchange-log.ts'
import { single } from './headers.ts'
import type { Destination, ExchangeRequest, OutgoingTrailers } from './message.ts'
import { RequestBody } from './request-body.ts'
import { outgoingTrailers, type TrailedHead } from './trailer-release.ts'

export interface BodyPorts extends ContentPorts {
  /** Bodies with a Content-Length up to this are completed before they are sent. */
  readonly completeBytes: number
  /** What becomes of a larger one whose length a swap would change. */
  readonly largeBody: 'chunk' | 'refuse'
}

export interface BodyContext {
  readonly destination: Destination
  /** Fields as they will be sent. */
  readonly headers: readonly string[]
  readonly record: ExchangeRecord
  /** Grows with each value that is put into the body; null when `secrets.masking` is off. */
  readonly released: ReleasedValues | null
  readonly budget: OccurrenceBudget
  /** Its bytes are signed: nothing is put into it. */
  readonly signed: boolean
}

export interface OutgoingBody {
  readonly stream: Readable | null
  readonly headers: readonly string[]
  /** What follows it; null when nothing does. */
  readonly trailers: OutgoingTrailers | null
  /** Values may be put into it, or into its trailers, while it is sent, and the answer may come before that. */
  readonly mayRelease: boolean
  /** Bytes received from the sandbox so far. */
  readonly bytes: number
  /** Placeholders seen so far that were not swapped. */
  readonly withheld: number
}

const LENGTH = new FieldNames(['content-length'])
/** Digests of a body that is no longer the one that is sent. */
const OUTDATED = new FieldNames(['content-length', 'content-md5', 'digest', 'content-digest', 'repr-digest'])

/** Throws a release's refusal when `inBody` is refuse, and `bad_request`, `body_too_large`, `value_not_placeable`. */
export function outgoingBody(
  server: BodyPorts,
  request: ExchangeRequest,
  given: BodyContext,
): OutgoingBody | Promise<OutgoingBody> {
  return request.body === null ? bodiless(given) : bodyOf(server, request, request.body, given)
}

async function bodyOf(
  server: BodyPorts,
  request: ExchangeRequest,
  source: Readable,
  given: BodyContext,
): Promise<OutgoingBody> {
  const ports = await inWorkspace(server, request.sandbox)
  const context = { ...given, ...(await outgoingTrailers(ports, request, given)) }
  const { headers } = context
  const placeable = await placeableSecrets(ports, { sandbox: request.sandbox, ...context }, 'body')
  const coding = codingOf(single(headers, 'content-encoding'))
  // Where no value can ever stand, the framing need not change either.
  const closed = coding === 'other' || mediaOf(single(headers, 'content-type')).kind === 'unknown'
  if (placeable.length === 0 || closed || context.signed) return untouched(source, context, ports)
  const rewriting = new Rewriting(ports, request, context, placeable)
  const length = Number(single(headers, 'content-length') ?? Number.NaN)
  if (length <= ports.completeBytes) return await rewriting.completed()
  return rewriting.streamed(Number.isNaN(length))
}

function bodiless({ headers }: BodyContext): OutgoingBody {
  return { stream: null, headers, trailers: null, mayRelease: false, bytes: 0, withheld: 0 }
}

function untouched(source: Readable, { headers, trailers }: TrailedHead, { inBody }: ContentPorts): OutgoingBody {
  const body = new RequestBody(source, { inBody, contentType: single(headers, 'content-type') })
  return {
    stream: body,
    headers,
    trailers,
    mayRelease: trailers !== null,
    get bytes() {
      return body.bytes
    },
    get withheld() {
      return body.placeholders
    },
  }
}

/** One body that is rewritten. */
class Rewriting {
  readonly #ports: BodyPorts
  readonly #request: ExchangeRequest
  readonly #context: BodyContext & TrailedHead
  readonly #source: RequestBody
  readonly #substituter: BodySubstituter
  #fixedLength = false
  #changed = false

  constructor(
    ports: BodyPorts,
    request: ExchangeRequest,
    context: BodyContext & TrailedHead,
    placeable: readonly MountedSecret[],
  ) {
    this.#ports = ports
    this.#request = request
    this.#context = context
    this.#source = new RequestBody(request.body as Readable, null)
    this.#substituter = new BodySubstituter({
      media: mediaOf(single(context.headers, 'content-type')),
      budget: context.budget,
      longestDress: longestDress(placeable),
    })
  }

  /** Reads it whole; everything is decided before a byte of the request is sent. */
  async completed(): Promise<OutgoingBody> {
    const whole = Buffer.concat(await Array.fromAsync(this.#rewritten()))
    const { headers } = this.#context
    const framed = this.#changed ? [...without(headers, OUTDATED), 'content-length', String(whole.length)] : headers
    return this.#outgoing(Readable.from([whole], { objectMode: true }), framed, false)
  }

  /** What will be released is not known yet; the answer is searched for each value from when it is. */
  streamed(chunked: boolean): OutgoingBody {
    const { headers } = this.#context
    this.#fixedLength = !chunked && this.#ports.largeBody === 'refuse'
    const stream = Readable.from(this.#rewritten(), { objectMode: true })
    return this.#outgoing(stream, this.#fixedLength ? headers : without(headers, chunked ? LENGTH : OUTDATED), true)
  }

  #outgoing(stream: Readable, headers: readonly string[], mayRelease: boolean): OutgoingBody {
    const source = this.#source
    const substituter = this.#substituter
    const { trailers } = this.#context
    stream.once('close', () => source.destroy())
    return {
      stream,
      headers,
      trailers,
      mayRelease: mayRelease || trailers !== null,
      get bytes() {
        return source.bytes
      },
      get withheld() {
        return substituter.withheld
      },
    }
  }

  async *#rewritten(): AsyncGenerator<Buffer, void, undefined> {
    const coding = codingOf(single(this.#context.headers, 'content-encoding'))
    const source: AsyncIterable<Buffer> = this.#source
    if (coding === 'identity' || coding === 'other') {
      yield* this.#swapped(source)
      return
    }
    yield* encoded(this.#swapped(decoded(source, coding)), coding)
  }

  async *#swapped(plain: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    for await (const bytes of substituteBody(plain, this.#substituter, this.#decide)) {
      this.#requireNoneWithheld()
      yield bytes
    }
    this.#requireNoneWithheld()
  }

  readonly #decide: DecideInBody = async (occurrence) => {
    const from = { sandbox: this.#request.sandbox, ...this.#context }
    const secret = await releasableInContent(this.#ports, from, occurrence)
    if (secret === null) return null
    if (this.#fixedLength) throw tooLarge()
    this.#changed = true
    return await releaseInContent(this.#ports, from, secret, occurrence)
  }

  #requireNoneWithheld(): void {
    requireNoneWithheld(this.#ports.inBody, this.#substituter.withheld)
  }
}

function tooLarge(): CoatcheckError {
  return new CoatcheckError(
    'body_too_large',
    'A value would change the length of this body, and it is too large to be completed first.',
    'Send it chunked, raise limits.bodyBytes, or set secrets.largeBody to chunk.',
  )
}
