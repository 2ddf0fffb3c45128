/**
 * Every request that real clients were recorded to send is answered with the status and the shape that its client accepted: the same
 * fields of the same kinds, in the same order of calls. Adding a case is adding a line to test/vectors/wire.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, CompatApp } from './support/compat-app.ts'
import { type Contract, type Recorded, recorded, shapeDifferences, Translation } from './support/recorded.ts'

let app: CompatApp

beforeAll(async () => {
  app = await CompatApp.start()
  const admin = app.owner
  await app.app.data.workspaces.create(admin, { name: 'demo', externalKey: 'st1' })
})

afterAll(async () => {
  await app.stop()
})

async function contractOf(file: string): Promise<Contract> {
  const { defaultAccountId } = app.app.data.database
  switch (file) {
    case 'daytona':
      return {
        file,
        known: { dtn_test: await app.mint({ role: 'admin', prefix: 'dtn_' }) },
        free: ['labels', 'env'],
        strange: ['snapshot'],
      }
    case 'cadenya':
      return {
        file,
        known: { cad_test: app.token, cad_old: app.token, ws_01TEST: 'default' },
        free: ['labels'],
        strange: [],
      }
    case '1claw': {
      const key = await app.mint({ role: 'admin', prefix: '1ck_' })
      const agent = await app.mint({ role: 'admin', prefix: 'ocv_' })
      const known = { '1ck_test': key, '1ck_race': key, ocv_test: agent, 'raw.jwt.here': key }
      return { file, known, free: ['metadata'], strange: ['deleted', 'max', 'reads'] }
    }
    default:
      return { file, known: { pat_test: app.token, 'ns-account': defaultAccountId }, free: ['metadata'], strange: [] }
  }
}

async function send(request: Recorded, translation: Translation): Promise<Answer> {
  const body = request.body === null ? undefined : translation.translate(JSON.stringify(request.body))
  const headers = Object.entries(request.headers).map(([name, value]) => [name, translation.translate(value)])
  return await app.call(request.method, translation.url(request.url), body, {
    authorization: '',
    ...(Object.fromEntries(headers) as Record<string, string>),
  })
}

describe('recorded requests', () => {
  it.each(['daytona', 'cadenya', '1claw', 'cloud66'])(
    'of %s are each answered as their client accepts it',
    async (file) => {
      const contract = await contractOf(file)
      const translation = new Translation(contract.known)
      const wrong: string[] = []
      for (const request of recorded(file)) {
        const answer = await send(request, translation)
        // One client does not wait for its first token: what it sends without one is refused, and its caller waits.
        const early = request.headers['authorization'] === undefined && !request.url.startsWith('/v1/auth/')
        const status = early ? 401 : request.status
        const write = request.method !== 'GET'
        const differences = early ? [] : shapeDifferences(request.answer, answer.json, contract, write)
        if (answer.status !== status) differences.unshift(`status is ${answer.status}, not ${status}`)
        if (differences.length > 0) wrong.push(`${request.method} ${request.url}: ${differences.join('; ')}`)
        translation.learn(request.answer, answer.json)
      }
      expect(wrong).toEqual([])
    },
  )

  it('are all there', () => {
    const counts = ['daytona', 'cadenya', '1claw', 'cloud66'].map((file) => recorded(file).length)
    expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(110)
  })
})
