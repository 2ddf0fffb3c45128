/** Contract: a create that is sent again after a restart makes nothing twice, and shows no token twice. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { App } from '../../src/app.ts'
import { loadSettings } from '../../src/config.ts'

let dir: string
let app: App

async function start(): Promise<App> {
  const env = {
    COATCHECK_DATADIR: dir,
    COATCHECK_API_LISTEN: '127.0.0.1:0',
    COATCHECK_AUDIT_SINKS: '["none"]',
  }
  return await App.start({
    settings: loadSettings({ file: null, env }),
    env: {},
    exportDir: null,
    ship: false,
    listen: { proxy: false, api: true },
    logTo: { write: () => undefined },
  })
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coatcheck-restart-'))
  app = await start()
})
afterEach(async () => {
  await app.close(0)
  await rm(dir, { recursive: true })
})

async function restart(): Promise<void> {
  await app.close(0)
  app = await start()
}

async function post(path: string, body: object) {
  const token = (await readFile(app.data.adminToken.path, 'utf8')).trim()
  const answer = await fetch(`${app.apiUrl}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'k-1' },
    body: JSON.stringify(body),
  })
  return { status: answer.status, replayed: answer.headers.get('idempotency-replayed'), text: await answer.text() }
}

const ALL = { limit: 200, cursor: null }

it('gives the answer of the first again, and makes nothing', async () => {
  const body = { name: 'once', value: 'a value of some length' }
  const made = await post('/v1/secrets', body)
  const vault = await post('/v1/vaults', { name: 'once' })
  await restart()
  expect(await post('/v1/secrets', body)).toEqual({ ...made, replayed: 'true' })
  expect(await post('/v1/vaults', { name: 'once' })).toEqual({ ...vault, replayed: 'true' })
  expect((await post('/v1/secrets', { ...body, value: 'another value' })).status).toBe(409)
  const owner = app.data.tokens.systemPrincipal()
  expect((await app.data.secrets.list(owner, ALL)).items).toHaveLength(1)
})

it('refuses to show a token again, and makes no second one', async () => {
  const made = await post('/v1/tokens', { name: 'ci' })
  expect(made.status).toBe(201)
  await restart()
  const again = await post('/v1/tokens', { name: 'ci' })
  expect([again.status, again.text]).toEqual([409, expect.stringContaining('shown once')])
  const owner = app.data.tokens.systemPrincipal()
  const { items } = await app.data.tokens.list(owner, ALL)
  expect(items.filter(({ name }) => name === 'ci')).toHaveLength(1)
})

it('refuses one that was broken off, and says what to do', async () => {
  const principal = (await app.data.tokens.authenticate((await readFile(app.data.adminToken.path, 'utf8')).trim())) as {
    readonly id: string
    readonly scopeId: string
  }
  const body = { name: 'broken', value: 'a value of some length' }
  await app.data.repetitions.claim({ principal, place: 'POST /v1/secrets', key: 'k-1', body: JSON.stringify(body) })
  await restart()
  const again = await post('/v1/secrets', body)
  expect([again.status, again.text]).toEqual([409, expect.stringContaining('look at what is there')])
})
