import { describe, expect, it } from 'vitest'
import { decideInBody } from '../../src/core/body-decision.ts'
import { mediaOfMessage } from '../../src/core/body-media.ts'
import { BodySubstituter, substituteBody, substituteWhole } from '../../src/core/body-substitution.ts'
import type { CoatcheckError } from '../../src/core/errors.ts'
import { OccurrenceBudget } from '../../src/core/occurrence-budget.ts'
import { mintToken } from '../../src/core/placeholder.ts'
import type { Release } from '../../src/core/substitution.ts'
import { type BodyRow, type BodyRun, bodyRelease, deciding, filledIn, pieces, runBody } from './body-rows.ts'
import { vectorRows } from './vector-rows.ts'

const TEXT = { kind: 'text' } as const
const A = bodyRelease({ name: 'A', placements: ['body'], value: 'sk-live-0123456789abcdef', maxOccurrences: 1e6 })
const CONTEXT = { host: 'api.test', scheme: 'https', now: 0 } as const

function bodyOf(row: BodyRow, releases: readonly Release[]): Buffer {
  if (row.inUtf16 !== undefined) return Buffer.from(filledIn(row.inUtf16, releases), 'utf16le')
  return Buffer.from(filledIn(row.in ?? '', releases), 'utf8')
}

function expectedOf(row: BodyRow, releases: readonly Release[]): BodyRun {
  const out = row.out === null ? bodyOf(row, releases) : Buffer.from(filledIn(row.out, releases), 'utf8')
  return { out, swapped: row.swapped, withheld: row.withheld, encoded: row.encoded ?? 0, spots: row.spots ?? [] }
}

async function runRow(row: BodyRow, releases: readonly Release[], sizes: readonly number[]): Promise<BodyRun> {
  const run = await runBody(bodyOf(row, releases), row.contentType, releases, sizes)
  return row.spots === undefined ? { ...run, spots: [] } : run
}

describe.each(['json', 'form', 'multipart', 'xml', 'text'])('a placeholder in a body of %s', (file) => {
  const rows = vectorRows(`bodies/${file}.json`) as readonly BodyRow[]

  it.each(rows.filter((row) => row.refused === undefined))('$why', async (row) => {
    const releases = row.secrets.map(bodyRelease)
    const expected = expectedOf(row, releases)
    const { length } = bodyOf(row, releases)
    const whole = await runRow(row, releases, [])
    expect(whole.out.toString('utf8')).toBe(expected.out.toString('utf8'))
    expect(whole).toEqual(expected)
    for (let cut = 1; cut < length; cut++) expect(await runRow(row, releases, [cut])).toEqual(expected)
    expect(await runRow(row, releases, Array<number>(length).fill(1))).toEqual(expected)
  })

  it.each(rows.filter((row) => row.refused !== undefined))('$why: is refused', async (row) => {
    const releases = row.secrets.map(bodyRelease)
    const byteByByte = Array<number>(bodyOf(row, releases).length).fill(1)
    for (const sizes of [[], byteByByte]) {
      await expect(runRow(row, releases, sizes)).rejects.toMatchObject({
        code: 'value_not_placeable',
        message: `The value of secret "A" cannot be put into the body: ${row.refused}.`,
      })
    }
  })
})

describe('a placeholder in a WebSocket message', () => {
  it.each(vectorRows('bodies/messages.json') as readonly BodyRow[])('$why', async (row) => {
    const releases = row.secrets.map(bodyRelease)
    const message = bodyOf(row, releases)
    const media = mediaOfMessage(message)
    for (const sizes of [[], Array<number>(message.length).fill(1)]) {
      const { out, swapped, withheld } = await runBody(message, media, releases, sizes, 'websocket')
      const expected = { text: filledIn(row.out ?? '', releases), swapped: row.swapped, withheld: row.withheld }
      expect({ text: out.toString(), swapped, withheld }).toEqual(expected)
    }
  })
})

