/**
 * The writer thread: the only place that writes audit events, so that no fsync ever stops an exchange on the main
 * thread. One request at a time, one reply to each, in order. After a reply that says `lost` the thread has ended.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { ChainWriterOptions, Written } from './chain-writer.ts'
import { ChainWriteError, ChainWriter } from './chain-writer.ts'

/** `events`: as `eventText` gives them. `last`: reply, then end. */
export interface WriterRequest {
  readonly events: readonly string[]
  readonly time: string
  readonly checkpoint: boolean
  readonly last: boolean
}

export type WriterReply =
  | { readonly kind: 'ready' }
  | ({ readonly kind: 'written' } & Written)
  | { readonly kind: 'refused'; readonly detail: string; readonly lost: boolean }

function serve(port: NonNullable<typeof parentPort>, data: ChainWriterOptions): void {
  const chain = new ChainWriter(data)
  const reply = (message: WriterReply): void => port.postMessage(message)
  port.on('message', (request: WriterRequest) => {
    let ended = request.last
    try {
      reply({ kind: 'written', ...write(chain, request) })
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

function write(chain: ChainWriter, { events, time, checkpoint, last }: WriterRequest): Written {
  const nothing = last && !checkpoint
  return nothing ? { first: 0, checkpoint: null, checkpointFailure: null } : chain.append(events, time, checkpoint)
}

if (parentPort !== null) serve(parentPort, workerData as ChainWriterOptions)
