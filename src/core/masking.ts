/**
 * Masking: a real value in a response turned back into the placeholder, before the sandbox sees it.
 *
 * Only values of this exchange's releases are masked, only whole and of at least 16 bytes: shorter ones would corrupt
 * bodies, and masking guesses would tell which are right. No count or size turns masking off. It is a second layer:
 * an upstream that returns a value in a form unknown to encoded-forms.ts is not stopped.
 */
import { cutOrPadded, encodedForms } from './encoded-forms.ts'
import { CoatcheckError } from './errors.ts'
import type { SecretValue } from './secret.ts'
import type { Needle } from './streaming-replace.ts'
import { NeedleSet, StreamingReplacer } from './streaming-replace.ts'
import type { Release } from './substitution.ts'
import type { SwappedText } from './swapped-text.ts'

export type Inspection = { readonly ok: true } | { readonly ok: false; readonly why: string }

/** One response body; see StreamingReplacer for what `push` and `finish` return. */
export interface BodyMasker {
  push(chunk: Buffer): Buffer
  finish(): Buffer
}

/** Bytes. Shorter values would be found where they are not meant. */
export const SHORTEST_MASKED = 16
/** RFC 9110 5.6.2, in small letters. */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

export class Masker {
  readonly needles: NeedleSet
  readonly #all: readonly Needle[]
  /** Made for the first name that is long enough. */
  #names: NeedleSet | null = null

  /** @param swapped texts that are masked as they are and in no other form. */
  constructor(releases: Iterable<Release>, swapped: readonly SwappedText[] = []) {
    this.#all = [...needlesFor(releases), ...swapped.flatMap(asItIs)]
    this.needles = new NeedleSet(this.#all)
  }

  /** False when there is nothing to mask, and bodies may pass as they are. */
  get active(): boolean {
    return !this.needles.isEmpty
  }

  /** name, value, name, value …: both masked, since an upstream may put anything into either. */
  maskHeaders(raw: readonly string[]): readonly string[] {
    if (!this.#mayHold(raw)) return raw
    return raw.map((text, i) => (i % 2 === 0 ? this.#maskName(text) : this.maskText(text)))
  }

  /** A reason phrase or header value: latin1. */
  maskText(text: string): string {
    return masked(text, text, this.needles)
  }

  /** For one body; unless lengths are kept, a masked one may have another, and its Content-Length does not hold. */
  body(sameLength = false): StreamingReplacer {
    return new StreamingReplacer(this.needles, sameLength)
  }

  /** One look over all that are long enough: few answers hold a value in their fields. */
  #mayHold(raw: readonly string[]): boolean {
    const { shortest } = this.needles
    const long: string[] = []
    for (let i = 0; i < raw.length; i += 2) {
      if ((raw[i] as string).length >= shortest) return true
      if ((raw[i + 1] as string).length >= shortest) long.push(raw[i + 1] as string)
    }
    if (long.length === 0) return false
    const all = Buffer.from(long.join('\n'), 'latin1')
    return this.needles.replaceIn(all) !== all
  }

  /** In whatever case it is: HTTP/2 has names in small letters (RFC 9113 8.2.1). A masked name has the rest in those. */
  #maskName(name: string): string {
    if (name.length < this.needles.shortest) return name
    this.#names ??= new NeedleSet(this.#all.flatMap(asName))
    return masked(name, name.toLowerCase(), this.#names)
  }
}

interface Kept {
  readonly placeholder: string
  readonly swapped: readonly SwappedText[]
  readonly masker: Masker
}

/**
 * Keeps the Masker of a value as long as the value itself, so that a busy secret is prepared once and not per exchange.
 * A new version is another SecretValue, so no stale one can be found.
 */
export class MaskerCache {
  readonly #single = new WeakMap<SecretValue, Kept>()

  /** The Masker of these releases. */
  of(releases: readonly Release[], swapped: readonly SwappedText[] = []): Masker {
    const [release] = releases
    if (release === undefined || releases.length > 1) return new Masker(releases, swapped)
    const { placeholder } = release.secret
    const kept = this.#single.get(release.value)
    if (kept !== undefined && kept.placeholder === placeholder && sameTexts(kept.swapped, swapped)) return kept.masker
    const masker = new Masker(releases, swapped)
    this.#single.set(release.value, { placeholder, swapped, masker })
    return masker
  }
}

function sameTexts(some: readonly SwappedText[], others: readonly SwappedText[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ sent, received }, i) => {
      const other = others[i] as SwappedText
      return received === other.received && sent.reveal().equals(other.sent.reveal())
    })
  )
}

