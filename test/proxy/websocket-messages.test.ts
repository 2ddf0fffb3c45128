/**
 * Messages are rewritten alike however they are cut into frames and bytes: the rows of test/vectors/bodies/messages.json, and
 * as properties that the frames do not matter and that masking what was swapped gives back what was sent.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Masker, MaskerCache } from '../../src/core/masking.ts'
import { OccurrenceBudget } from '../../src/core/occurrence-budget.ts'
import { ReleasedValues } from '../../src/core/released-values.ts'
import type { Release } from '../../src/core/substitution.ts'
import { FrameReader, FrameWriter } from '../../src/proxy/websocket-frames.ts'
import { SandboxMessages, UpstreamMessages } from '../../src/proxy/websocket-messages.ts'
import { type BodyRow, bodyRelease, deciding, filledIn } from '../core/body-rows.ts'
import { vectorRows } from '../core/vector-rows.ts'
import { fragments, readFrames, textOf } from '../support/frames.ts'

const KEY = Buffer.from([9, 99, 199, 249])

interface Rewritten {
  readonly text: string
  readonly withheld: number
}

/** What the upstream gets of these bytes, which come in pieces of `step`. */
async function towardsUpstream(bytes: Buffer, releases: readonly Release[], step: number): Promise<Rewritten> {
  const reader = new FrameReader({ masked: true, wholeBytes: 64 })
  let withheld = 0
  const messages = new SandboxMessages(new FrameWriter(true), {
    decide: deciding(releases),
    budget: new OccurrenceBudget(),
    longestDress: 40,
    withheld: (count) => {
      withheld += count
    },
  })
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += step) {
    for (const piece of reader.read(bytes.subarray(at, at + step))) out.push(await messages.rewritten(piece))
  }
  return { text: textOf(readFrames(Buffer.concat(out))), withheld }
}

function towardsSandbox(bytes: Buffer, releases: readonly Release[], step: number): string {
  const reader = new FrameReader({ masked: false, wholeBytes: 64 })
  const messages = new UpstreamMessages(new FrameWriter(false), new ReleasedValues(new MaskerCache(), releases))
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += step) {
    for (const piece of reader.read(bytes.subarray(at, at + step))) out.push(messages.masked(piece))
  }
  return textOf(readFrames(Buffer.concat(out)))
}

describe('a placeholder in a message that is cut', () => {
  it.each(vectorRows('bodies/messages.json') as readonly BodyRow[])('$why', async (row) => {
    const releases = row.secrets.map(bodyRelease)
    const message = filledIn(row.in ?? '', releases)
    const expected = { text: filledIn(row.out ?? '', releases), withheld: row.withheld }
    const { length } = Buffer.from(message)
    for (let cut = 0; cut <= length; cut++) {
      const bytes = fragments(message, [cut], KEY)
      for (const step of [1, 7, bytes.length]) expect(await towardsUpstream(bytes, releases, step)).toEqual(expected)
    }
    const single = fragments(message, Array<number>(length).fill(1), KEY)
    expect(await towardsUpstream(single, releases, single.length)).toEqual(expected)
  })
})

describe('for any text, frames and cuts', () => {
  const secret = bodyRelease({ name: 'A', placements: ['websocket'], value: 'sk-"live"\\0123456789abcdef' })
  const texts = fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('«A»'), fc.constant('sk-"li')), {
    maxLength: 6,
  })
  const cuts = fc.array(fc.nat({ max: 40 }), { maxLength: 8 })
  const steps = fc.integer({ min: 1, max: 200 })

  it('what the upstream gets does not depend on them', async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.boolean(), cuts, steps, async (parts, json, sizes, step) => {
        const plain = filledIn(parts.join(''), [secret])
        const text = json ? JSON.stringify([plain]) : `: ${plain}`
        const whole = await towardsUpstream(fragments(text, [], KEY), [secret], 1 << 20)
        expect(await towardsUpstream(fragments(text, sizes, KEY), [secret], step)).toEqual(whole)
      }),
    )
  })

  it('what the sandbox gets is the same as of the whole text, and an echo is what it sent', async () => {
    await fc.assert(
      fc.asyncProperty(texts, cuts, steps, async (parts, sizes, step) => {
        const text = `: ${filledIn(parts.join(''), [secret])}`
        const { text: sent } = await towardsUpstream(fragments(text, [], KEY), [secret], 1 << 20)
        const masked = towardsSandbox(fragments(sent, sizes), [secret], step)
        expect(masked).toBe(maskedWhole(sent))
        expect(masked).toBe(text)
      }),
    )
  })

  function maskedWhole(text: string): string {
    const masker = new Masker([secret])
    return Buffer.from(masker.maskText(Buffer.from(text).toString('latin1')), 'latin1').toString('utf8')
  }
})
