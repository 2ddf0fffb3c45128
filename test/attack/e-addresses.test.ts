/**
 * Addresses that a sandbox must not reach through the proxy: the machine's own services, its cloud's metadata, private
 * networks, and the proxy itself. Judged by address, after resolving, in every spelling; nothing is dialled.
 */

import http from 'node:http'
import { networkInterfaces } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closingEvent, outcome } from '../support/audited.ts'
import { freePort } from '../support/free-port.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { answerTo, openTls, openTunnel } from '../support/sandbox-client.ts'

const METADATA = [
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  '[fd00:ec2::254]',
  '[fd20:ce::254]',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::]',
]
const PRIVATE = [
  '10.0.0.1',
  '10.255.255.255',
  '172.16.0.1',
  '172.31.255.254',
  '192.168.0.1',
  '100.64.0.1',
  '100.127.255.254',
  '127.0.0.1',
  '127.1.2.3',
  '0.0.0.0',
  '0.1.2.3',
  '169.254.1.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '198.18.0.1',
  '198.19.255.254',
  '192.0.0.1',
  '192.0.2.1',
  '198.51.100.1',
  '203.0.113.1',
  '[::]',
  '[::1]',
  '[fc00::1]',
  '[fdff::1]',
  '[fe80::1]',
  '[ff02::1]',
  '[::127.0.0.1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:10.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::1]',
  '[2002:7f00:1::]',
  '[2001:db8::1]',
  '[2001::1]',
  '[4000::1]',
]

/** A request over TLS to that authority; nothing is dialled, so the answer must be ours. */
async function ask(rig: Rig, host: string, port: number) {
  const bare = host.replace(/^\[|\]$/g, '')
  const socket = await openTls(rig, bare, { port, checkServerIdentity: () => undefined })
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const headers = ['Host', port === 443 ? host : `${host}:${port}`, 'Authorization', `Bearer ${rig.secret.placeholder}`]
  return await answerTo(
    http.request({ createConnection: () => socket, path: '/e17', headers, setDefaultHeaders: false }),
  )
}

async function expectDenied(rig: Rig, host: string, port = 443): Promise<void> {
  const answer = await ask(rig, host, port)
  expect([answer.status, answer.error?.code]).toEqual([403, 'address_denied'])
  const which = { requestId: answer.error?.requestId ?? '' }
  expect(await outcome(rig, which)).toEqual({ decision: 'refused', reason: 'address_denied', status: 403 })
  expect((await closingEvent(rig, which)).upstreamAddress).toBeNull()
}

describe('E17 without an exception', () => {
  let rig: Rig
  const named = [...METADATA, ...PRIVATE].map((address, i): [string, string] => [
    `h${i}.test`,
    address.replace(/^\[|\]$/g, ''),
  ])
  beforeAll(async () => {
    const resolve = JSON.stringify({ ...Object.fromEntries(named), 'metadata.google.internal': '169.254.169.254' })
    rig = await Rig.start({ env: { COATCHECK_EGRESS_PRIVATEADDRESSES: '[]', COATCHECK_UPSTREAM_RESOLVE: resolve } })
    await rig.app.data.secrets.update(rig.principal, 'openai', { hosts: null })
  })
  afterAll(async () => {
    expect(rig.upstream.connections + rig.plain.connections).toBe(0)
    await rig.stop()
  })

  it.each([...METADATA, ...PRIVATE])('E17 %s is not dialled', async (address) => {
    await expectDenied(rig, address)
  })

  it.each([...named, ['metadata.google.internal', 'metadata']])(
    'E17 nor is the name %s that stands for %s',
    async (name) => {
      await expectDenied(rig, name)
    },
  )

  it('E17 nor over plain HTTP', async () => {
    for (const host of ['169.254.169.254', 'metadata.google.internal', '[::ffff:169.254.169.254]', '127.0.0.1']) {
      const answer = await new RawSandbox(rig).ask(`GET http://${host}/latest/meta-data/ HTTP/1.1`, `Host: ${host}`)
      expect([answer.status, answer.code]).toEqual([403, 'address_denied'])
    }
  })

  it.each([
    '2130706433',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '0',
    '127.0.0.1.',
    '017700000001',
    '0x7f000001',
    '[::1%25lo]',
    '[::ffff:7f.1]',
  ])('E17 another spelling, %s, is no host', async (host) => {
    const { answer } = await new RawSandbox(rig).connect(`${host}:443`)
    if (answer.status === 200) await expectDenied(rig, host.replace(/\.$/, ''))
    else expect(answer.status).toBe(400)
  })
})

