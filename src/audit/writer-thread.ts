/**
 * The main thread's end of the writer thread: one request at a time, and a promise that always settles, also when the
 * thread dies.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { ChainWriterOptions } from './chain-writer.ts'
import type { WriterReply, WriterRequest } from './writer.ts'

/** Events are garbage once they are written: with less room a thread under load collects it twenty times a second. */
const YOUNG_MIB = 48

export class WriterThread {
  readonly writer: string
  readonly #worker: Worker
  #waiting: PromiseWithResolvers<WriterReply> | null = null
  #ended = false

  private constructor(data: ChainWriterOptions) {
    this.writer = data.writer
    // The same file unbuilt (.ts) and built (.js).
    const file = new URL(`./writer${extname(new URL(import.meta.url).pathname)}`, import.meta.url)
    // No options of the process: some, such as --input-type, forbid a thread to start.
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MIB }
    this.#worker = new Worker(file, { workerData: data, name: 'audit-writer', execArgv: [], resourceLimits })
    this.#worker.on('message', (reply: WriterReply) => this.#settle(reply))
    this.#worker.on('error', (error) => this.#end(error instanceof Error ? error.message : String(error)))
    this.#worker.on('exit', (code) => this.#end(`the writer thread ended with ${code}`))
  }

  /** Starts a thread with its own connection. Rejects when that cannot write to the database. */
  static async start(data: ChainWriterOptions): Promise<WriterThread> {
    const thread = new WriterThread(data)
    const reply = await thread.#next()
    if (reply.kind === 'refused') throw new Error(reply.detail)
    return thread
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Call again only after the answer to the last one. Never rejects: a dead thread is a refusal that lost the chain. */
  send(request: WriterRequest): Promise<WriterReply> {
    if (this.#ended) return Promise.resolve({ kind: 'refused', detail: 'the writer thread is gone', lost: true })
    const answer = this.#next()
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(request)
    return answer
  }

  /** Ends the thread wherever it stands; what was committed stays. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }

  #next(): Promise<WriterReply> {
    this.#waiting = Promise.withResolvers<WriterReply>()
    return this.#waiting.promise
  }

  #settle(reply: WriterReply): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (reply.kind === 'refused' && reply.lost) this.#ended = true
    waiting?.resolve(reply)
  }

  #end(detail: string): void {
    this.#ended = true
    this.#settle({ kind: 'refused', detail, lost: true })
  }
}
