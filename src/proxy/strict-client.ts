/**
 * One HTTP/1.1 connection to an upstream: writes the request as it was decided, name by name and byte by byte, reads the
 * answer strictly, and is never used again after anything that was not expected.
 */
import type { Readable } from 'node:stream'
import type { ConnectionEvents, EngineOf, ForwardLimits, H1Connection } from './forward.ts'
import { HTTP_TOKEN, keepAliveOf, lengthOf, NOT_IN_VALUE, responseFields } from './headers.ts'
import type { OutgoingRequest, OutgoingTrailers, ResponseSink, UpstreamPeer } from './message.ts'
import { ResponseError, type ResponseEvents, ResponseReader } from './strict-response.ts'
import type { UpstreamConnection } from './upstream.ts'
import { requireFewInformational, upstreamFailed, upstreamTimedOut } from './upstream-failure.ts'

const TARGET = /^[\x21-\x7e\x80-\xff]+$/

interface Running {
  readonly sink: ResponseSink
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  /** Null once all of it was sent. */
  body: Readable | null
  /** Null when none follow the body. */
  readonly trailers: OutgoingTrailers | null
  informational: number
  answering: boolean
}

export const strictClient: EngineOf = (opened, _destination, limits, events) =>
  new StrictConnection(opened, limits, events)

class StrictConnection implements H1Connection, ResponseEvents {
  readonly peer: UpstreamPeer
  keepAliveMs: number | null = null
  readonly #socket: UpstreamConnection['socket']
  readonly #limits: ForwardLimits
  readonly #reader: ResponseReader
  readonly #onFree: () => void
  #running: Running | null = null
  /** Milliseconds of `performance.now()` when bytes last went either way. */
  #activeAt = 0

