/** What merely looks at the server tells no value and no name: no path of the API for a sandbox, no figure for anybody. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { routeTable } from '../api/support/route-table.ts'
import { AttackedApi, bearer, type Sent } from '../support/attacked-api.ts'
import { callApi } from '../support/control-plane.ts'
import { leaksIn } from '../support/leak-check.ts'
import type { Rig } from '../support/rig.ts'

let attacked: AttackedApi
let rig: Rig

beforeAll(async () => {
  attacked = await AttackedApi.start()
  rig = attacked.rig
})
afterAll(async () => await rig.stop())

const api = (path: string, sent?: Sent) => attacked.api(path, sent)

describe('F21 a sandbox that wants values', () => {
  it('F21 gets them from no path of the API, nor does an attacked.admin from any that only looks', async () => {
    const deps = {
      ...rig.app.data.apiDeps({
        proxyUrl: () => '',
        ready: () => ({ ok: true, checks: {} }),
        log: rig.app.log,
        allowedHosts: () => [],
      }),
    }
    const routes = (await routeTable(deps)).filter(({ method, path }) => method === 'GET' && !path.endsWith('/stream'))
    expect(routes.length).toBeGreaterThan(30)
    for (const { path } of routes) {
      const url = path
        .replace(/:[A-Za-z]+/, 'openai')
        .replaceAll(/:[A-Za-z]+/g, '1')
        .replace('*', 'openai')
      for (const headers of [bearer(attacked.admin), bearer(rig.sandbox.token)]) {
        const { text } = await attacked.ask(rig.app.apiUrl, url, { headers })
        expect(leaksIn(Buffer.from(text), rig.value), path).toEqual([])
      }
    }
  })

  it('F21 does not get the value of a write-only secret by asking for it', async () => {
    const { status, document } = await callApi(rig, 'POST', '/v1/secrets/openai/value')
    expect([status, document.error?.code]).toEqual([403, 'forbidden'])
  })

  it('F21 does not reach the API through the proxy', async () => {
    const port = new URL(rig.app.apiUrl).port
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '127.0.0.2']) {
      const answer = await attacked.throughProxy(`http://${host}:${port}/v1/secrets`)
      expect(answer.status, host).toBe(403)
    }
  })
})

describe('I05 figures and health', () => {
  it('I05 name no secret, sandbox, host or workspace', async () => {
    await attacked.throughProxy('http://api.test/')
    await api('/v1/secrets/openai')
    await api('/v1/secrets/name-of-nothing')
    const pages = await Promise.all(['/metrics', '/healthz', '/readyz'].map(async (path) => (await api(path)).text))
    const text = pages.join('\n')
    expect(text).toContain('coatcheck_api_requests_total{method="GET",route="/v1/secrets/:idOrName",status="200"}')
    const workspace = rig.principal.workspaceId
    for (const name of [
      'openai',
      'name-of-nothing',
      rig.sandbox.name,
      'api.test',
      workspace,
      rig.secret.id,
      'theirs',
    ]) {
      expect(text, name).not.toMatch(new RegExp(`["'/ ]${name}["'/ ]`))
    }
    expect(leaksIn(Buffer.from(text), rig.value)).toEqual([])
  })

  it('I05 are not on the proxy’s port, nor reached through it, nor told without a token', async () => {
    for (const path of ['/metrics', '/healthz', '/readyz', '/openapi.json']) {
      const direct = await attacked.ask(rig.app.proxyUrl, path, { headers: bearer(attacked.admin) })
      expect(direct.status, path).toBeGreaterThanOrEqual(400)
      expect(direct.text).not.toContain('coatcheck_')
      expect((await attacked.throughProxy(`${rig.app.apiUrl}${path}`)).status, path).toBe(403)
    }
    expect([401, 429]).toContain((await attacked.ask(rig.app.apiUrl, '/metrics')).status)
  })
})
