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
import type { BodyMasker } from '../core/masking.ts'
import type { OccurrenceBudget } from '../core/occurrence-budget.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import { CLOSE, CONTROL_MAX, type FrameWriter, type Opcode, type Piece, TEXT } from './websocket-frames.ts'

const NOTHING = Buffer.alloc(0)

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
  /** Of the message at hand. */
  #body: BodyMasker | null = null

  constructor(writer: FrameWriter, released: ReleasedValues) {
    this.#writer = writer
    this.#released = released
  }

  /** Empty when all of the piece is held back. */
  masked({ opcode, payload, last }: Piece): Buffer {
    if (opcode >= CLOSE) return this.#writer.control(opcode, this.#controlPayload(opcode, payload))
    const body = (this.#body ??= this.#released.body())
    const clean = body.push(payload)
    if (!last) return this.#writer.message(opcode, clean, false)
    this.#body = null
    const rest = body.finish()
    return this.#writer.message(opcode, rest.length === 0 ? clean : Buffer.concat([clean, rest]), true)
  }

  /** What no longer fits loses its text: the reason of a close frame, the data of a ping. */
  #controlPayload(opcode: Opcode, payload: Buffer): Buffer {
    const { masker } = this.#released
    if (masker === null) return payload
    const masked = masker.maskText(payload.toString('latin1'))
    return masked.length <= CONTROL_MAX ? Buffer.from(masked, 'latin1') : payload.subarray(0, opcode === CLOSE ? 2 : 0)
  }
}
