/**
 * Contract: the authority's key is readable by its owner alone and shown by nothing; what it signs is one host, once, below
 * which nothing can be signed; and without it the program does not start, and makes no other.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmod, cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callApi } from '../support/control-plane.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.ts')
const KEY = 'authority.key.pem'
const CERTIFICATE = 'authority.cert.pem'
const NOBODY = 65_534

let rig: Rig
let box: RawSandbox

beforeAll(async () => {
  rig = await Rig.start({ names: ['a.wild.test'] })
  box = new RawSandbox(rig)
  const lines = ['GET / HTTP/1.1', `Host: api.test:${rig.upstream.port}`, box.authorization]
  await box.askInTunnel('api.test', lines)
})
afterAll(async () => {
  await rig.stop()
})

async function leafOf(host: string): Promise<X509Certificate> {
  const stream = await box.openTls(host)
  const leaf = stream.getPeerX509Certificate() as X509Certificate
  stream.destroy()
  return leaf
}

/** The key's number in the forms that a program would write it in. */
async function keyForms(): Promise<readonly Buffer[]> {
  const text = await readFile(join(rig.dataDir, KEY), 'latin1')
  const { d = '' } = createPrivateKey(text).export({ format: 'jwk' })
  const number = Buffer.from(d, 'base64url')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('-----'))
  return [number, ...[number.toString('hex'), d, number.toString('base64'), ...lines].map((form) => Buffer.from(form))]
}

