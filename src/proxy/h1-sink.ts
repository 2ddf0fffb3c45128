/** A response over HTTP/1.1, on Node's ServerResponse: raw fields out, in order and case, with back-pressure. */
import type { ServerResponse } from 'node:http'
import type { ResponseSink } from './message.ts'

/** A whole body up to this goes out in one piece with its head. */
const ONE_PIECE_BYTES = 8 * 1024

export class H1Sink implements ResponseSink {
  readonly #response: ServerResponse
  readonly #keptFor: number
  #bytes = 0
  #gone = false
  #switched = false
  #onGone: (() => void) | null = null
  /** The first bytes of the body, for as long as they may turn out to be all of it. */
  #first: Buffer | null = null
  #flushed = false

  /** @param keptFor seconds that the connection is kept for another request; 0 when it is not. */
  constructor(response: ServerResponse, keptFor: number) {
    this.#response = response
    this.#keptFor = keptFor
    response.sendDate = false
    response.on('close', this.#onClose)
  }

  get headSent(): boolean {
    return this.#response.headersSent || this.#switched
  }

  get status(): number | null {
    if (this.#switched) return 101
    return this.#response.headersSent ? this.#response.statusCode : null
  }

  /** After a switch of protocols, what was written to the socket. */
  get bytes(): number {
    return this.#switched ? (this.#response.req.socket.bytesWritten ?? 0) : this.#bytes
  }

  get gone(): boolean {
    return this.#gone
  }

  onGone(callback: () => void): void {
    this.#onGone = callback
  }

  informational(status: number, headers: readonly string[]): void {
    if (status === 100) this.#response.writeContinue()
    else this.#response.writeInformation(status, [...headers])
  }

  switching(headers: readonly string[]): readonly string[] {
    this.#switched = true
    this.#response.detachSocket(this.#response.req.socket)
    return headers
  }

  head(status: number, reason: string, headers: readonly string[]): void {
    const kept = this.#keptFor > 0 && this.#response.shouldKeepAlive
    const fields = kept ? [...headers, 'Connection', 'keep-alive', 'Keep-Alive', `timeout=${this.#keptFor}`] : headers
    this.#response.writeHead(status, reason, fields as string[])
    // Node keeps the head for the first byte of the body: together when that is here already, at once when it is not.
    process.nextTick(this.#flush)
  }

  write(chunk: Buffer): boolean {
    const isFirst = this.#bytes === 0
    this.#bytes += chunk.length
    if (isFirst && !this.#flushed && chunk.length <= ONE_PIECE_BYTES) {
      this.#first = chunk
      return true
    }
    this.#writeFirst()
    return this.#response.write(chunk)
  }

  onDrain(callback: () => void): void {
    this.#response.once('drain', callback)
  }

  end(trailers: readonly string[]): void {
    if (trailers.length > 0) {
      // One call: each replaces what the one before it set.
      const pairs: [string, string][] = []
      for (let i = 0; i < trailers.length; i += 2) pairs.push([trailers[i] as string, trailers[i + 1] as string])
      this.#response.addTrailers(pairs)
    }
    const whole = this.#first
    this.#first = null
    // As a string, Node writes it together with the head.
    if (whole === null) this.#response.end()
    else this.#response.end(whole.toString('latin1'), 'latin1')
  }

  settled(): null {
    return null
  }

  explain(error: unknown): unknown {
    return error
  }

  abort(): void {
    if (this.#switched) this.#response.req.socket.destroy()
    else this.#response.destroy()
  }

  #writeFirst(): void {
    if (this.#first !== null) this.#response.write(this.#first)
    this.#first = null
  }

  readonly #flush = (): void => {
    this.#flushed = true
    this.#writeFirst()
    if (this.#bytes === 0 && !this.#response.writableEnded) this.#response.flushHeaders()
  }

  readonly #onClose = (): void => {
    if (this.#response.writableFinished || this.#switched) return
    this.#gone = true
    this.#onGone?.()
  }
}
