/**
 * Requests in absolute form, http and https, and who may send them: every one proves its sandbox in Proxy-Authorization,
 * or all belong to the one sandbox that the listener is bound to. Wrong credentials are all answered alike: 407.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ALLOWED, Rig } from '../support/rig.ts'
import { openProxy, openTunnel, proxyAuthorization } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type WireMessage } from '../support/wire.ts'

interface Refusal {
  readonly error: { readonly code: string; readonly requestId: string }
}

let rig: Rig

/** One request to the proxy in absolute form; Host is the URL's. */
async function ask(url: string, fields: readonly string[]): Promise<WireMessage> {
  const wire = await openProxy(rig)
  wire.write(absolute(`GET ${url}`, fields))
  const answer = await wire.message()
  wire.socket.destroy()
  return answer
}

function absolute(start: string, fields: readonly string[]): string {
  let text = `${start} HTTP/1.1\r\nHost: ${start.split('/')[2]}\r\n`
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`
  return `${text}\r\n`
}

const plainUrl = () => `http://${ALLOWED}:${rig.plain.port}/a%2Fb?c=d`
const secureUrl = () => `https://${ALLOWED}:${rig.upstream.port}/a%2Fb?c=d`
const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]
const codeOf = (answer: WireMessage) => valuesOf(answer.fields, 'coatcheck-error')[0]

