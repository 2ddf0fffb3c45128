/**
 * What an origin answers through the gateway: redirects lead on below the gateway's address or to the origin itself, and
 * a cookie is kept to the route that set it, because to the client all routes are one host.
 */
import http from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ALLOWED, Rig } from '../support/rig.ts'
import { answerTo } from '../support/sandbox-client.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start({
    env: { COATCHECK_GATEWAY_LISTEN: '127.0.0.1:0' },
    envFor: ({ tls }) => ({ COATCHECK_GATEWAY_ROUTES: JSON.stringify({ v1: `https://${ALLOWED}:${tls}/v1` }) }),
  })
})
afterEach(() => rig.upstream.clear())
afterAll(async () => {
  await rig.stop()
})

async function ask(path: string) {
  const port = rig.app.addressOf('gateway.listen')?.port
  const answer = await answerTo(http.request({ host: '127.0.0.1', port, path, agent: false }))
  rig.seen.push(answer.body, Buffer.from(answer.rawHeaders.join('\n')))
  return answer
}

describe('the answer of an origin', () => {
  const base = () => `/gateway/v1/~${rig.sandbox.name}:${rig.sandbox.token}`
  const origin = () => `https://${ALLOWED}:${rig.upstream.port}`

  it.each([
    ['its own URL', () => `${origin()}/v1/next?x#y`, () => `${base()}/next?x#y`],
    ['its own URL in capitals', () => `HTTPS://API.test.:${rig.upstream.port}/v1/next`, () => `${base()}/next`],
    ['a path below its prefix', () => '/v1/next', () => `${base()}/next`],
    ['its prefix itself', () => '/v1', () => base()],
    ['a path outside its prefix', () => '/login', () => `${origin()}/login`],
    ['a path that only begins like its prefix', () => '/v10', () => `${origin()}/v10`],
    ['a relative path', () => 'next', () => 'next'],
    ['another host', () => 'https://evil.test/v1/x', () => 'https://evil.test/v1/x'],
    ['another host without a scheme', () => '//evil.test/v1/x', () => '//evil.test/v1/x'],
  ])('leads on from a redirect to %s', async (_name, sent, expected) => {
    rig.upstream.answerWith((_request, response) => response.writeHead(302, { location: sent() }).end())
    expect((await ask(`${base()}/`)).headers.location).toBe(expected())
  })

  it.each([
    ['a=1', () => 'a=1'],
    ['a=1; Path=/; Secure; HttpOnly', () => `a=1; Path=${base()}; Secure; HttpOnly`],
    ['a=1; path=/v1/chat', () => `a=1; Path=${base()}/chat`],
    ['a=1; Domain=test; Path=/v1', () => `a=1; Path=${base()}`],
    ['a=path=/;DOMAIN=.api.test;PATH=/other', () => `a=path=/; Path=${base()}/other`],
    ['a=1; Path=', () => 'a=1; Path='],
  ])('keeps a cookie to the route: %s', async (sent, expected) => {
    rig.upstream.answerWith((_request, response) => response.writeHead(200, { 'set-cookie': [sent, 'b=2'] }).end())
    expect((await ask(`${base()}/`)).headers['set-cookie']).toEqual([expected(), 'b=2'])
  })
})
