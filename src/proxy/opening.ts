/**
 * Reads how a connection begins, before it is known what to do with it: no more than is needed, and what was not used
 * is put back, so that whoever serves the connection next sees every byte.
 */
import type { Socket } from 'node:net'
import { CoatcheckError } from '../core/errors.ts'

/** What a reader made of the bytes so far: its answer and how many it used up, or how many it needs in all. */
export type Opening<T> = { readonly value: T; readonly used: number } | { readonly needs: number }

/**
 * Resolves with what `read` answers; rejects with what it throws, or with `bad_request` when the connection ended
 * first. `read` is called again only when as many bytes are there as it asked for, so it is its own limit on size;
 * the caller destroys the socket to limit the time.
 */
export function readOpening<T>(socket: Socket, read: (bytes: Buffer) => Opening<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const chunks: Buffer[] = []
  let length = 0
  let needs = 1
  const look = () => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      chunks.push(chunk)
      length += chunk.length
    }
    if (length < needs) return
    const bytes = Buffer.concat(chunks.splice(0))
    const opening = attempt(() => read(bytes), reject)
    if (opening !== undefined && 'needs' in opening) {
      needs = Math.max(opening.needs, length + 1)
      chunks.push(bytes)
      return
    }
    stop()
    if (opening === undefined) return
    if (opening.used < bytes.length) socket.unshift(bytes.subarray(opening.used))
    resolve(opening.value)
  }
  const end = () => {
    stop()
    reject(new CoatcheckError('bad_request', 'The connection ended too early.', 'Try again.'))
  }
  const stop = () => socket.off('readable', look).off('end', end).off('close', end)
  socket.on('readable', look).on('end', end).on('close', end)
  look()
  return promise
}

function attempt<T>(read: () => T, reject: (error: unknown) => void): T | undefined {
  try {
    return read()
  } catch (error) {
    reject(error)
    return undefined
  }
}
