/** Contract: one context per host, minted once, renewed early, bounded; TLS 1.2 and up, AEAD with forward secrecy, no resumption. */
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { LeafCache } from '../../src/authority/leaf-cache.ts'
import { NOW, serveTls, temporaryDirectory } from './setting.ts'

const DAY = 86_400_000

async function setUp(max?: number) {
  const time = { now: NOW }
  const clock = () => time.now
  const authority = await Authority.open({ dir: await temporaryDirectory(), clock })
  return { authority, time, leaves: new LeafCache({ authority, clock, ...(max === undefined ? {} : { max }) }) }
}

describe('a leaf', () => {
  it('is minted once for a hundred callers at once', async () => {
    const { leaves } = await setUp()
    const contexts = await Promise.all(Array.from({ length: 100 }, () => leaves.contextFor('api.test')))
    expect(new Set(contexts).size).toBe(1)
    expect(leaves.issued).toBe(1)
  })

  it('is known once it is there, and asking is no use of it', async () => {
    const { leaves } = await setUp(2)
    expect(leaves.has('a.test')).toBe(false)
    await leaves.contextFor('a.test')
    await leaves.contextFor('b.test')
    expect(leaves.has('a.test')).toBe(true)
    await leaves.contextFor('c.test')
    expect(leaves.has('a.test')).toBe(false)
  })

  it('is renewed after two thirds of its life', async () => {
    const { leaves, time } = await setUp()
    const first = await leaves.contextFor('api.test')
    time.now = NOW + 132 * DAY
    expect(await leaves.contextFor('api.test')).toBe(first)
    time.now = NOW + 133 * DAY
    expect(leaves.has('api.test')).toBe(false)
    expect(await leaves.contextFor('api.test')).not.toBe(first)
    expect(leaves.issued).toBe(2)
  })

  it('is replaced when the clock is put back behind its beginning', async () => {
    const { leaves, time } = await setUp()
    await leaves.contextFor('api.test')
    time.now = NOW - 2 * DAY
    expect(leaves.has('api.test')).toBe(false)
    await leaves.contextFor('api.test')
    expect(leaves.issued).toBe(2)
  })

  it('is not kept for a name that is refused, and the refusal is a rejection', async () => {
    const { leaves } = await setUp()
    await expect(leaves.contextFor('*.test')).rejects.toMatchObject({ code: 'invalid_host' })
    expect([leaves.has('*.test'), leaves.size, leaves.issued]).toEqual([false, 0, 0])
  })
})

describe('the cache', () => {
  it('keeps no more hosts than it may, the latest used', async () => {
    const { leaves } = await setUp(10)
    await leaves.contextFor('kept.test')
    for (let index = 0; index < 50; index++) {
      await leaves.contextFor(`h${index}.test`)
      await leaves.contextFor('kept.test')
    }
    expect(leaves.size).toBe(10)
    expect(leaves.issued).toBe(51)
  })
})

describe('a context', () => {
  async function origin() {
    const { authority, leaves } = await setUp()
    // The leaf lives at NOW and its clients today: they judge the protocol, not the dates.
    const port = await serveTls(await leaves.contextFor('api.test'))
    const options = { host: '127.0.0.1', port, servername: 'api.test', ca: authority.certificatePem }
    return { options: { ...options, rejectUnauthorized: false }, authority }
  }

  const connected = (options: ConnectionOptions) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect(options, () => resolve(socket))
      socket.once('error', reject)
    })

  it('presents the leaf with the certificate of the authority', async () => {
    const { options, authority } = await origin()
    const socket = await connected(options)
    const peer = socket.getPeerCertificate(true)
    socket.destroy()
    expect(peer.subjectaltname).toBe('DNS:api.test')
    expect(peer.issuerCertificate.fingerprint256).toBe(authority.fingerprint)
  })

  it.each([
    ['TLSv1.3', undefined, 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['TLSv1.3', 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'],
    ['TLSv1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256'],
  ] as const)('speaks %s with %s', async (version, ciphers, expected) => {
    const { options } = await origin()
    const offered = ciphers === undefined ? {} : { ciphers }
    const socket = await connected({ ...options, ...offered, minVersion: version, maxVersion: version })
    expect([socket.getProtocol(), socket.getCipher().standardName]).toEqual([version, expected])
    socket.destroy()
  })

  it.each([
    ['CBC', 'TLSv1.2', 'ECDHE-ECDSA-AES128-SHA256'],
    ['CBC with SHA-1', 'TLSv1.2', 'ECDHE-ECDSA-AES256-SHA'],
    ['CCM', 'TLSv1.2', 'ECDHE-ECDSA-AES128-CCM'],
    ['short-tag CCM', 'TLSv1.2', 'ECDHE-ECDSA-AES256-CCM8:@SECLEVEL=0'],
    ['ARIA', 'TLSv1.2', 'ECDHE-ECDSA-ARIA128-GCM-SHA256'],
    ['RSA key exchange', 'TLSv1.2', 'AES128-GCM-SHA256'],
    ['static DH', 'TLSv1.2', 'DHE-RSA-AES128-GCM-SHA256'],
    ['CCM', 'TLSv1.3', 'TLS_AES_128_CCM_SHA256'],
    ['CBC', 'TLSv1.1', 'ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0'],
    ['CBC', 'TLSv1', 'ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0'],
  ] as const)('refuses %s of %s (%s)', async (_what, version, ciphers) => {
    const { options } = await origin()
    const attempt = connected({ ...options, ciphers, minVersion: version, maxVersion: version })
    await expect(attempt).rejects.toThrow(/alert (handshake failure|protocol version)/)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('resumes no session of %s', async (version) => {
    const { options } = await origin()
    const only = { ...options, minVersion: version, maxVersion: version }
    const first = await connected(only)
    const sessions: Buffer[] = [first.getSession() ?? Buffer.alloc(0)]
    first.on('session', (session) => sessions.push(session))
    first.end('GET / HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n')
    await new Promise((resolve) => first.resume().once('close', resolve))
    for (const session of sessions) {
      const second = await connected({ ...only, session })
      expect(second.isSessionReused()).toBe(false)
      expect(second.getTLSTicket()?.length ?? 0).toBe(0)
      second.destroy()
    }
  })
})
