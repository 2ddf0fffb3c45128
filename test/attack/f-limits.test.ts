/** Attempts to wear masking out: with size, with decoys, with cuts at a bound, with values that contain each other. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Secret } from '../../src/core/secret.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { bearerOf } from '../support/reflector.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { type Answer, send } from '../support/sandbox-client.ts'

let rig: Rig
let placeholder: string
beforeAll(async () => {
  rig = await Rig.start()
  placeholder = rig.secret.placeholder
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

let made = 0
async function secretsOf(...values: string[]): Promise<[RigSandbox, ...Secret[]]> {
  const secrets: Secret[] = []
  for (const value of values) {
    const input = { name: `made-${made++}`, value: SecretValue.fromText(value), hosts: ['api.test'] }
    secrets.push((await rig.app.data.secrets.create(rig.principal, input)).secret)
  }
  const mounts = Object.fromEntries(secrets.map((each, i) => [`KEY_${i}`, each.name]))
  return [await rig.sandboxWith(`box-${made++}`, mounts), ...secrets]
}

const ask = (): Promise<Answer> => send(rig, { headers: ['Authorization', `Bearer ${placeholder}`] })

describe('F07 a value across a bound', () => {
  /** The bodies up to this length are completed before they are passed on. */
  const BOUND = 64 * 1024

  it.each([-60, -45, -44, -43, -20, -1, 0, 1, 20])('F07 that stands %i bytes from it is masked', async (offset) => {
    for (const framed of [true, false]) {
      rig.upstream.answerWith((request, response) => {
        const body = `${'.'.repeat(BOUND + offset)}${bearerOf(request)}${'.'.repeat(100)}`
        response.writeHead(200, framed ? { 'content-length': body.length } : {})
        response.end(body)
      })
      const { body, headers } = await ask()
      expect(body.length).toBe(BOUND + offset + placeholder.length + 100)
      expect(body.indexOf(placeholder)).toBe(BOUND + offset)
      if (headers['content-length'] !== undefined) expect(Number(headers['content-length'])).toBe(body.length)
    }
  })
})

describe('F08 decoys', () => {
  it('F08 a hundred thousand of them do not switch masking off', async () => {
    const decoys = `${placeholder}CNRY-rig-xcoat_CNRY-ri`.repeat(100_000)
    rig.upstream.answerWith((request, response) => response.end(`${decoys}${bearerOf(request)}!`))
    const { body } = await ask()
    expect(body.subarray(-placeholder.length - 1).toString()).toBe(`${placeholder}!`)
    expect(body.length).toBe(decoys.length + placeholder.length + 1)
  })

  it('F08 nor do as many echoes', async () => {
    rig.upstream.answerWith((request, response) => response.end(`${bearerOf(request)} `.repeat(50_000)))
    const { body } = await ask()
    expect(body.length).toBe(50_000 * (placeholder.length + 1))
  })
})

describe('F10 masking as an oracle', () => {
  it('F10 only a request that released is masked: what the sandbox sends itself comes back as it was', async () => {
    const guess = `${rig.value.slice(0, -1)}?`
    rig.upstream.answerWith((request, response) => response.end(request.headers['x-guess']))
    const plain = await rigless(['X-Guess', guess])
    expect(plain).toBe(guess)
    const releasing = await rigless(['X-Guess', guess, 'Authorization', `Bearer ${placeholder}`])
    expect(releasing).toBe(guess)
  })

  it('F10 a part of a value is never masked, so that guesses cannot be refined', async () => {
    rig.upstream.answerWith((request, response) => response.end(request.headers['x-guess']))
    for (const length of [8, 15, 16, 17, rig.value.length - 1]) {
      const guess = rig.value.slice(0, length)
      expect(await rigless(['X-Guess', guess, 'Authorization', `Bearer ${placeholder}`])).toBe(guess)
    }
  })

  /** These guesses are the test's own knowledge, not a leak, so they stay out of what the sandbox saw. */
  async function rigless(headers: string[]): Promise<string> {
    const before = rig.seen.length
    const answer = await send(rig, { headers })
    rig.seen.length = before
    return answer.body.toString()
  }
})

describe('F11 lengths', () => {
  it('F11 a Content-Length is that of the masked body, or none', async () => {
    for (const filler of [0, 1000, 100_000]) {
      rig.upstream.answerWith((request, response) => {
        const body = `${bearerOf(request)}${'.'.repeat(filler)}`
        response.writeHead(200, { 'content-length': body.length, 'content-md5': 'x', digest: 'y', etag: '"z"' })
        response.end(body)
      })
      const answer = await ask()
      const { 'content-length': length, 'content-md5': md5, digest } = answer.headers
      expect([undefined, String(answer.body.length)]).toContain(length)
      expect([md5, digest]).toEqual([undefined, undefined])
    }
  })
})

describe('F19 several values in one answer', () => {
  const LONG = 'abcdefghijklmnopqrstuvwxyz'
  const SHORT = LONG.slice(0, 18)
  const INNER = LONG.slice(4, 22)

  it.each([
    ['one is the beginning of the other', [SHORT, LONG]],
    ['one is inside the other', [INNER, LONG]],
    ['one overlaps the other', [SHORT, INNER]],
  ])('F19 when %s the longest counts, once', async (_name, values) => {
    const [sandbox, first, second] = (await secretsOf(...values)) as [RigSandbox, Secret, Secret]
    rig.upstream.answerWith((_request, response) => response.end(`<${values[0]}> <${values[1]}> <${LONG}>`))
    const headers = ['X-Api-Key', first.placeholder, 'Authorization', `Bearer ${second.placeholder}`]
    const { body } = await send(rig, { headers, sandbox })
    const shown = body.toString()
    expect(shown.startsWith(`<${first.placeholder}> <${second.placeholder}> <`)).toBe(true)
    for (const value of values) expect(shown).not.toContain(value)
  })

  it('F19 two secrets with the same value become one of their placeholders', async () => {
    const [sandbox, first, second] = (await secretsOf(LONG, LONG)) as [RigSandbox, Secret, Secret]
    rig.upstream.answerWith((_request, response) => response.end(LONG))
    const headers = ['X-Api-Key', first.placeholder, 'Authorization', `Bearer ${second.placeholder}`]
    const { body } = await send(rig, { headers, sandbox })
    expect([first.placeholder, second.placeholder]).toContain(body.toString())
  })
})

describe('F20 a short value', () => {
  it.each(['a', 'true', '1234', 'fifteen-letters'])(
    'F20 (%s) is released, warned about, and masks nothing',
    async (value) => {
      const name = `short-${made++}`
      const input = { name, value: SecretValue.fromText(value), hosts: ['api.test'] }
      const { secret, warnings } = await rig.app.data.secrets.create(rig.principal, input)
      expect(warnings.join()).toMatch(/shorter than 16 bytes/)
      const sandbox = await rig.sandboxWith(`${name}-box`, { KEY: name })
      rig.upstream.answerWith((request, response) =>
        response.end(`a true 1234 fifteen-letters ${bearerOf(request).length}`),
      )
      const { body } = await send(rig, { headers: ['Authorization', `Bearer ${secret.placeholder}`], sandbox })
      expect(body.toString()).toBe(`a true 1234 fifteen-letters ${value.length}`)
    },
  )
})
