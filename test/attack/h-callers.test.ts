/**
 * The control plane, attacked by those who may reach it: sandboxes, holders of other credentials, web pages, and who guesses.
 * That a route never tells another workspace's things from nobody's is asked of every route in test/api/authorization-matrix.test.ts.
 */
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { AttackedApi, bearer, type Sent } from '../support/attacked-api.ts'
import { callApi } from '../support/control-plane.ts'
import type { Rig } from '../support/rig.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'

let attacked: AttackedApi
let rig: Rig
let theirs: SecondWorkspace

beforeAll(async () => {
  attacked = await AttackedApi.start()
  rig = attacked.rig
  theirs = await SecondWorkspace.create(rig, 'the value of another workspace')
})
afterAll(async () => await rig.stop())

const api = (path: string, sent?: Sent) => attacked.api(path, sent)
const json = { 'content-type': 'application/json' }

describe('H01 another workspace', () => {
  it('H01 is not reached by filters or cursors that say more than they may', async () => {
    const hostile = [
      "' OR 1=1 --",
      '%',
      '_',
      '*',
      '%theirs%',
      'theirs',
      '\\',
      '"',
      'x" OR "1"="1',
      ';DROP TABLE secrets',
    ]
    for (const filter of ['name', 'prefix', 'query', 'label', 'labels', 'externalId']) {
      for (const text of hostile) {
        const { status, text: body } = await api(`/v1/secrets?deleted=true&${filter}=${encodeURIComponent(text)}`)
        expect([200, 400], `${filter}=${text}`).toContain(status)
        expect(body).not.toContain('theirs')
      }
    }
    const cursors = [
      'r1',
      'AAAA',
      Buffer.from('theirs').toString('base64url'),
      Buffer.from('["x","y"]').toString('base64url'),
    ]
    for (const list of ['secrets', 'sandboxes', 'tokens', 'policies', 'workspaces', 'vaults', 'audit/events']) {
      for (const cursor of cursors) {
        const { status, text } = await api(`/v1/${list}?cursor=${cursor}`)
        expect([200, 400], `${list} ${cursor}`).toContain(status)
        expect(text).not.toContain('theirs')
      }
    }
  })

  it('H01 is not reached by its ids in a mount, a token or a policy', async () => {
    const { items } = await rig.app.data.secrets.list(theirs.principal, { limit: 1, cursor: null })
    const id = items[0]?.id ?? ''
    const mount = await callApi(rig, 'POST', '/v1/sandboxes', { name: 'thief', mounts: { A: id } })
    expect(mount.status).toBe(400)
    expect(mount.text).not.toContain('theirs')
    expect((await api(`/v1/audit/events?secret=${id}`)).text).toBe('{"items":[],"nextCursor":null}')
  })
})

describe('H02 credentials', () => {
  it('H02 of a sandbox and of a runner are worth nothing to the API', async () => {
    const runner = await rig.app.data.tokens.create(rig.principal, { name: 'runner', role: 'runner' })
    for (const token of [rig.sandbox.token, theirs.sandbox.token, runner.secret]) {
      expect((await attacked.ask(rig.app.apiUrl, '/v1/secrets', { headers: bearer(token) })).status).toBe(401)
    }
  })

  it('H02 of the API are worth nothing to the proxy', async () => {
    const runner = await rig.app.data.tokens.create(rig.principal, { name: 'runner-2', role: 'runner' })
    for (const token of [attacked.admin, runner.secret])
      expect((await attacked.throughProxy('http://api.test/', token)).status).toBe(407)
  })
})

