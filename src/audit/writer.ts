/**
 * The writer thread: the only place that writes audit events, so that no fsync ever stops an exchange on the main
 * thread. One request at a time, one reply to each, in order. After a reply that says `lost` the thread has ended.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { ChainWriterOptions } from './chain-writer.ts'
import { ChainWriteError, ChainWriter } from './chain-writer.ts'

/** `events`: JSON objects, each ended by a newline. `last`: reply, then end. */
export interface WriterRequest {
  readonly events: string
  readonly time: string
  readonly checkpoint: boolean
  readonly last: boolean
}

export type WriterReply =
  | { readonly kind: 'ready' }
  /** `lines`: what became durable, as JSON lines for shipping, or empty when no sink wants them. */
  | {
      readonly kind: 'written'
      readonly lines: string
      readonly checkpointed: boolean
      readonly checkpointFailure: string | null
    }
  | { readonly kind: 'refused'; readonly detail: string; readonly lost: boolean }

export interface WriterThreadData extends ChainWriterOptions {
  /** Whether replies carry the lines. */
  readonly ship: boolean
}

function serve(port: NonNullable<typeof parentPort>, data: WriterThreadData): void {
  const chain = new ChainWriter(data)
  const reply = (message: WriterReply): void => port.postMessage(message)
  port.on('message', (request: WriterRequest) => {
    let ended = request.last
    try {
      reply(write(chain, request, data.ship))
    } catch (thrown) {
      if (!(thrown instanceof ChainWriteError)) throw thrown
      ended ||= thrown.lost
      reply({ kind: 'refused', detail: thrown.message, lost: thrown.lost })
    }
    if (!ended) return
    port.close()
    chain.close()
  })
  reply({ kind: 'ready' })
}

function write(chain: ChainWriter, request: WriterRequest, ship: boolean): WriterReply {
  const nothing = request.last && !request.checkpoint
  if (nothing) return { kind: 'written', lines: '', checkpointed: false, checkpointFailure: null }
  const events = request.events === '' ? [] : request.events.slice(0, -1).split('\n')
  const { bodies, checkpoint, checkpointFailure } = chain.append(events, request.time, request.checkpoint)
  const lines = ship ? [...bodies, ...(checkpoint === null ? [] : [checkpoint]), ''].join('\n') : ''
  return { kind: 'written', lines, checkpointed: checkpoint !== null, checkpointFailure }
}

if (parentPort !== null) serve(parentPort, workerData as WriterThreadData)