  constructor({ socket, peer }: UpstreamConnection, limits: ForwardLimits, { onFree, onClose }: ConnectionEvents) {
    this.peer = peer
    this.#socket = socket
    this.#limits = limits
    this.#onFree = onFree
    this.#reader = new ResponseReader(limits.headerBytes, this)
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('error', (error) => this.#fail(error))
    socket.once('close', () => {
      this.#fail(new Error('the upstream closed the connection'))
      onClose()
    })
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  destroy(): Promise<void> {
    if (this.#socket.closed) return Promise.resolve()
    const closed = new Promise<void>((resolve) => this.#socket.once('close', resolve))
    this.#socket.destroy()
    return closed
  }

  /** A silence that is the sandbox's, because it sends or takes slowly, is bounded elsewhere. */
  expire(now: number): void {
    const running = this.#running
    if (running === null || this.#socket.isPaused()) return
    if (running.body !== null && !running.answering && !this.#socket.writableNeedDrain) return
    const { headersTimeoutMs, idleTimeoutMs } = this.#limits
    if (now - this.#activeAt >= (running.answering ? idleTimeoutMs : headersTimeoutMs)) this.#fail(upstreamTimedOut())
  }

  send(request: OutgoingRequest, sink: ResponseSink): Promise<void> {
    return new Promise((resolve, reject) => {
      const { body, trailers } = request
      this.#running = { sink, resolve, reject, body, trailers, informational: 0, answering: false }
      const gone = () => {
        // After its answer is complete the connection may be another exchange's.
        if (this.#running?.sink === sink) this.#fail(new Error('the sandbox went away'))
      }
      if (sink.gone) {
        gone()
        return
      }
      sink.onGone(gone)
      try {
        this.#write(request)
      } catch (error) {
        this.#fail(error)
      }
    })
  }

  informational(status: number, fields: string[]): void {
    const running = this.#running as Running
    running.informational += 1
    requireFewInformational(running.informational)
    // Nobody waits for a 100: the sandbox has had its own.
    if (status !== 100) running.sink.informational(status, responseFields(fields))
  }

  head(status: number, reason: string, fields: string[]): void {
    const running = this.#running as Running
    running.answering = true
    this.keepAliveMs = keepAliveOf(fields)
    running.sink.head(status, reason, responseFields(fields))
  }

  data(chunk: Buffer): void {
    const { sink } = this.#running as Running
    if (sink.write(chunk)) return
    this.#socket.pause()
    sink.onDrain(() => {
      this.#activeAt = performance.now()
      this.#socket.resume()
    })
  }

  end(trailers: string[], reusable: boolean): void {
    const running = this.#running as Running
    running.sink.end(trailers)
    this.#running = null
    // An answer before the whole request was sent: the rest of it would be read as the next request.
    if (reusable && running.body === null) {
      // Nobody drains a response that has ended.
      if (this.#socket.isPaused()) this.#socket.resume()
      this.#onFree()
    } else {
      running.body?.destroy()
      this.#socket.destroy()
    }
    running.resolve()
  }

  #write(request: OutgoingRequest): void {
    const { body, method } = request
    const length = body === null ? 0 : lengthOf(request.headers)
    const head = headOf(request, length === null)
    this.#reader.begin(method)
    this.#activeAt = performance.now()
    if (body === null) {
      this.#socket.write(head, 'latin1')
      return
    }
    // The head and the first bytes of the body leave in one record, where they are there.
    this.#socket.cork()
    this.#socket.write(head, 'latin1')
    this.#sendBody(body, length)
    process.nextTick(() => this.#socket.uncork())
  }

  /** @param length what the request says its body has; null = chunked. */
  #sendBody(body: Readable, length: number | null): void {
    const socket = this.#socket
    let left = length ?? 0
    const resume = () => {
      this.#activeAt = performance.now()
      body.resume()
    }
    if (body.destroyed) throw body.errored ?? new Error('the request body is gone')
    body.on('data', (chunk: Buffer) => {
      if (chunk.length === 0 || socket.destroyed) return
      this.#activeAt = performance.now()
      left -= chunk.length
      if (length !== null && left < 0) this.#fail(new Error('the body is longer than it says'))
      else if (!writeChunk(socket, chunk, length === null)) {
        body.pause()
        socket.once('drain', resume)
      }
    })
    body.once('error', (error) => this.#fail(error))
    body.once('end', () => this.#endBody(body, length === null, left))
  }

  /** @param missing bytes that the request still owes by its Content-Length. */
  #endBody(body: Readable, chunked: boolean, missing: number): void {
    if (this.#running?.body !== body) return
    if (!chunked && missing > 0) {
      this.#fail(new Error('the body is shorter than it says'))
      return
    }
    // RFC 9112 7.1.2: only what is chunked can have trailers.
    const trailers = chunked ? this.#running.trailers : null
    if (trailers === null) this.#finish(body, chunked ? '0\r\n\r\n' : '')
    else void this.#endTrailed(body, trailers)
  }

  /** The connection stays this exchange's until they are written, because the body counts as not sent. */
  async #endTrailed(body: Readable, trailers: OutgoingTrailers): Promise<void> {
    try {
      this.#finish(body, `0\r\n${linesOf(await trailers())}\r\n`)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** @param end what completes the framing of the request. */
  #finish(body: Readable, end: string): void {
    // Answered, failed or left in the meantime.
    if (this.#running?.body !== body) return
    if (end !== '') this.#socket.write(end, 'latin1')
    this.#activeAt = performance.now()
    this.#running.body = null
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#activeAt = performance.now()
    try {
      if (this.#running === null) throw new ResponseError('bytes that nobody asked for')
      this.#reader.push(chunk)
    } catch (error) {
      this.#fail(error)
    }
  }

  readonly #onEnd = (): void => {
    try {
      if (this.#running !== null) this.#reader.close()
      this.#socket.destroy()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#socket.destroy()
    const running = this.#running
    this.#running = null
    if (running === null) return
    running.body?.destroy()
    running.reject(upstreamFailed(error))
  }
}

function writeChunk(socket: UpstreamConnection['socket'], chunk: Buffer, chunked: boolean): boolean {
  if (!chunked) return socket.write(chunk)
  socket.cork()
  socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
  socket.write(chunk)
  const fits = socket.write('\r\n', 'latin1')
  socket.uncork()
  return fits
}

/** The request line and fields as they go out. Throws when something in them would break the framing. */
function headOf({ method, path, headers }: OutgoingRequest, chunked: boolean): string {
  if (!HTTP_TOKEN.test(method) || !TARGET.test(path)) throw new ResponseError('the request line cannot be written')
  const head = `${method} ${path} HTTP/1.1\r\n${linesOf(headers)}`
  return chunked ? `${head}Transfer-Encoding: chunked\r\n\r\n` : `${head}\r\n`
}

/** Throws when something in them would break the framing. */
function linesOf(headers: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (!HTTP_TOKEN.test(name) || NOT_IN_VALUE.test(value)) throw new ResponseError('a request field cannot be written')
    lines += `${name}: ${value}\r\n`
  }
  return lines
}
