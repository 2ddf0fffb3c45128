/** The control plane, given names and bodies that others have choked on: each is refused with its reason, and nothing is stored. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AttackedApi, type Sent } from '../support/attacked-api.ts'
import { callApi } from '../support/control-plane.ts'
import type { Rig } from '../support/rig.ts'

let attacked: AttackedApi
let rig: Rig

beforeAll(async () => {
  attacked = await AttackedApi.start()
  rig = attacked.rig
})
afterAll(async () => await rig.stop())

const api = (path: string, sent?: Sent) => attacked.api(path, sent)
const json = { 'content-type': 'application/json' }

describe('H03 names', () => {
  const names = [
    '../x',
    '..',
    '.',
    'a/../b',
    'a//b',
    '/a',
    'a/',
    './a',
    '..\\x',
    'a\u0000b',
    'a\nb',
    '\u202eevil',
    '\u0440\u0430ypal',
    'open\u0391I',
    'a\u200bb',
    '\u3164',
    'prod\u2215openai',
    'prod\uff0fopenai',
    'a\ufe0fb',
    ' a',
    'a ',
    '',
    'x'.repeat(257),
    'x'.repeat(10_000),
    'a;b',
    'a"b',
    'a%2fb',
    '<script>',
    '${x}',
    '{{x}}',
    'a*b',
    'a=b',
    'a@b',
  ]
  it.each(names.map((name) => [JSON.stringify(name).slice(0, 40), name]))('H03 %s is no name', async (_, name) => {
    const { status, document, text } = await callApi(rig, 'POST', '/v1/secrets', {
      name,
      value: 'a value of some length',
    })
    expect([status, document.error?.code]).toEqual([400, 'invalid_input'])
    if (name.length > 3) expect(text).not.toContain(JSON.stringify(name).slice(1, -1))
  })

  it('H03 that stand for the name of another secret are that name: taken, and found under it', async () => {
    for (const name of ['\uff4f\uff50\uff45\uff4e\uff41\uff49', 'op\u212fnai']) {
      const { status } = await callApi(rig, 'POST', '/v1/secrets', { name, value: 'a value of some length' })
      expect(status, name).toBe(409)
      expect((await api(`/v1/secrets/${encodeURIComponent(name)}`)).status).toBe(200)
    }
  })

  it('H03 in a path, encoded in any way, find nothing and reach nothing', async () => {
    for (const part of [
      '..%2f..%2fetc%2fpasswd',
      '%2e%2e',
      '..%5c',
      '%00',
      'a%00b',
      '%252e%252e%252f',
      'CON',
      '%E2%80%AE',
    ]) {
      for (const path of [
        `/v1/secrets/${part}`,
        `/v1/sandboxes/${part}`,
        `/v1/workspaces/${part}`,
        `/v1/secrets/${part}/value`,
      ]) {
        const method = path.endsWith('/value') ? 'POST' : 'GET'
        expect([400, 404], path).toContain((await api(path, { method })).status)
      }
    }
  })
})

describe('H04 bodies', () => {
  const value = '"value":"a value of some length"'
  const bodies: Readonly<Record<string, string>> = {
    'the same key twice': `{"name":"a","name":"b",${value}}`,
    'the same key twice, once escaped': `{"name":"a","n\\u0061me":"b",${value}}`,
    'a prototype': `{"__proto__":{"role":"admin"},"name":"a",${value}}`,
    'a constructor': `{"constructor":{"prototype":{"x":1}},"name":"a",${value}}`,
    'a prototype within': `{"name":"a",${value},"metadata":{"__proto__":{"x":1}}}`,
    'half of a surrogate pair': `{"name":"a","value":"\\ud800 and more of it"}`,
    'the other half': `{"name":"a","value":"\\udc00 and more of it"}`,
    '100,000 levels of lists': '['.repeat(100_000),
    '100,000 levels of objects': '{"a":'.repeat(100_000),
    'a number beyond every number': `{"name":"a",${value},"maxAccessCount":1e999}`,
    'a number that loses digits': `{"name":"a",${value},"maxAccessCount":9007199254740993}`,
    'a fraction': `{"name":"a",${value},"maxAccessCount":1.5}`,
    'a minus': `{"name":"a",${value},"maxAccessCount":-0}`,
    'two documents': `{"name":"a",${value}}{"name":"b",${value}}`,
    'a byte order mark': `\ufeff{"name":"a",${value}}x`,
    'a comment': `{"name":"a",/* */${value}}`,
    'a comma too many': `{"name":"a",${value},}`,
    NaN: `{"name":"a",${value},"maxAccessCount":NaN}`,
    'nothing but blanks': ' '.repeat(1000),
    null: 'null',
    'a text': '"text"',
    'an unknown field': `{"name":"a",${value},"isAdmin":true}`,
  }
  it.each(Object.entries(bodies))('H04 with %s are refused, and nothing is stored', async (_, body) => {
    for (const method of ['POST', 'PATCH'] as const) {
      const path = method === 'POST' ? '/v1/secrets' : '/v1/secrets/openai'
      expect((await api(path, { method, headers: json, body })).status).toBe(400)
    }
    expect((await callApi(rig, 'GET', '/v1/secrets?name=a&prefix=a')).document['items']).toEqual([])
    expect(({} as Record<string, unknown>)['role']).toBeUndefined()
  })
})
