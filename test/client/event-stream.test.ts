/** Contract: a stream of events reads alike however its bytes are cut, by the rules of the HTML standard. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { eventsIn, type StreamedEvent } from '../../src/client/event-stream.ts'

interface Vector {
  readonly name: string
  readonly stream: string
  readonly events: readonly StreamedEvent[]
}
const FILE = join(import.meta.dirname, '../vectors/event-stream/streams.json')
const vectors = JSON.parse(readFileSync(FILE, 'utf8')) as readonly Vector[]

async function read(pieces: readonly Uint8Array[]): Promise<readonly StreamedEvent[]> {
  async function* chunks() {
    yield* pieces
  }
  return await Array.fromAsync(eventsIn(chunks()))
}

it.each(vectors)('$name', async ({ stream, events }) => {
  expect(await read([Buffer.from(stream)])).toEqual(events)
  expect(await read(Array.from(Buffer.from(stream), (byte) => Uint8Array.of(byte)))).toEqual(events)
})

it('cut anywhere, it is the same events', async () => {
  const all = Buffer.from(vectors.map(({ stream }) => `${stream}\n\n`).join(''))
  const whole = await read([all])
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: all.length })), async (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), all.length]
      const pieces = places.slice(1).map((end, at) => all.subarray(places[at], end))
      expect(await read(pieces)).toEqual(whole)
    }),
    { numRuns: 50 },
  )
})

it('an event without an end does not grow for ever', async () => {
  const line = Buffer.from(`data: ${'x'.repeat(60_000)}\n`)
  await expect(read(Array.from({ length: 40 }, () => line))).rejects.toThrow('too long')
  const endless = Buffer.from('x'.repeat(60_000))
  await expect(read(Array.from({ length: 40 }, () => endless))).rejects.toThrow('too long')
})
