/** One HTTP/1.1 connection to an upstream, carried by undici's `dispatch` with raw fields. It never asks for trailers: undici sends none. */
import { Client, type Dispatcher } from 'undici'
import { formatAuthority } from '../core/host.ts'
import type { ConnectionEvents, EngineOf, ForwardLimits, H1Connection } from './forward.ts'
import { keepAliveOf, requireKnownFraming, responseFields } from './headers.ts'
import type { Destination, OutgoingRequest, ResponseSink, UpstreamPeer } from './message.ts'
import type { UpstreamConnection } from './upstream.ts'
import { requireFewInformational, upstreamFailed, upstreamTimedOut } from './upstream-failure.ts'

export const undiciClient: EngineOf = (opened, destination, limits, events) =>
  new UndiciConnection(opened, destination, limits, events)

class UndiciConnection implements H1Connection {
  readonly peer: UpstreamPeer
  keepAliveMs: number | null = null
  readonly #client: Client
  readonly #socket: UpstreamConnection['socket']
  readonly #onFree: () => void

  constructor(
    { socket, peer }: UpstreamConnection,
    { scheme, host, port }: Destination,
    limits: ForwardLimits,
    { onFree, onClose }: ConnectionEvents,
  ) {
    this.peer = peer
    this.#socket = socket
    this.#onFree = onFree
    this.#client = new Client(`${scheme}://${formatAuthority(host, port)}`, {
      pipelining: 1,
      allowH2: false,
      strictContentLength: true,
      headersTimeout: limits.headersTimeoutMs,
      bodyTimeout: limits.idleTimeoutMs,
      maxHeaderSize: limits.headerBytes,
      // Never at once: undici is not ready for a connection before it has asked.
      connect: (_options, callback) => queueMicrotask(() => callback(null, socket)),
    })
    socket.on('error', () => undefined)
    socket.once('close', () => {
      this.#client.close().catch(() => undefined)
      onClose()
    })
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  async destroy(): Promise<void> {
    await this.#client.destroy()
    if (this.#socket.closed) return
    const closed = new Promise<void>((resolve) => this.#socket.once('close', resolve))
    this.#socket.destroy()
    await closed
  }

  /** undici has timers of its own. */
  expire(): void {}

  send(request: OutgoingRequest, sink: ResponseSink): Promise<void> {
    return new Promise((resolve, reject) => {
      const finished = (error: unknown): void => {
        if (error === null) {
          if (this.isOpen) this.#onFree()
          resolve()
        } else reject(failure(error))
      }
      const { method, path, headers, body } = request
      const answered = (fields: readonly string[]) => {
        this.keepAliveMs = keepAliveOf(fields)
      }
      const handler = new ResponseHandler(sink, answered, finished)
      this.#client.dispatch({ method, path, headers: headers as string[], body }, handler)
    })
  }
}

function rawFields(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((each) => (typeof each === 'string' ? each : each.toString('latin1')))
}

/** undici reads the reason as UTF-8; its bytes go on as they came, or, where they were not UTF-8, no reason at all. */
function reasonBytes(reason: string): string {
  if (/^[\x20-\x7e]*$/.test(reason)) return reason
  return reason.includes('\ufffd') ? '' : Buffer.from(reason, 'utf8').toString('latin1')
}

class ResponseHandler implements Dispatcher.DispatchHandler {
  readonly #sink: ResponseSink
  readonly #answered: (fields: readonly string[]) => void
  readonly #finished: (error: unknown) => void
  #informational = 0

  constructor(sink: ResponseSink, answered: (fields: readonly string[]) => void, finished: (error: unknown) => void) {
    this.#sink = sink
    this.#answered = answered
    this.#finished = finished
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const abort = () => controller.abort(new Error('the sandbox went away'))
    if (this.#sink.gone) abort()
    else this.#sink.onGone(abort)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _fields: unknown, reason = ''): void {
    const raw = rawFields(controller.rawHeaders)
    requireKnownFraming(raw)
    const fields = responseFields(raw)
    if (status >= 200) {
      this.#answered(raw)
      this.#sink.head(status, reasonBytes(reason), fields)
      return
    }
    requireFewInformational(++this.#informational)
    this.#sink.informational(status, fields)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#sink.write(chunk)) return
    controller.pause()
    this.#sink.onDrain(() => controller.resume())
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#sink.end(rawFields(controller.rawTrailers))
    this.#finished(null)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finished(error)
  }
}

function failure(error: unknown) {
  const code = (error as { code?: string }).code
  const late = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT'
  return late ? upstreamTimedOut(error) : upstreamFailed(error)
}
