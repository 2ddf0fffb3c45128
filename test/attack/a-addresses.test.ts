/**
 * Contract: a name is resolved once for each connection, every address of the answer is vetted, a vetted one is dialled and
 * the connected socket must be it. One bad address among good ones refuses them all. Real DNS packets, real sockets.
 *
 * The proxy has no setting for name servers, so these drive `Upstream.open`, which is all that dials.
 */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { compileAddressGuard } from '../../src/core/address.ts'
import { canonicalHost } from '../../src/core/host.ts'
import { DnsResolver } from '../../src/proxy/resolver.ts'
import { Upstream, type UpstreamPorts } from '../../src/proxy/upstream.ts'
import { upstreamContext } from '../../src/proxy/upstream-tls.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { type DnsRecord, DnsStub, type DnsType } from '../support/dns-stub.ts'
import { TestAuthority } from '../support/test-authority.ts'

/** Where the test's upstream is; everything else on loopback stands for what must never be reached. */
const ALLOWED = '127.0.0.2'

let dns: DnsStub
let authority: TestAuthority
let server: Server
let dials: DialCounter
let received: Buffer[]

beforeAll(async () => {
  dns = await DnsStub.start()
  authority = await TestAuthority.create()
  // On every address of loopback, so that a wrong dial would succeed and be seen.
  server = createServer((socket) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk))
    socket.on('error', () => undefined)
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  dials = new DialCounter(server)
})
beforeEach(() => {
  received = []
  dials.reset()
})
afterAll(async () => {
  await dns.stop()
  await new Promise((resolve) => server.close(resolve))
  await authority.remove()
})

function upstream(allowed: readonly string[] = [`${ALLOWED}/32`], own: UpstreamPorts['own'] = () => []): Upstream {
  return new Upstream({
    resolver: new DnsResolver(new Map(), [dns.server]),
    guard: compileAddressGuard({ allowed, own: () => [] }),
    own,
    local: () => ['127.0.0.1'],
    secureContext: upstreamContext(null, authority.certificatePem),
    proxy: null,
    connectTimeoutMs: 5_000,
  })
}

const port = () => (server.address() as AddressInfo).port

/** The address that was connected to, or the code of the refusal. */
async function open(from: Upstream, host = 'api.test'): Promise<string> {
  try {
    const { socket, peer } = await from.open({ scheme: 'http', host: canonicalHost(host), port: port() }, [])
    socket.destroy()
    return peer.address
  } catch (error) {
    return (error as { code: string }).code
  }
}

const records = (type: DnsType, ...values: readonly string[]): DnsRecord[] =>
  values.map((value) => ({ name: 'api.test', type, value }))

describe('an answer of several addresses', () => {
  it.each([
    ['a private one', ['10.0.0.1'], []],
    ['loopback', ['127.0.0.1'], []],
    ['metadata', ['169.254.169.254'], []],
    ['this host', ['0.0.0.0'], []],
    ['a private one over IPv6', [], ['fd00::1']],
    ['loopback over IPv6', [], ['::1']],
    ['metadata as mapped IPv6', [], ['::ffff:169.254.169.254']],
    ['metadata behind NAT64', [], ['64:ff9b::a9fe:a9fe']],
  ])('A27 that holds %s among good ones is refused as a whole, and nothing is dialled', async (_what, v4, v6) => {
    for (const good of [
      [ALLOWED, ...v4],
      [...v4, ALLOWED],
    ]) {
      dns.answerWith((_name, type) => (type === 'A' ? records('A', ...good) : records('AAAA', ...v6)))
      expect(await open(upstream())).toBe('address_denied')
    }
    expect(dials.count).toBe(0)
  })

  it('A27 of which only the IPv6 one is private is refused, and nothing is dialled', async () => {
    dns.answerWith((_name, type) => (type === 'AAAA' ? records('AAAA', '::1') : []))
    expect(await open(upstream())).toBe('address_denied')
    expect(dials.count).toBe(0)
  })

  it('A27 that holds good addresses alone is dialled at the first that answers', async () => {
    dns.answerWith((_name, type) => (type === 'A' ? records('A', ALLOWED, '127.0.0.3') : []))
    expect(await open(upstream(['127.0.0.2/31']))).toBe(ALLOWED)
    expect(dials.count).toBe(1)
  })
})

describe('a name that is rebound', () => {
  it('A27 between two connections is refused the second time, and the bad address is never dialled', async () => {
    dns.answerWith((_name, type, nth) => (type === 'A' ? records('A', nth === 0 ? ALLOWED : '127.0.0.1') : []))
    const one = upstream()
    expect(await open(one)).toBe(ALLOWED)
    expect(await open(one)).toBe('address_denied')
    expect(dials.count).toBe(1)
  })

  it('A27 between look-up and dial has no effect: the name is asked once and the vetted address is dialled', async () => {
    dns.answerWith((_name, type, nth) => (type === 'A' ? records('A', nth === 0 ? ALLOWED : '169.254.169.254') : []))
    expect(await open(upstream())).toBe(ALLOWED)
    expect(dns.questions.toSorted()).toEqual(['api.test A', 'api.test AAAA'])
  })

  it('A27 to an address that the system turns into another is cut before a byte is sent', async () => {
    // Connecting to 0.0.0.0 reaches 127.0.0.1, which no setting allowed.
    dns.answerWith((_name, type) => (type === 'A' ? records('A', '0.0.0.0') : []))
    expect(await open(upstream(['0.0.0.0/32']))).toBe('upstream_unreachable')
    expect(Buffer.concat(received)).toHaveLength(0)
  })

  it('A27 to one of our own listeners is refused though its range is allowed, and nothing is dialled', async () => {
    dns.answerWith((_name, type) => (type === 'A' ? records('A', ALLOWED) : []))
    const ours = (address: string) => () => [{ address, port: port() }]
    expect(await open(upstream(['127.0.0.0/8'], ours('0.0.0.0')))).toBe('address_denied')
    expect(await open(upstream(['127.0.0.0/8'], ours(ALLOWED)))).toBe('address_denied')
    expect(dials.count).toBe(0)
  })
})

describe('a name that leads elsewhere', () => {
  it.each(['169.254.169.254', '127.0.0.1', '10.0.0.1'])(
    'A29 by CNAME to %s is judged by the address and refused',
    async (bad) => {
      dns.answerWith((_name, type) =>
        type === 'A'
          ? [...records('CNAME', 'internal.evil.test'), { name: 'internal.evil.test', type: 'A', value: bad }]
          : [],
      )
      expect(await open(upstream())).toBe('address_denied')
      expect(dials.count).toBe(0)
    },
  )

  it('A29 by the address in its own text, as nip.io does, is judged by the address and refused', async () => {
    dns.answerWith((name, type) => (type === 'A' ? [{ name, type, value: '169.254.169.254' }] : []))
    expect(await open(upstream(), '169.254.169.254.nip.test')).toBe('address_denied')
    expect(dials.count).toBe(0)
  })

  it('A29 by CNAME to an allowed address is dialled', async () => {
    dns.answerWith((_name, type) =>
      type === 'A' ? [...records('CNAME', 'cdn.test'), { name: 'cdn.test', type: 'A', value: ALLOWED }] : [],
    )
    expect(await open(upstream())).toBe(ALLOWED)
  })

  it('A29 nowhere is reported as unresolved, and nothing is dialled', async () => {
    dns.answerWith(() => [])
    expect(await open(upstream(), 'nowhere.invalid')).toBe('upstream_unresolved')
    expect(dials.count).toBe(0)
  })
})