describe('a request in absolute form', () => {
  beforeAll(async () => {
    rig = await Rig.start()
  })
  afterEach(async () => {
    rig.upstream.clear()
    rig.plain.clear()
    await until(() => rig.upstream.sockets.size + rig.plain.sockets.size === 0)
  })
  afterAll(async () => {
    await rig.stop()
  })

  it('with http goes to the upstream in origin form, without the proxy’s credentials', async () => {
    const answer = await ask(plainUrl(), [
      'X-One',
      '1',
      ...proxyAuthorization(rig.sandbox),
      'Proxy-Connection',
      'close',
    ])
    expect([answer.status, answer.body.toString()]).toEqual([200, 'ok'])
    const [start, host, one, via] = rig.plain.received.toString('latin1').split('\r\n')
    expect([start, host, one]).toEqual(['GET /a%2Fb?c=d HTTP/1.1', `Host: ${ALLOWED}:${rig.plain.port}`, 'X-One: 1'])
    expect(via).toMatch(/^via: /)
    expect(rig.plain.received.toString('latin1')).not.toMatch(/proxy-/i)
  })

  it('with https goes out over verified TLS, and a value with it', async () => {
    const answer = await ask(secureUrl(), [...proxyAuthorization(rig.sandbox), ...credential()])
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.target).toBe('/a%2Fb?c=d')
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it('with http never carries a value', async () => {
    const answer = await ask(plainUrl(), [...proxyAuthorization(rig.sandbox), ...credential()])
    expect([answer.status, codeOf(answer)]).toEqual([403, 'plaintext'])
    expect(rig.plain.connections).toBe(0)
  })

  it('shares its connection with any others, each judged alone', async () => {
    const wire = await openProxy(rig)
    const proof = proxyAuthorization(rig.sandbox)
    wire.write(absolute(`GET ${plainUrl()}`, proof))
    wire.write(absolute(`GET ${secureUrl()}`, []))
    wire.write(absolute(`GET ${secureUrl()}`, [...proof, ...credential()]))
    const statuses = [await wire.message(), await wire.message(), await wire.message()].map((answer) => answer.status)
    expect(statuses).toEqual([200, 407, 200])
    expect(rig.upstream.requests).toHaveLength(1)
    wire.socket.destroy()
  })

  it('has its body passed, both ways', async () => {
    const wire = await openProxy(rig)
    const framed = ['Transfer-Encoding', 'chunked', ...proxyAuthorization(rig.sandbox)]
    wire.write(`${absolute(`POST ${plainUrl()}`, framed)}5\r\nhello\r\n0\r\n\r\n`)
    expect((await wire.message()).body.toString()).toBe('ok')
    expect(rig.plain.last.body.toString()).toBe('hello')
    wire.socket.destroy()
  })

  it.each(['ftp://api.test/', 'file:///etc/passwd', 'ws://api.test/', '/', '*', 'api.test/', 'http:api.test'])(
    'needs a scheme the proxy knows and a host: %s',
    async (target) => {
      const wire = await openProxy(rig)
      const [name, value] = proxyAuthorization(rig.sandbox)
      wire.write(`GET ${target} HTTP/1.1\r\nHost: api.test\r\n${name}: ${value}\r\n\r\n`)
      expect((await wire.message()).status).toBe(400)
      wire.socket.destroy()
    },
  )

  describe('without the right credentials', () => {
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
    const wrong: { readonly name: string; readonly field: () => string | null }[] = [
      { name: 'none', field: () => null },
      { name: 'an empty one', field: () => '' },
      { name: 'a wrong token', field: () => basic('box:coat_sbx_wrong') },
      { name: 'the token cut short', field: () => basic(`box:${rig.sandbox.token.slice(0, -1)}`) },
      { name: 'the token and more', field: () => basic(`box:${rig.sandbox.token}x`) },
      { name: 'an unknown sandbox', field: () => basic(`nobody:${rig.sandbox.token}`) },
      { name: 'no sandbox', field: () => basic(`:${rig.sandbox.token}`) },
      { name: 'no token', field: () => basic('box:') },
      { name: 'no colon', field: () => basic('box') },
      { name: 'another scheme', field: () => `Bearer ${rig.sandbox.token}` },
      { name: 'what is not base64', field: () => 'Basic ***' },
      { name: 'a placeholder', field: () => basic(`box:${rig.secret.placeholder}`) },
    ]

    it.each(wrong)('($name) it is answered 407, and nothing else happens', async ({ field }) => {
      const value = field()
      const answer = await ask(secureUrl(), [
        ...(value === null ? [] : ['Proxy-Authorization', value]),
        ...credential(),
      ])
      expect([answer.status, codeOf(answer)]).toEqual([407, 'identity_required'])
      expect(valuesOf(answer.fields, 'proxy-authenticate')).toEqual(['Basic realm="coatcheck", charset="UTF-8"'])
      expect(rig.upstream.connections).toBe(0)
    })

    it.each(wrong)('($name) so is CONNECT', async ({ field }) => {
      const value = field()
      const wire = await openProxy(rig)
      const proof = value === null ? '' : `Proxy-Authorization: ${value}\r\n`
      wire.write(`CONNECT ${ALLOWED}:443 HTTP/1.1\r\nHost: ${ALLOWED}:443\r\n${proof}\r\n`)
      const answer = await wire.message()
      expect([answer.status, codeOf(answer)]).toEqual([407, 'identity_required'])
      expect(valuesOf(answer.fields, 'proxy-authenticate')).toEqual(['Basic realm="coatcheck", charset="UTF-8"'])
      await wire.closed
    })

    it('every answer is the same but for its request id', async () => {
      const bodies: string[] = []
      for (const { field } of wrong) {
        const { body } = await ask(secureUrl(), ['Proxy-Authorization', field() ?? ''])
        const { error } = JSON.parse(body.toString()) as Refusal
        bodies.push(body.toString().replace(error.requestId, ''))
      }
      expect(new Set(bodies).size).toBe(1)
    })

    it('two of them are refused, even if one is right', async () => {
      const proof = proxyAuthorization(rig.sandbox)
      const answer = await ask(secureUrl(), [...proof, ...proof])
      expect([answer.status, codeOf(answer)]).toEqual([400, 'bad_request'])
    })
  })

  it('by a sandbox whose token was changed is answered 407, and so is its open tunnel', async () => {
    const sandbox = await rig.sandboxWith('rotated', {})
    const tunnel = await openTunnel(sandbox, `${ALLOWED}:${rig.upstream.port}`)
    const closed = new Promise((resolve) => tunnel.once('close', resolve))
    const { token } = await rig.app.data.sandboxes.rotateToken(rig.principal, 'rotated')
    await closed
    expect((await ask(secureUrl(), proxyAuthorization(sandbox))).status).toBe(407)
    expect((await ask(secureUrl(), proxyAuthorization({ name: 'rotated', token }))).status).toBe(200)
  })
})

describe('a listener bound to one sandbox', () => {
  beforeAll(async () => {
    rig = await Rig.start({ env: { COATCHECK_PROXY_IDENTITY: 'sandbox:box' } })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it('takes requests without credentials as that sandbox’s', async () => {
    const answer = await ask(secureUrl(), credential())
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    const event = await until(async () => (await rig.events()).find((each) => each.kind === 'exchange'))
    expect(event).toMatchObject({ sandbox: 'box' })
  })

  it('does not look at credentials, and does not forward them', async () => {
    const answer = await ask(secureUrl(), ['Proxy-Authorization', 'Basic d3Jvbmc6d3Jvbmc=', ...credential()])
    expect(answer.status).toBe(200)
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/proxy-auth/i)
  })

  it('answers 407 once that sandbox is deleted', async () => {
    await rig.app.data.sandboxes.delete(rig.principal, 'box')
    expect((await ask(secureUrl(), credential())).status).toBe(407)
  })
})
