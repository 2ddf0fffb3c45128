/**
 * A request's body on its way upstream: bytes pass untouched, with back-pressure, while they are counted and, unless
 * somebody else looks at them, scanned for placeholders, also encoded ones where the media type names text. A placeholder
 * is withheld (left as it is) and reported, or refuses the request, as the settings say; it is never swapped here.
 */
import { Readable } from 'node:stream'
import { mediaOf } from '../core/body-media.ts'
import { EncodedPlaceholderScanner } from '../core/encoded-scanner.ts'
import { CoatcheckError } from '../core/errors.ts'
import { TokenScanner } from '../core/placeholder.ts'

/** What `secrets.inBody` says about placeholders that may not be in a body. */
export type InBody = 'refuse' | 'withhold' | 'report'

/** A chunk is at most what the socket reads at once, 64 KiB. */
const BUFFERED_CHUNKS = 2

export interface BodyScan {
  readonly inBody: InBody
  readonly contentType: string | undefined
}

export class RequestBody extends Readable {
  readonly #source: Readable
  readonly #scanner: TokenScanner | null
  readonly #encoded: EncodedPlaceholderScanner | null
  readonly #refuses: boolean
  #bytes = 0

  /** @param scan null: bytes are only counted. */
  constructor(source: Readable, scan: BodyScan | null) {
    // Object mode hides the length of what is buffered: undici would frame a chunked body that is complete by its length.
    super({ objectMode: true, highWaterMark: BUFFERED_CHUNKS })
    this.#source = source
    this.#scanner = scan === null ? null : new TokenScanner()
    this.#encoded =
      scan === null || mediaOf(scan.contentType).kind === 'unknown' ? null : new EncodedPlaceholderScanner()
    this.#refuses = scan?.inBody === 'refuse'
    // Whoever sends it finds it destroyed; until then an error that nobody listens for would end the process.
    this.on('error', () => undefined)
    source.on('data', this.#onData)
    source.on('end', this.#onEnd)
    source.on('error', this.#onCut)
    source.on('close', this.#onClose)
    // What is gone by now says nothing any more.
    if (source.destroyed) this.#onClose()
  }

  /** Bytes received from the sandbox so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Placeholders seen so far. */
  get placeholders(): number {
    return (this.#scanner?.count ?? 0) + (this.#encoded?.count ?? 0)
  }

  override _read(): void {
    this.#source.resume()
  }

  /** An answer that comes before the body is complete leaves the rest to be read away, so that the sandbox gets to read it. */
  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#source.off('data', this.#onData)
    this.#source.off('end', this.#onEnd)
    this.#source.off('close', this.#onClose)
    this.#source.resume()
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    this.#scanner?.push(chunk)
    this.#encoded?.push(chunk)
    if (this.#refuses && this.placeholders > 0) {
      this.destroy(
        new CoatcheckError(
          'placement_not_allowed',
          'The request body holds a placeholder, and this workspace refuses that.',
          'Remove the placeholder from the body, or set secrets.inBody to report.',
        ),
      )
      return
    }
    if (!this.push(chunk)) this.#source.pause()
  }

  readonly #onEnd = (): void => {
    this.push(null)
  }

  readonly #onCut = (): void => {
    if (!this.destroyed) this.destroy(new Error('the sandbox cut its request body'))
  }

  readonly #onClose = (): void => {
    if (!this.#source.readableEnded) this.#onCut()
  }
}
