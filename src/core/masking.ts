/**
 * Masking: a real value in a response turned back into the placeholder, before the sandbox sees it.
 *
 * Only values of this exchange's releases are masked, only whole and of at least 16 bytes: shorter ones would corrupt
 * bodies, and masking guesses would tell which are right. No count or size turns masking off. It is a second layer:
 * an upstream that returns a value in a form unknown to encoded-forms.ts is not stopped.
 */
import { encodedForms } from './encoded-forms.ts'
import type { SecretValue } from './secret.ts'
import type { Needle } from './streaming-replace.ts'
import { NeedleSet, StreamingReplacer } from './streaming-replace.ts'
import type { Release } from './substitution.ts'

export type Inspection = { readonly ok: true } | { readonly ok: false; readonly why: string }

/** One response body; see StreamingReplacer for what `push` and `finish` return. */
export interface BodyMasker {
  push(chunk: Buffer): Buffer
  finish(): Buffer
}

/** Bytes. */
const SHORTEST_MASKED = 16

export class Masker {
  readonly #needles: NeedleSet

  constructor(releases: Iterable<Release>) {
    this.#needles = new NeedleSet(needlesFor(releases))
  }

  /** False when there is nothing to mask, and bodies may pass as they are. */
  get active(): boolean {
    return !this.#needles.isEmpty
  }

  /** name, value, name, value …: both masked, since an upstream may put anything into either. */
  maskHeaders(raw: readonly string[]): string[] {
    return raw.map((text) => this.maskText(text))
  }

  /** A reason phrase or header value: latin1. */
  maskText(text: string): string {
    if (text.length < this.#needles.shortest) return text
    const bytes = Buffer.from(text, 'latin1')
    const masked = this.#needles.replaceIn(bytes)
    return masked === bytes ? text : masked.toString('latin1')
  }

  /** For one body; a masked body may have another length, so its Content-Length does not hold. */
  body(): BodyMasker {
    return new StreamingReplacer(this.#needles)
  }
}

/**
 * Keeps the Masker of a value as long as the value itself, so that a busy secret is prepared once and not per exchange.
 * A new version is another SecretValue, so no stale one can be found.
 */
export class MaskerCache {
  readonly #single = new WeakMap<SecretValue, { readonly placeholder: string; readonly masker: Masker }>()

  /** The Masker of these releases. */
  of(releases: readonly Release[]): Masker {
    const [release] = releases
    if (release === undefined || releases.length > 1) return new Masker(releases)
    const { placeholder } = release.secret
    const kept = this.#single.get(release.value)
    if (kept !== undefined && kept.placeholder === placeholder) return kept.masker
    const masker = new Masker(releases)
    this.#single.set(release.value, { placeholder, masker })
    return masker
  }
}

function needlesFor(releases: Iterable<Release>): readonly Needle[] {
  const needles: Needle[] = []
  for (const { secret, value } of releases) {
    if (value.byteLength < SHORTEST_MASKED) continue
    const replacement = Buffer.from(secret.placeholder, 'latin1')
    for (const find of encodedForms(value.reveal())) needles.push({ find, replacement })
  }
  return needles
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
