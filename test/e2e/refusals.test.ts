/**
 * Refusals of a release. Each has its reason, a fix, a status and an audit event; nothing is dialled. What is not this
 * sandbox's is answered like what does not exist. Changes count from the next request on, open tunnels included.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { mintToken } from '../../src/core/placeholder.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { canary } from '../support/leak-check.ts'
import { OTHER, Rig } from '../support/rig.ts'
import { type Answer, headText, openProxy, openWire, proxyAuthorization, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

const bearer = (placeholder: string) => ['Authorization', `Bearer ${placeholder}`]

/** Changes the database as another process of ours would. */
function edit(sql: string): void {
  const database = new DatabaseSync(join(rig.dataDir, 'coatcheck.db'), { timeout: 5_000 })
  database.exec(`${sql}; UPDATE revision SET n = n + 1`)
  database.close()
}

async function expectRefusal(answer: Answer, status: number, code: string): Promise<void> {
  expect([answer.status, answer.error?.code]).toEqual([status, code])
  expect(answer.error?.message).toMatch(/\.$/)
  expect(answer.error?.hint).not.toBe('')
  expect(rig.upstream.connections).toBe(0)
  const id = answer.error?.requestId
  const event = await until(async () => (await rig.events()).find((e) => e.kind === 'exchange' && e.exchange === id))
  expect(event).toMatchObject({ decision: 'refused', reason: code, status, secrets: [], upstreamAddress: null })
  expect((await rig.events()).some((e) => e.kind === 'release' && e.exchange === id)).toBe(false)
}

describe('a placeholder is refused', () => {
  it('with unknown_placeholder when nobody has it', async () => {
    await expectRefusal(await send(rig, { headers: bearer(mintToken()) }), 403, 'unknown_placeholder')
  })

  it('with the very same answer when it is deleted, not mounted here, or differently dressed', async () => {
    const make = async (name: string, dress = '') =>
      (await rig.app.data.secrets.create(rig.principal, { name, value: SecretValue.fromText(canary(name)), dress }))
        .secret
    const [deleted, unmounted, dressed] = [await make('deleted'), await make('unmounted'), await make('dressed', 'sk-')]
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { A: 'openai', B: 'deleted', C: 'dressed' })
    await rig.app.data.secrets.delete(rig.principal, 'deleted')
    const undressed = dressed.placeholder.slice('sk-'.length)
    const bodies: string[] = []
    for (const placeholder of [mintToken(), deleted.placeholder, unmounted.placeholder, undressed]) {
      const answer = await send(rig, { headers: bearer(placeholder) })
      await expectRefusal(answer, 403, 'unknown_placeholder')
      bodies.push(`${answer.rawHeaders.join()}${answer.body.toString().replace(answer.error?.requestId ?? '', '')}`)
    }
    expect(new Set(bodies).size).toBe(1)
  })

  it('with host_not_allowed at another host', async () => {
    await expectRefusal(
      await send(rig, { host: OTHER, headers: bearer(rig.secret.placeholder) }),
      403,
      'host_not_allowed',
    )
  })

  it('with placement_not_allowed in another place', async () => {
    const answer = await send(rig, { path: `/?key=${rig.secret.placeholder}` })
    await expectRefusal(answer, 403, 'placement_not_allowed')
  })

  it('with plaintext over http, unless its secret allows that', async () => {
    const { secret } = await rig.app.data.secrets.create(rig.principal, {
      name: 'plain',
      value: SecretValue.fromText('a value for plain http'),
      allowPlaintext: true,
    })
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { A: 'openai', B: 'plain' })
    const statuses: number[] = []
    for (const { placeholder } of [rig.secret, secret]) {
      const wire = await openProxy(rig)
      const [name, value] = proxyAuthorization(rig.sandbox)
      const host = `api.test:${rig.plain.port}`
      wire.write(
        `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${name}: ${value}\r\nX-Api-Key: ${placeholder}\r\n\r\n`,
      )
      const answer = await wire.message()
      statuses.push(answer.status)
      if (answer.status === 403) expect(valuesOf(answer.fields, 'coatcheck-error')).toEqual(['plaintext'])
      wire.socket.destroy()
    }
    expect(statuses).toEqual([403, 200])
    expect(rig.plain.last.headers['x-api-key']).toBe('a value for plain http')
  })

  it('with expired from its date on', async () => {
    const change = (expiresAt: string | null) => rig.app.data.secrets.update(rig.principal, 'openai', { expiresAt })
    await change(new Date(Date.now() + 60_000).toISOString())
    expect((await send(rig, { headers: bearer(rig.secret.placeholder) })).status).toBe(200)
    edit(`UPDATE secrets SET expires_at = '2020-01-01T00:00:00.000Z' WHERE name = 'openai'`)
    rig.upstream.clear()
    await until(async () => (await send(rig, { headers: bearer(rig.secret.placeholder) })).status === 403)
    rig.upstream.clear()
    await expectRefusal(await send(rig, { headers: bearer(rig.secret.placeholder) }), 403, 'expired')
    await change(null)
    expect((await send(rig, { headers: bearer(rig.secret.placeholder) })).status).toBe(200)
  })

  it('with disabled while its version is', async () => {
    edit(`UPDATE secret_versions SET disabled_at = '2020-01-01T00:00:00.000Z' WHERE secret_id = '${rig.secret.id}'`)
    await until(async () => (await send(rig, { headers: bearer(rig.secret.placeholder) })).status === 403)
    rig.upstream.clear()
    await expectRefusal(await send(rig, { headers: bearer(rig.secret.placeholder) }), 403, 'disabled')
    edit(`UPDATE secret_versions SET disabled_at = NULL WHERE secret_id = '${rig.secret.id}'`)
    await until(async () => (await send(rig, { headers: bearer(rig.secret.placeholder) })).status === 200)
  })

  it('with audit_unavailable while the log cannot be written, and then not any more', async () => {
    edit(`CREATE TRIGGER broken BEFORE INSERT ON audit_events BEGIN SELECT RAISE(FAIL, 'no'); END`)
    const before = (await rig.events()).length
    const answer = await send(rig, { headers: bearer(rig.secret.placeholder) })
    expect([answer.status, answer.error?.code]).toEqual([503, 'audit_unavailable'])
    expect([rig.upstream.connections, rig.upstream.received.length]).toEqual([0, 0])
    expect(await rig.events()).toHaveLength(before)
    edit('DROP TRIGGER broken')
    await until(async () => (await send(rig, { headers: bearer(rig.secret.placeholder) })).status === 200)
    expect((await rig.app.data.records.verify()).ok).toBe(true)
  })

  it('the first of several reasons names itself, and no other placeholder goes out', async () => {
    const headers = [...bearer(rig.secret.placeholder), 'X-Api-Key', mintToken()]
    await expectRefusal(await send(rig, { headers }), 403, 'unknown_placeholder')
  })
})

