/**
 * What was released on one exchange so far, and therefore must not come back: it grows while bodies and messages stream,
 * each value before it is written anywhere, and counts for every byte of the answer that comes after that.
 */
import type { BodyMasker, Masker, MaskerCache } from './masking.ts'
import { goesOnInPrefix, type Lengths, MessageFrames } from './message-frames.ts'
import type { StreamingReplacer } from './streaming-replace.ts'
import type { Release } from './substitution.ts'
import type { SwappedText } from './swapped-text.ts'

const EMPTY = Buffer.alloc(0)

export class ReleasedValues {
  readonly #maskers: MaskerCache
  readonly #releases: Release[]
  readonly #swapped: readonly SwappedText[]
  #masker: Masker | null

  constructor(maskers: MaskerCache, releases: readonly Release[], swapped: readonly SwappedText[] = []) {
    this.#maskers = maskers
    this.#releases = [...releases]
    this.#swapped = swapped
    this.#masker = releases.length === 0 ? null : maskers.of(this.#releases, swapped)
  }

  /** Null while nothing was released. */
  get masker(): Masker | null {
    return this.#masker
  }

  /** Before the value is written anywhere. */
  add(release: Release): void {
    if (this.#releases.some((each) => each.value === release.value && each.secret.id === release.secret.id)) return
    this.#releases.push(release)
    this.#masker = this.#maskers.of(this.#releases, this.#swapped)
  }

  maskHeaders(raw: readonly string[]): readonly string[] {
    return this.#masker?.maskHeaders(raw) ?? raw
  }

  maskText(text: string): string {
    return this.#masker?.maskText(text) ?? text
  }

  /** For one body or message. Throws `unmaskable_response` where its messages are not what its type says. */
  body(lengths: Lengths = 'free'): BodyMasker {
    return new ReleasedBody(this, lengths)
  }
}

class ReleasedBody implements BodyMasker {
  readonly #released: ReleasedValues
  readonly #lengths: Lengths
  readonly #frames: MessageFrames | null
  #masker: Masker | null = null
  #replacer: StreamingReplacer | null = null

  constructor(released: ReleasedValues, lengths: Lengths) {
    this.#released = released
    this.#lengths = lengths
    this.#frames = lengths === 'messages' ? new MessageFrames() : null
  }

  push(chunk: Buffer): Buffer {
    this.#frames?.read(chunk)
    const replacer = this.#current()
    if (replacer === null) return chunk
    const clean = replacer.push(chunk)
    if (this.#frames?.between !== true) return clean
    // A peer that waits for the whole message gets it: what comes next is a prefix, which no text goes on in.
    const rest = replacer.before(goesOnInPrefix)
    return rest.length === 0 ? clean : Buffer.concat([clean, rest])
  }

  finish(): Buffer {
    return this.#current()?.finish() ?? EMPTY
  }

  #current(): StreamingReplacer | null {
    const { masker } = this.#released
    if (masker === this.#masker || masker === null) return this.#replacer
    this.#masker = masker
    if (this.#replacer === null) this.#replacer = masker.body(this.#lengths !== 'free')
    else this.#replacer.lookFor(masker.needles)
    return this.#replacer
  }
}
