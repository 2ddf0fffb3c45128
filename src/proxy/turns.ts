/**
 * Requests that were sent back to back on one connection take turns: only safe ones run together (RFC 9112 9.3.2), and
 * what takes the connection over waits until it is alone, so that nothing is ever written into the middle of an answer.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

interface Turn {
  readonly message: IncomingMessage
  /** Null for what takes the connection over: nothing comes after it. */
  readonly response: ServerResponse | null
  readonly start: () => void
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Of one connection, so that it cannot ask for more work than an equal share. */
const MOST_TOGETHER = 8
/** No client that pipelines sends more; the rest would only cost memory. */
const MOST_WAITING = 64

/** The turns of one connection. */
class Line {
  readonly #socket: Socket
  readonly #running: Turn[] = []
  readonly #waiting: Turn[] = []
  #asked = false
  #draining = false
  /** Bytes that had gone either way when last looked at, and since when, in milliseconds of `performance.now()`. */
  #moved = -1
  #since = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  take(turn: Turn): void {
    this.#asked = true
    if (this.#waiting.length === 0 && this.#mayStart(turn)) this.#start(turn)
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(turn)
    else this.#socket.destroy()
  }

  get isBusy(): boolean {
    return this.#running.length > 0
  }

  /** True when bytes written to the socket now would stand in an answer, or be taken for the answer to another request. */
  get inAnswer(): boolean {
    const [turn] = this.#running
    if (turn === undefined) return false
    return this.#running.length > 1 || turn.message.complete || (turn.response?.headersSent ?? true)
  }

  /**
   * True when it is the other side that has to do something: send the rest of a request, take an answer, or ask again.
   * How long the first request may take to begin is the server's own limit.
   */
  get isTheirs(): boolean {
    const [turn] = this.#running
    if (turn === undefined) return this.#asked
    return turn.response !== null && (!turn.message.complete || turn.response.writableLength > 0)
  }

  /** Closes the connection when nothing moved on it for so long and it is the other side's turn. */
  expire(now: number, idleMs: number): void {
    const moved = this.#socket.bytesRead + this.#socket.bytesWritten
    if (moved !== this.#moved) {
      this.#moved = moved
      this.#since = now
    } else if (this.isTheirs && now - this.#since >= idleMs) this.#socket.destroy()
  }

  /** Closes the connection once the requests that run now are answered; those that wait are not begun. */
  drain(): void {
    this.#draining = true
    if (this.#running.length === 0) this.#socket.destroy()
    // Tells the sandbox so, where the head is not sent yet.
    for (const { response } of this.#running) if (response !== null) response.shouldKeepAlive = false
  }

  #mayStart(turn: Turn): boolean {
    if (this.#running.length === 0) return true
    return this.#running.length < MOST_TOGETHER && isSafe(turn) && this.#running.every(isSafe)
  }

  #start(turn: Turn): void {
    this.#running.push(turn)
    turn.response?.on('close', this.#next)
    turn.start()
  }

  /** Answers leave in the order of the requests, so the one that is complete is the first. */
  readonly #next = (): void => {
    this.#running.shift()
    if (this.#draining) {
      if (this.#running.length === 0) this.#socket.end()
      return
    }
    for (let turn = this.#waiting[0]; turn !== undefined && this.#mayStart(turn); turn = this.#waiting[0]) {
      if (this.#socket.destroyed) return
      this.#waiting.shift()
      this.#start(turn)
    }
  }
}

function isSafe({ message, response }: Turn): boolean {
  return response !== null && SAFE.has(message.method ?? '')
}

export class Turns {
  readonly #lines = new Map<Socket, Line>()
  #draining = false

  /** A connection that requests may come on. */
  open(socket: Socket): void {
    const line = new Line(socket)
    this.#lines.set(socket, line)
    socket.once('close', () => this.#lines.delete(socket))
    if (this.#draining) line.drain()
  }

  /** Calls `start` when it is this request's turn on its connection; never when the connection is gone. */
  take(socket: Socket, message: IncomingMessage, response: ServerResponse | null, start: () => void): void {
    this.#lines.get(socket)?.take({ message, response, start })
  }

  /** Closes every connection as soon as nothing is being answered on it, and new ones at once. */
  drain(): void {
    this.#draining = true
    for (const line of this.#lines.values()) line.drain()
  }

  inAnswer(socket: Socket): boolean {
    return this.#lines.get(socket)?.inAnswer ?? false
  }

  /** True while a request of the connection is being answered. */
  isBusy(socket: Socket): boolean {
    return this.#lines.get(socket)?.isBusy ?? false
  }

  /** Closes connections on which a sandbox stalls: one look at all of them costs less than a timer for each request. */
  expire(now: number, idleMs: number): void {
    for (const line of this.#lines.values()) line.expire(now, idleMs)
  }
}
