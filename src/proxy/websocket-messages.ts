/**
 * The messages of one inspected WebSocket. From the sandbox: placeholders in text messages are swapped, each decided on
 * and recorded before its value is written. From the upstream: every value that was released on this exchange so far is
 * turned back into its placeholder, in text and binary messages and in what control frames say.
 *
 * Both work on a message as one stream of bytes, wherever it is cut into frames, and keep the frames; only those too large
 * to be handed out whole go on as several.
 */
import { mediaOfMessage, tellsMedia } from '../core/body-media.ts'
import { BodySubstituter, type DecideInBody, decidedBytes } from '../core/body-substitution.ts'
import type { BodyMasker, Masker, MaskerCache } from '../core/masking.ts'
import type { OccurrenceBudget } from '../core/occurrence-budget.ts'
import type { Release } from '../core/substitution.ts'
import { CLOSE, CONTROL_MAX, type FrameWriter, type Opcode, type Piece, TEXT } from './websocket-frames.ts'

const NOTHING = Buffer.alloc(0)

/** What the upstream must not show: grows while the connection is open. */
export class ReleasedValues {
  readonly #maskers: MaskerCache
  readonly #releases: Release[]
  /** Null while nothing was released. */
  masker: Masker | null

  constructor(maskers: MaskerCache, releases: readonly Release[]) {
    this.#maskers = maskers
    this.#releases = [...releases]
    this.masker = releases.length === 0 ? null : maskers.of(this.#releases)
  }

  /** Before the value is written anywhere. */
  add(release: Release): void {
    if (this.#releases.some((each) => each.value === release.value && each.secret.id === release.secret.id)) return
    this.#releases.push(release)
    this.masker = this.#maskers.of(this.#releases)
  }
}

export interface SandboxMessagesOptions {
  readonly decide: DecideInBody
  readonly budget: OccurrenceBudget
  readonly longestDress: number
  /** Told how many placeholders of a message were left, before it goes on; may throw. */
  readonly withheld: (count: number) => void
}

/** Towards the upstream: pieces in, frames out. */
export class SandboxMessages {
  readonly #writer: FrameWriter
  readonly #options: SandboxMessagesOptions
  #text: TextMessage | null = null

  constructor(writer: FrameWriter, options: SandboxMessagesOptions) {
    this.#writer = writer
    this.#options = options
  }

  /** Empty when all of the piece is held back. Throws what the decision throws, and `value_not_placeable`. */
  async rewritten({ opcode, payload, last }: Piece): Promise<Buffer> {
    if (opcode >= CLOSE) return this.#writer.control(opcode, payload)
    if (opcode !== TEXT) return this.#writer.message(opcode, payload, last)
    const text = (this.#text ??= new TextMessage(this.#options))
    if (last) this.#text = null
    return this.#writer.message(opcode, await text.rewritten(payload, last), last)
  }
}

/** One text message. */
class TextMessage {
  readonly #options: SandboxMessagesOptions
  /** While it is not clear yet how a value would have to be written in it. */
  #beginning: Buffer = NOTHING
  #substituter: BodySubstituter | null = null
  #reported = 0

  constructor(options: SandboxMessagesOptions) {
    this.#options = options
  }

  async rewritten(payload: Buffer, last: boolean): Promise<Buffer> {
    const bytes = this.#beginning.length === 0 ? payload : Buffer.concat([this.#beginning, payload])
    if (this.#substituter === null && !last && !tellsMedia(bytes)) {
      this.#beginning = Buffer.from(bytes)
      return NOTHING
    }
    this.#beginning = NOTHING
    const substituter = (this.#substituter ??= this.#begun(bytes))
    substituter.push(bytes)
    if (last) substituter.end()
    const parts = await Array.fromAsync(decidedBytes(substituter, this.#options.decide))
    const withheld = substituter.withheld - this.#reported
    this.#reported = substituter.withheld
    if (withheld > 0) this.#options.withheld(withheld)
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  }

  #begun(bytes: Buffer): BodySubstituter {
    const { budget, longestDress } = this.#options
    return new BodySubstituter({ media: mediaOfMessage(bytes), budget, longestDress, surface: 'websocket' })
  }
}

/** Towards the sandbox: pieces in, frames out. */
export class UpstreamMessages {
  readonly #writer: FrameWriter
  readonly #released: ReleasedValues
  #masker: Masker | null = null
  /** Of the message at hand. */
  #body: BodyMasker | null = null

  constructor(writer: FrameWriter, released: ReleasedValues) {
    this.#writer = writer
    this.#released = released
  }

  /** Empty when all of the piece is held back. */
  masked({ opcode, payload, last }: Piece): Buffer {
    if (opcode >= CLOSE) return this.#writer.control(opcode, this.#controlPayload(opcode, payload))
    const body = this.#bodyMasker()
    if (body === null) return this.#writer.message(opcode, payload, last)
    const carried = body.carried.length === 0 ? payload : Buffer.concat([body.carried, payload])
    const clean = body.masker.push(carried)
    if (!last) return this.#writer.message(opcode, clean, false)
    this.#body = null
    return this.#writer.message(opcode, Buffer.concat([clean, body.masker.finish()]), true)
  }

  /** A value that is released while a message comes in counts for the rest of it: what was held back is searched anew. */
  #bodyMasker(): { readonly masker: BodyMasker; readonly carried: Buffer } | null {
    const { masker } = this.#released
    if (masker === null) return null
    const current = this.#body !== null && this.#masker === masker
    const carried = current ? NOTHING : (this.#body?.finish() ?? NOTHING)
    const body = current ? (this.#body as BodyMasker) : masker.body()
    this.#masker = masker
    this.#body = body
    return { masker: body, carried }
  }

  /** What no longer fits loses its text: the reason of a close frame, the data of a ping. */
  #controlPayload(opcode: Opcode, payload: Buffer): Buffer {
    const masked = this.#released.masker?.maskText(payload.toString('latin1'))
    if (masked === undefined) return payload
    return masked.length <= CONTROL_MAX ? Buffer.from(masked, 'latin1') : payload.subarray(0, opcode === CLOSE ? 2 : 0)
  }
}
