/**
 * Contract: a secret's hosts cover exactly what an operator reads in them. `*.` covers the apex and every name below it, cut
 * between labels; what would cover other people's names is refused when it is written, and what may mislead is warned of.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { callApi, createSecret } from '../support/control-plane.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

const BELOW = ['wild.test', 'a.wild.test', 'a.b.wild.test', 'xn--fa-hia.wild.test']
const BESIDE = ['evilwild.test', 'wild.test.evil.test', 'wild.tests', 'a-wild.test', 'wild.tes', 'test']
const SHARP_S = 'xn--fa-hia.test'
const VALUE = canary('patterns')

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let port: number
const placeholders: Record<string, string> = {}

beforeAll(async () => {
  rig = await Rig.start({ names: [...BELOW, ...BESIDE, SHARP_S, 'fass.test'] })
  const create = async (name: string, hosts: readonly string[]) => {
    placeholders[name] = (await createSecret(rig, { name, value: VALUE, hosts })).placeholder
  }
  await create('wild', ['*.wild.test'])
  await create('sharp', ['faß.test'])
  await create('dotted', ['API.Test.'])
  await create('elsewhere', ['evil.test'])
  const mounts = { WILD: 'wild', SHARP: 'sharp', DOTTED: 'dotted', ELSEWHERE: 'elsewhere', OPENAI: 'openai' }
  box = new RawSandbox(rig, await rig.sandboxWith('patterns', mounts))
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  port = rig.upstream.port
})
beforeEach(() => {
  rig.upstream.clear()
  dials.reset()
})
afterAll(async () => {
  assertNoLeak(VALUE, { 'what the sandbox saw': Buffer.concat(rig.seen), 'the log': rig.logLines.join('') })
  await rig.stop()
})

async function askWith(secret: string, host: string) {
  const lines = [`GET https://${host}:${port}/ HTTP/1.1`, `Host: ${host}:${port}`]
  return await box.ask(...lines, `X-Api-Key: ${placeholders[secret]}`)
}

async function expectReleased(secret: string, host: string): Promise<void> {
  expect((await askWith(secret, host)).status).toBe(200)
  expect(rig.upstream.last.headers).toMatchObject({ 'x-api-key': VALUE, host: `${host}:${port}` })
}

const create = (hosts: unknown) => callApi(rig, 'POST', '/v1/secrets', { name: 'refused', value: VALUE, hosts })

describe('the wildcard *.wild.test', () => {
  it.each(BELOW)('A22 covers %s, and the value is released there', async (host) => {
    await expectReleased('wild', host)
  })

  it.each(BESIDE)('A22 does not cover %s: refused with 403 and nothing is dialled', async (host) => {
    await expectRefusal(rig, dials, await askWith('wild', host), 403, 'host_not_allowed')
  })

  it.each(['.wild.test', '*.wild.test', 'a.*.wild.test', 'x/y.wild.test', 'a..wild.test', '{a,b}.wild.test'])(
    'A22 is not matched by %s, which is no host at all: nothing is dialled',
    async (host) => {
      const answer = await askWith('wild', host)
      expect([400, 403]).toContain(answer.status)
      expect(dials.count).toBe(0)
    },
  )
})

describe('spellings of a pattern', () => {
  it('A40 a pattern in capitals with a trailing dot is stored folded and covers that name alone', async () => {
    await expectRefusal(rig, dials, await askWith('dotted', 'evil.test'), 403, 'host_not_allowed')
    await expectReleased('dotted', 'api.test')
  })

  it('A40 faß and fass are different hosts', async () => {
    const stored = await callApi(rig, 'GET', '/v1/secrets/sharp')
    expect(stored.document['hosts']).toEqual([SHARP_S])
    await expectRefusal(rig, dials, await askWith('sharp', 'fass.test'), 403, 'host_not_allowed')
    await expectReleased('sharp', SHARP_S)
  })

  it('A21 a mixed-script host is stored and shown as an A-label, with a warning', async () => {
    const hosts = ['аpi.openai.com']
    const { status, document } = await callApi(rig, 'POST', '/v1/secrets', { name: 'lookalike', value: VALUE, hosts })
    expect(status).toBe(201)
    expect(document['hosts']).toEqual(['xn--pi-6kc.openai.com'])
    expect(document['warnings']).toEqual([expect.stringContaining('mixes scripts')])
  })

  it('A24 a wildcard is accepted with a warning about whoever serves a name below it', async () => {
    const input = { name: 'takeover', value: VALUE, hosts: ['*.example.com'] }
    const { warnings } = await createSecret(rig, input)
    expect(warnings).toEqual([expect.stringContaining('any name below example.com')])
    const exact = await createSecret(rig, { ...input, name: 'exact', hosts: ['api.example.com'] })
    expect(exact.warnings).toBeUndefined()
  })
})

describe('a pattern that is too wide or no pattern', () => {
  it.each([
    '*',
    '*.*',
    '*.',
    '**',
    '*.com',
    '*.test',
    '*.co.uk',
    '*.github.io',
    '*.s3.amazonaws.com',
    '*.kawasaki.jp',
    'a*.x.com',
    '*a.x.com',
    'a.*.com',
    '',
    ' ',
    '{a,b}',
    '!(evil)',
    '+(a)',
    '[ab].com',
    '?.com',
    '.com',
    'https://api.test',
    'api.test:443',
    'api.test/v1',
    'u@api.test',
    '10.0.0.0/8',
    '127.0.0.1',
    '[::1]',
    '2130706433',
    'api%2etest',
    'a,b',
  ])('A23 %j is refused when the secret is written', async (host) => {
    const { status, document } = await create([host])
    expect([status, document.error?.code]).toEqual([400, 'invalid_input'])
  })

  it('A23 an empty list is refused, and a list with one bad entry is refused as a whole', async () => {
    for (const hosts of [[], ['api.test', '*']]) {
      expect((await create(hosts)).status).toBe(400)
    }
    expect((await callApi(rig, 'GET', '/v1/secrets/refused')).status).toBe(404)
  })
})

describe('two secrets', () => {
  it('A36 of the same value have placeholders and hosts of their own', async () => {
    expect(new Set(Object.values(placeholders)).size).toBe(4)
    await expectReleased('dotted', 'api.test')
    dials.reset()
    await expectRefusal(rig, dials, await askWith('dotted', 'evil.test'), 403, 'host_not_allowed')
    await expectRefusal(rig, dials, await askWith('elsewhere', 'api.test'), 403, 'host_not_allowed')
  })

  it('A36 in one request are refused together when one of them may not go there', async () => {
    const lines = [`GET https://api.test:${port}/ HTTP/1.1`, `Host: api.test:${port}`]
    const keys = [`X-Api-Key: ${placeholders['dotted']}`, `X-Other-Token: ${placeholders['elsewhere']}`]
    expect(verdict(await box.ask(...lines, ...keys))).toEqual([403, 'host_not_allowed'])
    expect(dials.count).toBe(0)
  })

  it('A36 cannot be given a placeholder by whoever creates them', async () => {
    const placeholder = placeholders['wild']
    const input = { name: 'chosen', value: VALUE, hosts: ['evil.test'], placeholder }
    const { status } = await callApi(rig, 'POST', '/v1/secrets', input)
    expect(status).toBe(400)
    expect((await callApi(rig, 'GET', '/v1/secrets/chosen')).status).toBe(404)
  })
})