describe('substitution in a body', () => {
  it('hands a chunk on as the very object when nothing is held back', () => {
    const substituter = new BodySubstituter({ media: TEXT })
    const chunk = Buffer.from('nothing to see here.\n')
    substituter.push(chunk)
    const step = substituter.next()
    expect(step?.kind === 'bytes' && step.bytes === chunk).toBe(true)
    expect(substituter.next()).toBeNull()
  })

  it('holds back what may be a dress or the beginning of a token and no byte more', () => {
    const substituter = new BodySubstituter({ media: TEXT, longestDress: 4 })
    const after = (text: string): string => {
      substituter.push(Buffer.from(text))
      const step = substituter.next()
      return step?.kind === 'bytes' ? step.bytes.toString() : ''
    }
    expect([
      after('data: abcdefgh'),
      after('ij'),
      after('!'),
      after('xcoa'),
      after('x'),
      after(' '),
      after('! xcoat_01'),
      after('o'),
    ]).toEqual(['data: abcd', 'ef', 'ghij!', '', '', 'xcoax ', '! ', 'xcoat'])
  })

  it('holds back nothing but the beginning of a token when there are no dresses', () => {
    const substituter = new BodySubstituter({ media: TEXT, longestDress: 0 })
    substituter.push(Buffer.from('data: abc x'))
    expect(substituter.next()).toMatchObject({ bytes: Buffer.from('data: abc ') })
  })

  it('sends nothing that stands after a placeholder before the decision on it', async () => {
    const sent: string[] = []
    const source = pieces(Buffer.from(`before ${A.secret.token} after`), [3])
    const decided = Promise.withResolvers<Release | null>()
    const running = (async () => {
      for await (const bytes of substituteBody(source, new BodySubstituter({ media: TEXT }), () => decided.promise)) {
        sent.push(bytes.toString())
      }
    })()
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    expect(sent.join('')).not.toContain('after')
    decided.resolve(A)
    await running
    expect(sent.join('')).toBe('before sk-live-0123456789abcdef after')
  })

  it('reads no further than it is asked to', async () => {
    let read = 0
    function* source(): Generator<Buffer> {
      for (;;) {
        read++
        yield Buffer.from('0123456789\n')
      }
    }
    const out = substituteBody(source(), new BodySubstituter({ media: TEXT }), deciding([A]))
    await out.next()
    await out.next()
    expect(read).toBe(2)
    await out.return()
  })

  it('ends with what the decision throws', async () => {
    const refuse = () => Promise.reject(new Error('no'))
    const out = substituteBody([Buffer.from(A.secret.token)], new BodySubstituter({ media: TEXT }), refuse)
    await expect(Array.fromAsync(out)).rejects.toThrow('no')
  })

  it('swaps for no release that is not the placeholder’s own, or not allowed there', async () => {
    const other = bodyRelease({ name: 'B', placements: ['body'], value: 'other' })
    const closed = bodyRelease({ name: 'A', placements: ['header:*'], value: 'other' })
    const dressed = bodyRelease({ name: 'A', placements: ['body'], value: 'other', dress: 'sk-' })
    for (const release of [other, closed, dressed]) {
      const substituter = new BodySubstituter({ media: TEXT })
      const body = Buffer.from(A.secret.token)
      expect(await substituteWhole(body, substituter, () => Promise.resolve(release))).toEqual(body)
      expect([substituter.found, substituter.swapped, substituter.withheld]).toEqual([1, 0, 1])
    }
  })

  it('counts what the exchange has put elsewhere', async () => {
    const once = bodyRelease({ name: 'A', placements: ['body', 'query'], value: 'v' })
    const budget = new OccurrenceBudget()
    expect(budget.take(once.secret)).toBe(true)
    expect(budget.take(once.secret)).toBe(false)
    const substituter = new BodySubstituter({ media: TEXT, budget })
    const body = Buffer.from(once.secret.token)
    expect(await substituteWhole(body, substituter, () => Promise.resolve(once))).toEqual(body)
  })

  it('says why one occurrence too many is withheld', async () => {
    const once = bodyRelease({ name: 'A', placements: ['body'], value: 'v' })
    const reasons: string[] = []
    await substituteWhole(
      Buffer.from(`${once.secret.token} ${once.secret.token}`),
      new BodySubstituter({ media: TEXT }),
      (occurrence) => {
        const decision = decideInBody(once.secret, occurrence, CONTEXT)
        if (!decision.allow) reasons.push(`${decision.reason}: ${decision.message}`)
        return Promise.resolve(decision.allow ? once : null)
      },
    )
    expect(reasons).toEqual([
      'placement_not_allowed: Secret "A" may be put outside of headers once in a request; this one has it more often.',
    ])
  })

  it('answers another dress like an unknown placeholder', async () => {
    const dressed = bodyRelease({ name: 'A', placements: ['body'], value: 'v', dress: 'sk-' })
    const answers: unknown[] = []
    await substituteWhole(Buffer.from(`pk-${A.secret.token}`), new BodySubstituter({ media: TEXT }), (occurrence) => {
      answers.push(decideInBody(dressed.secret, occurrence, CONTEXT), decideInBody(undefined, occurrence, CONTEXT))
      return Promise.resolve(null)
    })
    expect(answers[0]).toEqual(answers[1])
    expect(answers[0]).toMatchObject({ allow: false, reason: 'unknown_placeholder' })
  })

  it('stops asking after a thousand placeholders and withholds the rest', async () => {
    const body = Buffer.from(`${mintToken()},`.repeat(1000) + A.secret.token)
    let asked = 0
    const substituter = new BodySubstituter({ media: TEXT })
    const out = await substituteWhole(body, substituter, () => {
      asked++
      return Promise.resolve(null)
    })
    expect([asked, substituter.withheld, out.equals(body)]).toEqual([1000, 1001, true])
  })

  it('does not look at the syntax of a whole body without a placeholder', async () => {
    const body = Buffer.from('['.repeat(100_000))
    const substituter = new BodySubstituter({ media: { kind: 'json' } })
    expect(await substituteWhole(body, substituter, () => Promise.reject(new Error('asked')))).toBe(body)
  })

  it('throws when it is not asked in order', () => {
    const substituter = new BodySubstituter({ media: TEXT })
    expect(() => substituter.withhold()).toThrow(expect.objectContaining({ code: 'internal' }))
    substituter.push(Buffer.from(A.secret.token))
    expect(substituter.next()?.kind).toBe('occurrence')
    expect(() => substituter.next()).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  it('never puts a value into an error', async () => {
    const hard = bodyRelease({
      name: 'A',
      placements: ['body'],
      valueBase64: Buffer.from('ff5151', 'hex').toString('base64'),
    })
    const body = Buffer.from(`["${hard.secret.token}"]`)
    const failed = substituteWhole(body, new BodySubstituter({ media: { kind: 'json' } }), deciding([hard]))
    const error = (await failed.catch((thrown: unknown) => thrown)) as CoatcheckError
    expect(JSON.stringify([error.message, error.hint, error.cause])).not.toMatch(/QQ|\u00ff|\ufffd/)
  })
})
