/** What is put in place of a placeholder, once, exactly; and what a sandbox can learn about placeholders it does not have. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Secret } from '../../src/core/secret.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent, releasesOf } from '../support/audited.ts'
import { canary, leaksIn } from '../support/leak-check.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { type Answer, send } from '../support/sandbox-client.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'
import { until } from '../support/until.ts'

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
async function secretOf(value: string, more: object = {}): Promise<[Secret, RigSandbox]> {
  const name = `made-${made++}`
  const input = { name, value: SecretValue.fromText(value), hosts: ['api.test'], ...more }
  const { secret } = await rig.app.data.secrets.create(rig.principal, input)
  return [secret, await rig.sandboxWith(`${name}-box`, { KEY: name, OPENAI_API_KEY: 'openai' })]
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const randomToken = () => `xcoat_${Array.from({ length: 26 }, () => ALPHABET[Math.floor(Math.random() * 32)]).join('')}`

describe('E07 what stands next to a placeholder', () => {
  it.each([
    ['a letter behind', (p: string) => `${p}x`],
    ['a letter in front', (p: string) => `x${p}`],
    ['a letter on both sides', (p: string) => `x${p}x`],
    ['itself', (p: string) => `${p}${p}`],
    ['a beginning of itself', (p: string) => `xcoat_${p}`],
    ['a beginning and an end of itself', (p: string) => `${p.slice(0, 20)}${p}${p.slice(20)}`],
    ['many more', (p: string) => Array.from({ length: 64 }, () => p).join(' ')],
  ])('E07 %s stays what it was, and each placeholder becomes the value once', async (_name, text) => {
    const answer = await send(rig, { headers: ['X-Api-Key', text(placeholder)] })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers['x-api-key']).toBe(text(placeholder).replaceAll(placeholder, () => rig.value))
  })

  it('E07 more of them than any client needs are refused, so that a request cannot grow without bound', async () => {
    const text = Array.from({ length: 65 }, () => placeholder).join(' ')
    const answer = await send(rig, { headers: ['X-Api-Key', text] })
    expect([answer.status, answer.error?.code]).toEqual([431, 'headers_too_large'])
    expect(rig.upstream.connections).toBe(0)
  })

  it('E07 of another secret does not lend its letters: two placeholders, two values', async () => {
    const other = canary('e07')
    const [secret, sandbox] = await secretOf(other)
    const headers = ['X-Api-Key', `${placeholder}${secret.placeholder}${placeholder}`]
    expect((await send(rig, { path: '/e07', headers, sandbox })).status).toBe(200)
    expect(rig.upstream.last.headers['x-api-key']).toBe(`${rig.value}${other}${rig.value}`)
    const event = await closingEvent(rig, { path: '/e07' })
    expect(new Set(event.secrets.map((each) => each.name))).toEqual(new Set(['openai', secret.name]))
    expect(await releasesOf(rig, { path: '/e07' })).toHaveLength(1)
  })

  it('E07 a dress is a part of the placeholder: without it, or with another, it is unknown', async () => {
    const value = canary('e07d')
    const [secret, sandbox] = await secretOf(value, { dress: 'sk-ant-' })
    expect((await send(rig, { headers: ['X-Api-Key', secret.placeholder], sandbox })).status).toBe(200)
    expect(rig.upstream.last.headers['x-api-key']).toBe(value)
    rig.upstream.clear()
    for (const text of [secret.placeholder.slice(7), secret.placeholder.replace('sk-ant-', 'sk-and-')]) {
      const answer = await send(rig, { headers: ['X-Api-Key', text], sandbox })
      expect([answer.status, answer.error?.code]).toEqual([403, 'unknown_placeholder'])
    }
    expect(rig.upstream.connections).toBe(0)
  })
})

describe('E08 substitution happens once', () => {
  it.each(['', 'a', 'Bearer '])(
    'E08 a value with a placeholder in it (%j in front) is refused at creation',
    async (front) => {
      await expect(secretOf(`${front}${placeholder}`)).rejects.toMatchObject({ code: 'invalid_input' })
    },
  )

  it('E08 a value that completes a placeholder with what stands behind it stays as it is', async () => {
    const [secret, sandbox] = await secretOf('value-of-e08-xcoat')
    const rest = placeholder.slice('xcoat'.length)
    expect((await send(rig, { headers: ['X-Api-Key', `${secret.placeholder}${rest}`], sandbox })).status).toBe(200)
    expect(rig.upstream.last.headers['x-api-key']).toBe(`value-of-e08-xcoat${rest}`)
    expect(rig.upstream.received.includes(rig.value)).toBe(false)
  })
})

describe('E09 a value that looks like a replacement pattern', () => {
  const PATTERN = "sk-$&-$`-$'-$1-$<name>-$$-\\1-%s-{0}"

  it('E09 arrives exactly, in each place, and is masked exactly', async () => {
    const [secret, sandbox] = await secretOf(PATTERN, { placements: ['credential-headers', 'basic', 'query', 'path'] })
    rig.upstream.answerWith((request, response) => response.end(`<${request.headers['x-api-key'] as string}>`))
    const basic = `Basic ${Buffer.from(`u:${secret.placeholder}`).toString('base64')}`
    const headers = ['X-Api-Key', secret.placeholder, 'Authorization', basic]
    const answer = await send(rig, { path: `/${secret.placeholder}`, headers, sandbox })
    expect(rig.upstream.last.headers['x-api-key']).toBe(PATTERN)
    const [, credentials = ''] = rig.upstream.last.headers.authorization?.split(' ') ?? []
    expect(Buffer.from(credentials, 'base64').toString()).toBe(`u:${PATTERN}`)
    expect(decodeURIComponent(rig.upstream.last.target)).toBe(`/${PATTERN}`)
    await send(rig, { path: `/?k=${secret.placeholder}`, sandbox })
    expect(decodeURIComponent(rig.upstream.last.target)).toBe(`/?k=${PATTERN}`)
    expect(answer.body.toString()).toBe(`<${secret.placeholder}>`)
  })
})

/** All that could tell two refusals apart, but for the id of the request. */
function shown(answer: Answer): string {
  const head = [answer.status, answer.reason, ...answer.rawHeaders].join('|')
  return `${head}|${answer.body.toString().replace(/"requestId":"[^"]+"/, '')}`
}