describe('H05 web pages', () => {
  it('H05 at a name that was rebound to this address read nothing', async () => {
    for (const host of ['evil.test', 'evil.test:8081', 'localhost.evil.test', '127.0.0.1.nip.io', 'xn--localhost']) {
      expect((await api('/v1/secrets', { headers: { host } })).status, host).toBe(403)
      expect((await api('/openapi.json', { headers: { host } })).status, host).toBe(403)
    }
  })

  it('H05 of another origin change nothing, and a simple request is no request of ours', async () => {
    const body = JSON.stringify({ name: 'csrf', value: 'a value of some length' })
    for (const origin of ['https://evil.test', 'null', 'http://localhost.evil.test']) {
      expect((await api('/v1/secrets', { method: 'POST', headers: { ...json, origin }, body })).status, origin).toBe(
        403,
      )
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const answer = await api('/v1/secrets', { method: 'POST', headers: { 'content-type': type }, body })
      expect(answer.status, type).toBe(415)
    }
    const cookie = await attacked.ask(rig.app.apiUrl, '/v1/secrets', {
      headers: { cookie: `token=${attacked.admin}; session=${attacked.admin}` },
    })
    expect(cookie.status).toBe(401)
    const preflight = { origin: 'https://evil.test', 'access-control-request-method': 'POST' }
    expect((await attacked.ask(rig.app.apiUrl, '/v1/secrets', { method: 'OPTIONS', headers: preflight })).status).toBe(
      404,
    )
  })
})

describe('H06 guesses', () => {
  it('H06 are answered alike, soon not looked at, and lock nobody out', async () => {
    const wrong = [
      `cct_${'A'.repeat(43)}`,
      attacked.admin.slice(0, -1),
      `${attacked.admin}x`,
      attacked.admin.toUpperCase(),
      `sec_${attacked.admin.slice(4)}`,
    ]
    const answers = []
    for (const token of wrong)
      answers.push(await attacked.ask(rig.app.apiUrl, '/v1/secrets', { headers: bearer(token) }))
    const comparable = answers.map(({ status, text }) => `${status} ${text.replace(/[0-9a-f-]{36}/, '')}`)
    expect(new Set(comparable).size).toBe(1)
    const statuses: number[] = []
    for (let n = 0; n < 25; n++) {
      const guess = bearer(`cct_${String(n).padStart(43, 'x')}`)
      statuses.push((await attacked.ask(rig.app.apiUrl, '/v1/secrets', { headers: guess })).status)
    }
    expect(statuses.at(-1)).toBe(429)
    expect((await api('/v1/secrets')).status).toBe(200)
  })

  it('H06 find no token in the files of the data directory', async () => {
    const { secret } = await rig.app.data.tokens.create(rig.principal, { name: 'stored' })
    await rig.app.data.database.truncateLog()
    const database = await readFile(rig.app.data.database.file)
    expect(database.includes(secret)).toBe(false)
    expect(database.includes(attacked.admin)).toBe(false)
  })
})

describe('H11 policies that contradict one another', () => {
  const list = ['list'] as const
  const rows = [
    { policies: [{ effect: 'allow' }, { effect: 'deny' }], listed: false },
    { policies: [{ effect: 'deny' }, { effect: 'allow' }], listed: false },
    {
      policies: [
        { effect: 'deny', priority: 1 },
        { effect: 'allow', priority: 2 },
      ],
      listed: true,
    },
    {
      policies: [
        { effect: 'deny', priority: 2 },
        { effect: 'allow', priority: 1 },
      ],
      listed: false,
    },
    { policies: [{ effect: 'allow' }, { effect: 'allow' }], listed: true },
    {
      policies: [
        { effect: 'deny', path: 'h11/*' },
        { effect: 'allow', path: 'h11/a' },
      ],
      listed: false,
    },
    { policies: [{ effect: 'deny', path: 'other/**' }, { effect: 'allow' }], listed: true },
    { policies: [], listed: false },
  ] as const
  it.each(rows.map((row, at) => ({ ...row, at })))(
    'H11 $policies: listed $listed',
    async ({ policies, listed, at }) => {
      const { secrets, tokens, policies: store } = rig.app.data
      if (at === 0)
        await secrets.create(rig.principal, { name: 'h11/a', value: SecretValue.fromText('a value of some length') })
      const { token, secret } = await tokens.create(rig.principal, { name: `h11-${at}`, role: 'agent' })
      for (const policy of policies) {
        await store.create(rig.principal, {
          path: 'h11/**',
          permissions: list,
          principalId: token.principalId,
          ...policy,
        })
      }
      const answer = await attacked.ask(rig.app.apiUrl, '/v1/secrets', { headers: bearer(secret) })
      expect(answer.text.includes('h11/a')).toBe(listed)
    },
  )
})
