/**
 * Contract: a value leaves over verified TLS alone. Plain HTTP, in absolute form or inside a tunnel, never carries one unless
 * its secret says `allowPlaintext`; and a name that leads to the wrong server gets nothing.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { createSecret } from '../support/control-plane.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { TestAuthority } from '../support/test-authority.ts'

const VALUE = canary('plaintext')

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let plain: number
let placeholder: string

beforeAll(async () => {
  rig = await Rig.start()
  const input = { name: 'legacy', value: VALUE, hosts: ['api.test'], allowPlaintext: true }
  placeholder = (await createSecret(rig, input)).placeholder
  box = new RawSandbox(rig, await rig.sandboxWith('legacy', { KEY: 'openai', LEGACY: 'legacy' }))
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
  plain = rig.plain.port
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
  dials.reset()
})
afterAll(async () => {
  assertNoLeak(VALUE, { 'what the sandbox saw': Buffer.concat(rig.seen), 'the log': rig.logLines.join('') })
  await rig.stop()
})

/** A request of these lines inside a tunnel without TLS. */
async function askPlainTunnel(host: string, ...fields: readonly string[]) {
  const { tunnel } = await box.connect(`${host}:${plain}`)
  tunnel.write([`GET / HTTP/1.1`, `Host: ${host}:${plain}`, ...fields, '', ''].join('\r\n'))
  const answer = await box.answerOn(tunnel)
  tunnel.destroy()
  return answer
}

const askPlain = (...fields: readonly string[]) =>
  box.ask(`GET http://api.test:${plain}/ HTTP/1.1`, `Host: api.test:${plain}`, ...fields)

describe('plain HTTP to an allowed host', () => {
  it('B01 in absolute form with a placeholder is refused with 403 and nothing is dialled', async () => {
    await expectRefusal(rig, dials, await askPlain(box.authorization), 403, 'plaintext')
  })

  it('B01 inside a tunnel with a placeholder is refused with 403 and nothing is dialled', async () => {
    await expectRefusal(rig, dials, await askPlainTunnel('api.test', box.authorization), 403, 'plaintext')
  })

  it('B01 on port 443 is plain HTTP all the same', async () => {
    const answer = await box.ask('GET http://api.test:443/ HTTP/1.1', 'Host: api.test:443', box.authorization)
    await expectRefusal(rig, dials, answer, 403, 'plaintext')
  })

  it('B01 with a placeholder in Basic credentials is refused with 403 and nothing is dialled', async () => {
    const basic = Buffer.from(`user:${rig.secret.placeholder}`).toString('base64')
    await expectRefusal(rig, dials, await askPlain(`Authorization: Basic ${basic}`), 403, 'plaintext')
  })

  it('B01 that claims to be https in a forwarding field is plain HTTP all the same', async () => {
    const claims = ['X-Forwarded-Proto: https', 'Forwarded: proto=https', 'Front-End-Https: on', 'X-Scheme: https']
    await expectRefusal(rig, dials, await askPlain(...claims, box.authorization), 403, 'plaintext')
  })

  it('B01 without a placeholder passes', async () => {
    expect((await askPlain()).status).toBe(200)
    expect((await askPlainTunnel('api.test')).status).toBe(200)
    expect(rig.plain.requests).toHaveLength(2)
  })

  it('B01 carries the value of a secret that says allowPlaintext, and of no other in the same request', async () => {
    const legacy = `X-Api-Key: ${placeholder}`
    expect((await askPlain(legacy)).status).toBe(200)
    expect(rig.plain.last.headers['x-api-key']).toBe(VALUE)
    rig.plain.clear()
    dials.reset()
    await expectRefusal(rig, dials, await askPlain(legacy, box.authorization), 403, 'plaintext')
  })

  it('B01 to another host never carries it, whatever the secret says of plain HTTP', async () => {
    const lines = [`GET http://evil.test:${plain}/ HTTP/1.1`, `Host: evil.test:${plain}`]
    const answer = await box.ask(...lines, `X-Api-Key: ${placeholder}`)
    await expectRefusal(rig, dials, answer, 403, 'host_not_allowed')
  })
})

describe('an allowed name that leads to the wrong server', () => {
  it('A28 over plain HTTP gets no value, because nothing proves who is there', async () => {
    await expectRefusal(rig, dials, await askPlain(box.authorization), 403, 'plaintext')
  })

  it('A28 without TLS on the port that https was asked of gets no byte of the request', async () => {
    const lines = [`GET https://api.test:${plain}/ HTTP/1.1`, `Host: api.test:${plain}`, box.authorization]
    const answer = await box.ask(...lines)
    expect(verdict(answer)).toEqual([502, 'upstream_tls'])
    expect(rig.plain.received.toString('latin1')).not.toMatch(/GET|Authorization|xcoat/i)
    expect(await outcome(rig, { requestId: answer.requestId ?? '' })).toMatchObject({ decision: 'failed' })
  })

  it('A28 with TLS under an authority that nobody trusts gets no byte of the request', async () => {
    const stranger = await TestAuthority.create()
    const impostor = await Rig.start({ env: { COATCHECK_UPSTREAM_EXTRACA: stranger.caFile } })
    const sandbox = new RawSandbox(impostor)
    const { port } = impostor.upstream
    const lines = [`GET https://api.test:${port}/ HTTP/1.1`, `Host: api.test:${port}`, sandbox.authorization]
    const answer = await sandbox.ask(...lines)
    expect(verdict(answer)).toEqual([502, 'upstream_tls'])
    expect(impostor.upstream.received).toHaveLength(0)
    await impostor.stop({ elsewhere: { 'the impostor': impostor.upstream.received } })
    await stranger.remove()
  })
})