describe('a placeholder that the sandbox does not have', () => {
  let foreign: SecondWorkspace
  let unmounted: Secret
  let unknown: string
  beforeAll(async () => {
    foreign = await SecondWorkspace.create(rig, canary('e11'))
    ;[unmounted] = await secretOf(canary('e10'))
    unknown = shown(await send(rig, { headers: ['X-Api-Key', randomToken()] }))
  })

  it('E10 is refused alike whether it is random, a near miss, not mounted, deleted or foreign', async () => {
    const { secret: deleted } = await rig.app.data.secrets.create(rig.principal, {
      name: 'deleted',
      value: SecretValue.fromText(canary('e10d')),
    })
    await rig.app.data.secrets.delete(rig.principal, 'deleted')
    const last = placeholder.endsWith('0') ? '1' : '0'
    const others = [
      `${placeholder.slice(0, -1)}${last}`,
      unmounted.placeholder,
      deleted.placeholder,
      foreign.placeholder,
    ]
    for (const text of [...others, randomToken(), randomToken()]) {
      const answer = await send(rig, { headers: ['X-Api-Key', text] })
      expect(shown(answer)).toBe(unknown)
      expect(answer.error?.code).toBe('unknown_placeholder')
    }
    expect(rig.upstream.connections).toBe(0)
  })

  it('E10 is refused alike at a host where it might be allowed and where not', async () => {
    const answer = await send(rig, { host: 'evil.test', headers: ['X-Api-Key', unmounted.placeholder] })
    expect(shown(answer)).toBe(unknown)
  })

  it('E11 of another workspace is unknown in this one, and the event does not name its secret', async () => {
    const theirs = await send(rig, { headers: ['X-Api-Key', foreign.placeholder] })
    const event = await closingEvent(rig, { requestId: theirs.error?.requestId ?? '' })
    expect(event).toMatchObject({
      decision: 'refused',
      reason: 'unknown_placeholder',
      secrets: [],
      workspace: rig.principal.workspaceId,
    })
    const ours = await send(rig, { headers: ['X-Api-Key', placeholder], sandbox: foreign.sandbox })
    expect(shown(ours)).toBe(unknown)
    expect(rig.upstream.connections).toBe(0)
    const there = await until(async () => {
      const { items } = await rig.app.data.records.list(foreign.principal, { limit: 50, cursor: null })
      const text = JSON.stringify(items)
      return text.includes(ours.error?.requestId ?? '-') ? text : null
    })
    expect(there).not.toContain('openai')
  })

  it('E11 the same name in two workspaces is two secrets with two placeholders', () => {
    expect(foreign.placeholder).not.toBe(placeholder)
  })
})

describe('E20 a placeholder', () => {
  it('E20 is 130 random bits that say nothing about the secret', async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 20; i += 1) {
      const [secret] = await secretOf('the same value each time')
      expect(secret.placeholder).toMatch(/^xcoat_[0-9a-hjkmnp-tv-z]{26}$/)
      seen.add(secret.placeholder)
    }
    expect(seen.size).toBe(20)
  })
})

describe('E21 what is handed to a sandbox', () => {
  it('E21 holds placeholders only: environment, sandbox, secret and their lists', async () => {
    const { secrets, sandboxes } = rig.app.data
    const page = { limit: 200, cursor: null }
    const handed = JSON.stringify([
      rig.sandbox,
      rig.secret,
      await sandboxes.list(rig.principal, page),
      await sandboxes.get(rig.principal, 'box'),
      await secrets.list(rig.principal, page),
      await secrets.versions(rig.principal, 'openai'),
    ])
    expect(rig.sandbox.env).toEqual({ OPENAI_API_KEY: placeholder })
    expect(leaksIn(Buffer.from(handed), rig.value)).toEqual([])
  })
})

it("E12 a value of the sandbox's own goes to an allowed host as it is, recorded as an exchange that released nothing", async () => {
  const own = canary('e12')
  const answer = await send(rig, { path: '/e12', headers: ['Authorization', `Bearer ${own}`] })
  expect(answer.status).toBe(200)
  expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${own}`)
  expect(await closingEvent(rig, { path: '/e12' })).toMatchObject({ decision: 'passed', secrets: [] })
  expect(await releasesOf(rig, { path: '/e12' })).toEqual([])
})
