/** One end of a connection, byte by byte: writes exactly what a test says and reads HTTP/1.1 messages without repairing them. */
import type { Duplex } from 'node:stream'

export interface WireHead {
  /** The request or status line. */
  readonly start: string
  /** Of a response; NaN for a request. */
  readonly status: number
  /** Raw pairs in the order and case in which they came. */
  readonly fields: readonly string[]
}

export interface WireMessage extends WireHead {
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  readonly body: Buffer
  readonly trailers: readonly string[]
}

/** Every value of that (lower-case) field, in order. */
export function valuesOf(fields: readonly string[], name: string): string[] {
  return fields.filter((_value, i) => i % 2 === 1 && (fields[i - 1] as string).toLowerCase() === name)
}

export class Wire {
  readonly socket: Duplex
  /** Resolves once the connection is gone, however it went. */
  readonly closed: Promise<void>
  /** Resolves when the other side sent its last byte in good order; rejects when the connection was cut. */
  #ended = false
  #waiting: Buffer = Buffer.alloc(0)
  #wake: (() => void) | null = null

  /** @param watch gets every byte that arrives. */
  constructor(socket: Duplex, watch: (chunk: Buffer) => void = () => undefined) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      watch(chunk)
      this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk])
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    socket.once('end', () => this.#end())
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#end()
        resolve()
      })
    })
  }

  /** True once no more bytes will come. */
  get ended(): boolean {
    return this.#ended
  }

  /** Bytes that arrived and were not read yet. */
  get unread(): Buffer {
    return this.#waiting
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Everything up to and including the delimiter. */
  async upTo(delimiter: string): Promise<string> {
    for (;;) {
      const at = this.#waiting.indexOf(delimiter, 0, 'latin1')
      if (at >= 0) return this.#shift(at + delimiter.length).toString('latin1')
      await this.#more()
    }
  }

  async take(length: number): Promise<Buffer> {
    while (this.#waiting.length < length) await this.#more()
    return this.#shift(length)
  }

  /** All that comes until the other side is done or gone. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) await this.#more().catch(() => undefined)
    return this.#shift(this.#waiting.length)
  }

  async head(): Promise<WireHead> {
    const [start = '', ...lines] = (await this.upTo('\r\n\r\n')).slice(0, -4).split('\r\n')
    return { start, status: Number(/^HTTP\/1\.1 (\d{3})/.exec(start)?.[1]), fields: lines.flatMap(pair) }
  }

  /** The next request, or the next response; one to a HEAD has no body whatever it says. */
  async message(options: { readonly toHead?: boolean } = {}): Promise<WireMessage> {
    const head = await this.head()
    return { ...head, ...(await this.#body(head, options.toHead ?? false)) }
  }

  /** The data of the next chunk; empty for the last one. */
  async chunk(): Promise<Buffer> {
    const length = Number.parseInt(await this.upTo('\r\n'), 16)
    if (length === 0) return Buffer.alloc(0)
    const data = await this.take(length)
    await this.take(2)
    return data
  }

  async trailers(): Promise<string[]> {
    const fields: string[] = []
    for (;;) {
      const line = (await this.upTo('\r\n')).slice(0, -2)
      if (line === '') return fields
      fields.push(...pair(line))
    }
  }

  async #body(head: WireHead, toHead: boolean): Promise<Pick<WireMessage, 'framing' | 'body' | 'trailers'>> {
    const none = { framing: 'none', body: Buffer.alloc(0), trailers: [] } as const
    if (toHead || head.status < 200 || head.status === 204 || head.status === 304) return none
    if (valuesOf(head.fields, 'transfer-encoding').includes('chunked')) {
      const chunks: Buffer[] = []
      for (let data = await this.chunk(); data.length > 0; data = await this.chunk()) chunks.push(data)
      return { framing: 'chunked', body: Buffer.concat(chunks), trailers: await this.trailers() }
    }
    const [length] = valuesOf(head.fields, 'content-length')
    if (length !== undefined) return { framing: 'length', body: await this.take(Number(length)), trailers: [] }
    return Number.isNaN(head.status) ? none : { framing: 'close', body: await this.rest(), trailers: [] }
  }

  #shift(length: number): Buffer {
    const taken = this.#waiting.subarray(0, length)
    this.#waiting = this.#waiting.subarray(length)
    return taken
  }

  #more(): Promise<void> {
    if (this.#ended) return Promise.reject(new Error(`the connection ended after ${this.#waiting.length} more bytes`))
    return new Promise((resolve, reject) => {
      this.#wake = () => {
        this.#wake = null
        if (this.#ended) reject(new Error(`the connection ended after ${this.#waiting.length} more bytes`))
        else resolve()
      }
    })
  }

  #end(): void {
    this.#ended = true
    this.#wake?.()
  }
}

function pair(line: string): [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}
