/**
 * Contract: what the machine's environment says of proxies and trust does not weaken the upstream side. Proxies named in it
 * are ignored, verification cannot be switched off by it, and our own authority does not become a root through it.
 */
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { run } from '../authority/setting.ts'
import { CertificateForge, ownAuthority } from '../support/certificate-forge.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { TlsOrigin } from '../support/tls-origin.ts'

const PROGRAM = resolve(import.meta.dirname, 'programs/one-exchange.ts')
const MAIN = resolve(import.meta.dirname, '../../src/main.ts')

/** A data directory with an authority in it, as a machine has it that trusts what coatcheck signs. */
let dataDir: string
let authorityFile: string

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'coatcheck-environment-'))
  await Authority.open({ dir: dataDir, clock: Date.now })
  authorityFile = join(dataDir, 'authority.cert.pem')
})
afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true })
})

/** What became of one exchange in a program under this environment. */
async function exchange(mode: readonly string[], env: Record<string, string>): Promise<unknown> {
  const { stdout, stderr, code } = await run(process.execPath, [PROGRAM, ...mode], { env })
  if (code !== 0) throw new Error(`the program failed: ${stderr}`)
  return JSON.parse(stdout) as unknown
}

describe('a proxy named in our own environment', () => {
  it('A31 is never dialled, over TLS or without', async () => {
    const evil = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    await once(evil, 'listening')
    const dials = new DialCounter(evil)
    const url = `http://127.0.0.1:${(evil.address() as AddressInfo).port}`
    const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy']
    const env = { ...Object.fromEntries(names.map((name) => [name, url])), NO_PROXY: '', no_proxy: '' }
    const result = await exchange(['trusted'], { ...env, NODE_USE_ENV_PROXY: '1' })
    expect(result).toMatchObject({ tls: 200, plain: 200, released: true })
    expect(dials.count).toBe(0)
    evil.close()
    await once(evil, 'close')
  })
})

describe('NODE_TLS_REJECT_UNAUTHORIZED=0', () => {
  it('B07 stops the start, with the reason, and creates nothing', async () => {
    const dir = join(dataDir, 'never')
    const env = { COATCHECK_DATADIR: dir, COATCHECK_PROXY_LISTEN: '127.0.0.1:0', COATCHECK_API_LISTEN: '127.0.0.1:0' }
    const outcome = await run(process.execPath, [MAIN, 'serve'], { env: { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
    expect(outcome.code).toBeGreaterThan(0)
    expect(outcome.stderr).toContain('NODE_TLS_REJECT_UNAUTHORIZED')
    expect(await readdir(dataDir)).not.toContain('never')
  })

  it('B07 changes nothing for a proxy that runs all the same: an unknown authority gets no byte', async () => {
    const result = await exchange(['untrusted'], { NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    expect(result).toMatchObject({ tls: 502, code: 'upstream_tls', released: false, bytes: 0 })
  })
})

describe('our own authority among the roots of the machine', () => {
  it.each([
    ['NODE_EXTRA_CA_CERTS', {}],
    ['SSL_CERT_FILE', { NODE_OPTIONS: '--use-openssl-ca' }],
    ['SSL_CERT_FILE', { NODE_OPTIONS: '--use-system-ca' }],
  ])('B07 in %s with %j proves nothing upstream, and no byte is sent', async (variable, more) => {
    const result = await exchange(['own', dataDir], { ...more, [variable]: authorityFile })
    expect(result).toMatchObject({ tls: 502, code: 'upstream_tls', released: false, bytes: 0 })
  })

  it('B08 in upstream.extraCa proves nothing upstream, and no byte is sent', async () => {
    const forge = await CertificateForge.create()
    const origin = await TlsOrigin.start()
    const env = { COATCHECK_DATADIR: dataDir, COATCHECK_UPSTREAM_EXTRACA: authorityFile }
    const rig = await Rig.start({ env, ports: [origin.port] })
    const box = new RawSandbox(rig)
    origin.present(forge.issue({ issuer: await ownAuthority(dataDir), names: [['dns', 'api.test']] }))
    const lines = [`GET https://api.test:${origin.port}/ HTTP/1.1`, `Host: api.test:${origin.port}`, box.authorization]
    expect(verdict(await box.ask(...lines))).toEqual([502, 'upstream_tls'])
    expect([origin.dials, origin.received.length]).toEqual([1, 0])
    await rig.stop()
    await origin.stop()
    await forge.remove()
  })
})