describe('E17 with every private range excepted', () => {
  let rig: Rig
  beforeAll(async () => {
    const ranges = '["0.0.0.0/0","::/0"]'
    rig = await Rig.start({ env: { COATCHECK_EGRESS_PRIVATEADDRESSES: ranges } }).catch(() =>
      Rig.start({
        env: {
          COATCHECK_EGRESS_PRIVATEADDRESSES: '["169.254.0.0/16","10.0.0.0/8","fd00::/8","100.64.0.0/10","127.0.0.0/8"]',
        },
      }),
    )
    await rig.app.data.secrets.update(rig.principal, 'openai', { hosts: null })
  })
  afterAll(async () => {
    await rig.stop()
  })

  it.each(METADATA)('E17 metadata at %s stays out of reach', async (address) => {
    await expectDenied(rig, address)
  })
})

describe('the program itself', () => {
  let rig: Rig
  let proxyPort: number
  let apiPort: number
  const machine = Object.values(networkInterfaces()).flatMap((each) =>
    (each ?? []).map(({ address, family }) => [address, family] as const),
  )
  const own = ['127.0.0.1', '127.0.0.2', '0.0.0.0', '[::1]', '[::]', '[::ffff:127.0.0.1]', 'self.test', 'localhost']
  beforeAll(async () => {
    proxyPort = await freePort()
    apiPort = await freePort()
    rig = await Rig.start({
      names: ['self.test'],
      ports: [proxyPort, apiPort],
      env: {
        COATCHECK_PROXY_LISTEN: `0.0.0.0:${proxyPort}`,
        COATCHECK_API_LISTEN: `0.0.0.0:${apiPort}`,
        COATCHECK_EGRESS_PRIVATEADDRESSES:
          '["127.0.0.0/8","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","::1/128","0.0.0.0/8"]',
      },
    })
  })
  afterAll(async () => {
    await rig.stop()
  })

  const addresses = [
    ...own,
    ...machine
      .filter(([address]) => !address.includes('%') && !address.startsWith('fe80'))
      .map(([address, family]) => (family === 'IPv6' ? `[${address}]` : address)),
  ]

  it.each(addresses)('E16 its API is not reached as %s, although private addresses may be dialled', async (host) => {
    const before = rig.logLines.length
    for (const port of [apiPort, proxyPort]) {
      const tunnel = await openTunnel(rig.sandbox, `${host}:${port}`)
      const request = http.request({
        createConnection: () => tunnel,
        path: '/healthz',
        headers: { host: `${host}:${port}` },
      })
      const answer = await answerTo(request)
      expect([answer.status, answer.error?.code]).toEqual([403, 'address_denied'])
    }
    expect(rig.logLines.slice(before).join('')).not.toContain('healthz')
  })

  it('E16 what else listens on the machine is reached, so it was the listener that was refused', async () => {
    const answer = await ask(rig, 'self.test', rig.upstream.port)
    expect(answer.error?.code).not.toBe('address_denied')
  })

  it('E16 a sandbox has no business with the API directly either', async () => {
    const basic = Buffer.from(`${rig.sandbox.name}:${rig.sandbox.token}`).toString('base64')
    for (const authorization of [`Bearer ${rig.sandbox.token}`, `Basic ${basic}`]) {
      const url = `http://127.0.0.1:${apiPort}/api/v1/secrets`
      const answer = await answerTo(http.get(url, { headers: { authorization } }))
      expect([401, 403, 404]).toContain(answer.status)
      expect(answer.body.toString()).not.toContain('openai')
    }
  })

  it('E15 nor is the proxy dialled by itself', async () => {
    const answer = await new RawSandbox(rig).ask(
      `GET http://self.test:${proxyPort}/ HTTP/1.1`,
      `Host: self.test:${proxyPort}`,
    )
    expect([answer.status, answer.code]).toEqual([403, 'address_denied'])
  })
})