describe('the key', () => {
  it('C01 is in no file but its own, and in no log line, answer or event', async () => {
    const forms = await keyForms()
    const places: Record<string, Buffer> = {
      log: Buffer.from(rig.logLines.join('')),
      'what the sandbox saw': Buffer.concat(rig.seen),
      audit: Buffer.from(JSON.stringify(await rig.events())),
    }
    for (const entry of await readdir(rig.dataDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name === KEY) continue
      places[entry.name] = await readFile(join(entry.parentPath, entry.name))
    }
    const routes = ['', '/bundle', '/certificate'].map((path) => `/v1/authority${path}`)
    for (const path of [...routes, '/v1/secrets', '/v1/sandboxes', '/v1/tokens', '/v1/audit/events', '/readyz']) {
      const { status, text } = await callApi(rig, 'GET', path)
      expect(status, path).toBe(200)
      places[path] = Buffer.from(text)
    }
    for (const path of [
      `/v1/authority/${KEY}`,
      `/${KEY}`,
      '/v1/authority/..%2fauthority.key.pem',
      '/v1/authority/key',
    ]) {
      const { status, text } = await callApi(rig, 'GET', path)
      expect(status, path).toBe(404)
      places[path] = Buffer.from(text)
    }
    const leaks = Object.entries(places).filter(([, bytes]) => forms.some((form) => bytes.includes(form)))
    expect(leaks.map(([place]) => place)).toEqual([])
  })

  it('C01 and everything else private in the data directory belongs to its owner alone', async () => {
    const open: string[] = []
    for (const entry of await readdir(rig.dataDir, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      const isPublic = path.includes('/trust') || entry.name === CERTIFICATE || entry.name.endsWith('.pub.pem')
      if (!isPublic && ((await stat(path)).mode & 0o077) !== 0) open.push(entry.name)
    }
    expect(open).toEqual([])
  })

  it.skipIf(process.getuid?.() !== 0)(
    'C01 cannot be read by another user, nor from the process (skipped without root)',
    async () => {
      await chmod(rig.dataDir, 0o755)
      const { pid } = process
      const files = [KEY, 'admin-token', 'coatcheck.db'].map((name) => join(rig.dataDir, name))
      for (const file of [...files, `/proc/${pid}/environ`, `/proc/${pid}/mem`]) {
        const { status, stdout } = spawnSync('head', ['-c', '1', file], { uid: NOBODY, gid: NOBODY })
        expect([status === 0, stdout.length], file).toEqual([false, 0])
      }
      const { status } = spawnSync('ls', [`/proc/${pid}/fd`], { uid: NOBODY, gid: NOBODY })
      expect(status).not.toBe(0)
      await chmod(rig.dataDir, 0o700)
    },
  )
})

describe('what the authority signs', () => {
  it('C02 is a leaf for one host, for TLS servers, below which nothing can be signed', async () => {
    const leaf = await leafOf('a.wild.test')
    expect(leaf).toMatchObject({ subjectAltName: 'DNS:a.wild.test', ca: false, keyUsage: ['1.3.6.1.5.5.7.3.1'] })
    expect(leaf.checkHost('api.test')).toBeUndefined()
    expect(leaf.checkHost('wild.test')).toBeUndefined()
    expect(leaf.checkHost('b.a.wild.test')).toBeUndefined()
    // Key usage, critical: digital signature alone (RFC 5280 4.2.1.3).
    expect(leaf.raw.includes(Buffer.from('0603551d0f0101ff040403020780', 'hex'))).toBe(true)
  })

  it('C02 comes from an authority that may sign leaves alone', () => {
    const authority = new X509Certificate(rig.app.data.authority.certificatePem)
    expect(authority.ca).toBe(true)
    // Basic constraints, critical: CA, path length 0; key usage, critical: certificates and revocation lists.
    expect(authority.raw.includes(Buffer.from('0603551d130101ff040830060101ff020100', 'hex'))).toBe(true)
    expect(authority.raw.includes(Buffer.from('0603551d0f0101ff040403020106', 'hex'))).toBe(true)
  })

  it('C02 has a key that no file holds, and every installation has an authority of its own', async () => {
    const leaf = await leafOf('api.test')
    for (const entry of await readdir(rig.dataDir, { recursive: true, withFileTypes: true })) {
      const text = entry.isFile() ? await readFile(join(entry.parentPath, entry.name), 'latin1') : ''
      for (const [pem] of text.matchAll(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----/g)) {
        expect(leaf.checkPrivateKey(createPrivateKey(pem))).toBe(false)
      }
    }
    const other = await Rig.start()
    expect(other.app.data.authority.fingerprint).not.toBe(rig.app.data.authority.fingerprint)
    expect(leaf.verify(new X509Certificate(other.app.data.authority.certificatePem).publicKey)).toBe(false)
    await other.stop()
  })
})

describe('a start without the authority', () => {
  /** What `serve` says on standard error until that tells the reason, or until it ends; it is then ended. */
  async function complaintOf(dir: string, reason: RegExp): Promise<string> {
    const listen = { COATCHECK_PROXY_LISTEN: '127.0.0.1:0', COATCHECK_API_LISTEN: '127.0.0.1:0' }
    const env = { PATH: process.env['PATH'], HOME: dir, COATCHECK_DATADIR: dir, ...listen }
    const child = spawn(process.execPath, [MAIN, 'serve'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let text = ''
    for await (const chunk of child.stderr.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk
      if (reason.test(text)) break
    }
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    return text
  }

  async function authorityFiles(dir: string): Promise<Record<string, string>> {
    const files: Record<string, string> = {}
    for (const name of (await readdir(dir)).filter((name) => name.startsWith('authority.'))) {
      files[name] = await readFile(join(dir, name), 'latin1')
    }
    return files
  }

  it.each<[string, (dir: string) => Promise<unknown>, RegExp]>([
    ['its key', (dir) => rm(join(dir, KEY)), /authority\.key\.pem is missing/],
    ['its certificate', (dir) => rm(join(dir, CERTIFICATE)), /authority\.cert\.pem is missing/],
    ['the end of its key', (dir) => truncate(join(dir, KEY), 100), /authority\.key\.pem is damaged/],
    ['the privacy of its key', (dir) => chmod(join(dir, KEY), 0o644), /can be read by other users/],
    ['its certificate’s bytes', (dir) => writeFile(join(dir, CERTIFICATE), ''), /authority\.cert\.pem is damaged/],
  ])('C07 that lost %s is refused with the reason, and nothing is made or changed', async (_what, damage, reason) => {
    const dir = await mkdtemp(join(tmpdir(), 'coatcheck-lost-'))
    for (const name of [KEY, CERTIFICATE]) await cp(join(rig.dataDir, name), join(dir, name))
    await damage(dir)
    const before = await authorityFiles(dir)
    expect(await complaintOf(dir, reason)).toMatch(reason)
    expect(await authorityFiles(dir)).toEqual(before)
    await rm(dir, { recursive: true, force: true })
  })
})