describe('on an open tunnel', () => {
  let wire: Wire
  afterEach(() => {
    wire.socket.destroy()
  })

  async function status(placeholder: string): Promise<number> {
    wire.write(headText(rig, 'GET /', bearer(placeholder)))
    return (await wire.message()).status
  }

  it('the request after a rotation has the new value, and the audit its version', async () => {
    const placeholder = await mounted('rotated', 'the first value')
    wire = await openWire(rig)
    expect(await status(placeholder)).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe('Bearer the first value')
    await rig.app.data.secrets.update(rig.principal, 'rotated', { value: SecretValue.fromText('the second value') })
    expect(await status(placeholder)).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe('Bearer the second value')
    const releases = (await rig.events()).filter((event) => event.kind === 'release').slice(-2)
    expect(releases.map((event) => event.secrets[0]?.version)).toEqual([1, 2])
  })

  it('the request after a deletion is refused', async () => {
    const placeholder = await mounted('short-lived', 'a value to delete')
    wire = await openWire(rig)
    expect(await status(placeholder)).toBe(200)
    await rig.app.data.secrets.delete(rig.principal, 'short-lived')
    expect(await status(placeholder)).toBe(403)
  })

  it('the request after a change of mounts or hosts is judged by it', async () => {
    const placeholder = await mounted('moving', 'a value that moves')
    wire = await openWire(rig)
    expect(await status(placeholder)).toBe(200)
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { A: 'openai' })
    expect(await status(placeholder)).toBe(403)
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { A: 'openai', B: 'moving' })
    expect(await status(placeholder)).toBe(200)
    await rig.app.data.secrets.update(rig.principal, 'moving', { hosts: ['other.test'] })
    expect(await status(placeholder)).toBe(403)
  })

  it('a deleted sandbox has no further request', async () => {
    const sandbox = await rig.sandboxWith('doomed', { A: 'openai' })
    wire = await openWire(rig, { sandbox })
    expect(await status(rig.secret.placeholder)).toBe(200)
    await rig.app.data.sandboxes.delete(rig.principal, 'doomed')
    await wire.closed
    expect(rig.upstream.requests).toHaveLength(1)
  })

  async function mounted(name: string, value: string): Promise<string> {
    const created = await rig.app.data.secrets.create(rig.principal, { name, value: SecretValue.fromText(value) })
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { A: 'openai', B: name })
    return created.secret.placeholder
  }
})

describe('a workspace that decides for itself', () => {
  it('has placeholders withheld where the server would refuse, and bodies refused where it would report', async () => {
    const rig = await Rig.start()
    try {
      await rig.app.data.settings.update(rig.principal, { onDenied: 'withhold', inBody: 'refuse' })
      const headers = ['Authorization', `Bearer ${rig.secret.placeholder}`]
      expect((await send(rig, { host: OTHER, headers })).status).toBe(200)
      expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.secret.placeholder}`)
      const body = `hello ${rig.secret.placeholder}`
      const refused = await send(rig, { method: 'POST', headers: ['Content-Type', 'text/plain'], body })
      expect(refused.error?.code).toBe('placement_not_allowed')
      await rig.app.data.settings.update(rig.principal, { onDenied: null, inBody: null })
      expect((await send(rig, { host: OTHER, headers })).error?.code).toBe('host_not_allowed')
    } finally {
      await rig.stop()
    }
  })
})