/** `text` itself when `searched`, which is as long, holds no needle. */
function masked(text: string, searched: string, needles: NeedleSet): string {
  if (text.length < needles.shortest) return text
  const bytes = Buffer.from(searched, 'latin1')
  const clean = needles.replaceIn(bytes)
  return clean === bytes ? text : clean.toString('latin1')
}

function needlesFor(releases: Iterable<Release>): readonly Needle[] {
  const needles: Needle[] = []
  for (const { secret, value } of releases) {
    if (value.byteLength < SHORTEST_MASKED) continue
    needles.push(...encodedForms(value.reveal(), Buffer.from(secret.placeholder, 'latin1')))
  }
  return needles
}

function asItIs({ sent, received, valueBytes }: SwappedText): Needle[] {
  if (valueBytes < SHORTEST_MASKED) return []
  const find = sent.reveal()
  const replacement = Buffer.from(received, 'latin1')
  return [{ find, replacement, sameLength: () => cutOrPadded(replacement, find.length) }]
}

/** Empty for a form that no name can hold. */
function asName({ find, replacement }: Needle): Needle[] {
  const name = find.toString('latin1').toLowerCase()
  return NAME.test(name) ? [{ find: Buffer.from(name, 'latin1'), replacement }] : []
}

/** @param why completes "cannot be searched …: ", and holds nothing of the response. */
export function unmaskable(why: string, cause?: unknown): CoatcheckError {
  return new CoatcheckError(
    'unmaskable_response',
    `The upstream's answer cannot be searched for the value that was released: ${why}.`,
    'Ask the upstream for an uncompressed, complete answer, or send this request without a placeholder.',
    { cause },
  )
}

/**
 * Whether a response to an exchange that released can be masked: its body is whole and in no coding. Responses without
 * a body (HEAD, 1xx, 204, 304) always can. `why` completes "the response cannot be inspected: …" and holds nothing of
 * the response.
 */
export function inspectable(status: number, rawHeaders: readonly string[], method: string): Inspection {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { ok: true }
  if (status === 206) return { ok: false, why: 'it is a part of a body (206)' }
  for (let pair = 0; pair + 1 < rawHeaders.length; pair += 2) {
    const why = obstacle((rawHeaders[pair] as string).toLowerCase(), rawHeaders[pair + 1] as string, status)
    if (why !== undefined) return { ok: false, why }
  }
  return { ok: true }
}

function obstacle(name: string, value: string, status: number): string | undefined {
  switch (name) {
    case 'content-encoding':
      return onlyCodings(value, ['identity']) ? undefined : 'its body has a content coding'
    case 'grpc-encoding':
    case 'connect-content-encoding':
      return onlyCodings(value, ['identity']) ? undefined : 'its messages have a coding'
    case 'transfer-encoding':
      return onlyCodings(value, ['chunked', 'identity']) ? undefined : 'its body has a transfer coding'
    case 'content-range':
      // 416 gives the length of a body that it does not send.
      return status === 416 ? undefined : 'it is a part of a body (Content-Range)'
    case 'content-type':
      return /^\s*multipart\/byteranges\b/i.test(value) ? 'it is parts of a body (multipart/byteranges)' : undefined
    default:
      return undefined
  }
}

function onlyCodings(list: string, known: readonly string[]): boolean {
  return list.split(',').every((coding) => {
    const name = coding.trim().toLowerCase()
    return name === '' || known.includes(name)
  })
}
