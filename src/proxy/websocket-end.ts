/**
 * The sandbox's end of an inspected WebSocket, as a stream that can be joined to the upstream's like a plain socket: what
 * is read from it is fit to be sent upstream, and what is written to it is masked before the sandbox gets it.
 *
 * What may not pass ends the connection: each side gets a close frame that says so, and `failure` says why.
 */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { FrameError } from './websocket-frames.ts'
import type { Inspection } from './websocket-release.ts'

/** How long a sandbox has to close its side once it was told to. */
const LINGER_MS = 1_000

/** RFC 6455 7.4.1 and the registry that it set up. */
const GOING_AWAY = 1001
const PROTOCOL_ERROR = 1002
const POLICY_VIOLATION = 1008
const INTERNAL_ERROR = 1011
const BAD_GATEWAY = 1014

export class InspectedEnd extends Duplex {
  readonly #socket: Socket
  readonly #inspection: Inspection
  readonly #head: Buffer
  /** The head of the 101 comes first. */
  #switched = false
  #reading = false
  #wake: (() => void) | null = null
  #failure: CoatcheckError | null = null

  /** @param head bytes that came after the handshake's head. Nothing is read from the socket before this is read from. */
  constructor(socket: Socket, head: Buffer, inspection: Inspection) {
    super()
    this.#socket = socket
    this.#head = head
    this.#inspection = inspection
    socket.once('close', () => this.destroy())
  }

  /** Why the connection was ended here; null when it was not. */
  get failure(): CoatcheckError | null {
    return this.#failure
  }

  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms)
    return this
  }

  setNoDelay(on: boolean): this {
    this.#socket.setNoDelay(on)
    return this
  }

  setKeepAlive(on: boolean, initialDelayMs: number): this {
    this.#socket.setKeepAlive(on, initialDelayMs)
    return this
  }

  override _read(): void {
    this.#wake?.()
    if (this.#reading) return
    this.#reading = true
    void this.#pump()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#failure !== null || this.#socket.destroyed) return done()
    let flowing = true
    if (!this.#switched) {
      this.#switched = true
      flowing = this.#socket.write(chunk)
    } else {
      try {
        flowing = this.#toSandbox(chunk)
      } catch (error) {
        this.#fail(error, 'upstream_failed')
      }
    }
    if (flowing || this.#failure !== null) done()
    else this.#socket.once('drain', done)
  }

  override _final(done: () => void): void {
    if (this.#failure === null) this.#socket.end()
    done()
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    this.#wake?.()
    done(null)
  }

  #toSandbox(chunk: Buffer): boolean {
    const inspected = this.#inspection.fromUpstream
    if (inspected === null) return this.#socket.write(chunk)
    let flowing = true
    for (const piece of inspected.reader.read(chunk)) {
      const bytes = inspected.messages.masked(piece)
      if (bytes.length > 0) flowing = this.#socket.write(bytes)
    }
    return flowing
  }

  async #pump(): Promise<void> {
    try {
      await this.#toUpstream(this.#head)
      for await (const chunk of this.#socket.iterator({ destroyOnReturn: false })) {
        await this.#toUpstream(chunk as Buffer)
      }
      this.push(null)
    } catch (error) {
      this.#fail(error, 'bad_request')
    }
  }

  async #toUpstream(chunk: Buffer): Promise<void> {
    if (this.#failure !== null || chunk.length === 0) return
    const inspected = this.#inspection.fromSandbox
    if (inspected === null) {
      await this.#pushed(chunk)
      return
    }
    for (const piece of inspected.reader.read(chunk)) await this.#pushed(await inspected.messages.rewritten(piece))
  }

  /** Resolves when there is room for more. */
  async #pushed(bytes: Buffer): Promise<void> {
    if (bytes.length === 0 || this.#failure !== null || this.push(bytes) || this.destroyed) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = null
  }

  /** @param broken what a mistake in the frames is: who sent them decides. */
  #fail(thrown: unknown, broken: 'bad_request' | 'upstream_failed'): void {
    this.breakOff(thrown instanceof FrameError ? notFrames(thrown, broken) : asCoatcheckError(thrown))
  }

  /** Ends the connection for this reason. */
  breakOff(error: CoatcheckError): void {
    if (this.#failure !== null || this.destroyed || this.#socket.destroyed) return
    this.#failure = error
    const { fromSandbox, fromUpstream } = this.#inspection
    const [sandbox, upstream] = closeCodes(error)
    // Where bytes pass as they are, it is not known whether a frame would stand within another.
    if (fromSandbox !== null) this.push(fromSandbox.writer.close(upstream, ''))
    this.push(null)
    if (fromUpstream !== null) this.#socket.write(fromUpstream.writer.close(sandbox, error.code))
    this.#socket.end()
    this.#socket.resume()
    const linger = setTimeout(() => this.#socket.destroy(), LINGER_MS).unref()
    this.#socket.once('close', () => clearTimeout(linger))
  }
}

function notFrames(cause: FrameError, code: 'bad_request' | 'upstream_failed'): CoatcheckError {
  const who = code === 'bad_request' ? 'The sandbox' : 'The upstream'
  return new CoatcheckError(
    code,
    `${who} broke the WebSocket protocol: ${cause.message}.`,
    'Send frames as RFC 6455 says, without extensions that were not agreed on.',
    { cause },
  )
}

/** For the sandbox, for the upstream. */
function closeCodes({ code }: CoatcheckError): readonly [number, number] {
  switch (code) {
    case 'bad_request':
      return [PROTOCOL_ERROR, GOING_AWAY]
    case 'upstream_failed':
      return [BAD_GATEWAY, PROTOCOL_ERROR]
    case 'audit_unavailable':
    case 'store_unavailable':
    case 'internal':
      return [INTERNAL_ERROR, GOING_AWAY]
    default:
      return [POLICY_VIOLATION, GOING_AWAY]
  }
}
