/**
 * Contract: the whole program with a provider's keys behind a URL. Who is signed in by a key that the provider has now is let in, nobody
 * else; and no token, whatever it says, makes the program ask the provider more often than it must.
 */
import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import tls from 'node:tls'
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { App } from '../../src/app.ts'
import { loadSettings } from '../../src/config.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { TestAuthority } from '../support/test-authority.ts'

const AUDIENCE = 'coatcheck'
const ISSUER = 'https://id.example.com/'
/** The certificates are judged by the real time. */
const START = Date.now()

interface SigningKey {
  readonly key: CryptoKey
  readonly public: JWK
}

let authority: TestAuthority
let provider: RecordingUpstream
let published: readonly JWK[]
let first: SigningKey
let app: App
const logged: string[] = []
const trusted = tls.getCACertificates('default')

async function signingKey(kid: string): Promise<SigningKey> {
  const pair = await generateKeyPair('ES256', { extractable: true })
  return { key: pair.privateKey, public: { ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256', use: 'sig' } }
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: START })
  authority = await TestAuthority.create()
  tls.setDefaultCACertificates([...trusted, authority.certificatePem])
  first = await signingKey('k1')
  published = [first.public]
  const answer = (_request: unknown, response: ServerResponse) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: published }))
  }
  provider = await RecordingUpstream.start({ authority, host: 'localhost', answer })
  app = await start(join(authority.dir, 'data'))
  const owner = app.data.tokens.systemPrincipal()
  await app.data.principals.create(owner, { kind: 'user', name: 'ann', role: 'viewer', externalId: `${ISSUER}|sub-1` })
})

afterEach(async () => {
  await app.close(0)
  await provider.stop()
  await authority.remove()
  tls.setDefaultCACertificates(trusted)
  vi.useRealTimers()
})

async function start(dataDir: string): Promise<App> {
  const jwks = `https://localhost:${provider.port}/keys`
  const env = {
    COATCHECK_DATADIR: dataDir,
    COATCHECK_API_LISTEN: '127.0.0.1:0',
    COATCHECK_AUDIT_SINKS: '["none"]',
    COATCHECK_API_OIDC: JSON.stringify({ issuer: ISSUER, audience: AUDIENCE, jwks }),
  }
  logged.length = 0
  return await App.start({
    settings: loadSettings({ file: null, env }),
    env: {},
    exportDir: null,
    ship: false,
    listen: { proxy: false, api: true },
    logTo: { write: (line) => void logged.push(line) },
  })
}

interface Said {
  readonly header?: Partial<JWTHeaderParameters>
  readonly audience?: string
  readonly expires?: number
}

async function token(by: SigningKey = first, { header, audience = AUDIENCE, expires }: Said = {}): Promise<string> {
  return await new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid: by.public.kid ?? '', ...header })
    .setIssuer(ISSUER)
    .setAudience(audience)
    .setSubject('sub-1')
    .setExpirationTime(expires ?? Date.now() / 1000 + 3600)
    .sign(by.key)
}

async function login(jwt: string): Promise<number> {
  const headers = { authorization: `Bearer ${jwt}` }
  return (await fetch(`${app.apiUrl}/v1/principals/self`, { headers })).status
}

const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000)

describe('a login', () => {
  it('is let in with a key of the provider, which is asked once', async () => {
    const jwt = await token()
    expect(await Promise.all([login(jwt), login(jwt), login(jwt)])).toEqual([200, 200, 200])
    expect(provider.requests.map(({ method, target }) => `${method} ${target}`)).toEqual(['GET /keys'])
    expect(logged.join('')).not.toContain(jwt)
  })

  it('is refused for another audience, once expired, unsigned, or signed by what is public', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'sub-1', exp: Date.now() / 1000 + 3600 }
    const hmac = new SignJWT({}).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).setIssuer(ISSUER)
    const refused = {
      'another audience': await token(first, { audience: 'other' }),
      expired: await token(first, { expires: Date.now() / 1000 - 60 }),
      'alg none': `${part({ alg: 'none' })}.${part(claims)}.`,
      'alg none with a signature': `${part({ alg: 'none', kid: 'k1' })}.${part(claims)}.${'A'.repeat(86)}`,
      'a public key as a secret': await hmac
        .setAudience(AUDIENCE)
        .setSubject('sub-1')
        .setExpirationTime('1h')
        .sign(Buffer.from(JSON.stringify(first.public))),
      'a key of its own in the header': await token(await signingKey('k1'), { header: { jwk: first.public } }),
    }
    for (const [what, jwt] of Object.entries(refused)) expect(await login(jwt), what).toBe(401)
    expect(await login(await token())).toBe(200)
    later(3700)
    expect(await login(await token(first, { expires: START / 1000 + 3600 }))).toBe(401)
  })
})

describe('new keys of the provider', () => {
  it('are fetched when a token names one, and those taken back are refused within ten minutes', async () => {
    const old = await token()
    expect(await login(old)).toBe(200)
    const second = await signingKey('k2')
    published = [second.public]
    later(31)
    expect(await login(await token(second))).toBe(200)
    expect(await login(old)).toBe(401)
    published = []
    later(601)
    expect(await login(await token(second))).toBe(401)
    expect(provider.requests).toHaveLength(3)
  })
})

describe('tokens that name keys nobody has', () => {
  it('make the program ask the provider once in 30 seconds, and keep nobody out', async () => {
    expect(await login(await token())).toBe(200)
    const flood = async () => {
      const stranger = await signingKey(crypto.randomUUID())
      const jwts = await Promise.all(
        Array.from({ length: 50 }, async () => await token(stranger, { header: { kid: crypto.randomUUID() } })),
      )
      const statuses = new Set(await Promise.all(jwts.map(login)))
      expect([...statuses].filter((status) => status !== 401 && status !== 429)).toEqual([])
    }
    await flood()
    expect(provider.requests).toHaveLength(1)
    later(31)
    await flood()
    expect(provider.requests).toHaveLength(2)
    expect(await login(await token())).toBe(200)
  })
})

describe('a provider that fails', () => {
  it('is left alone for a while, is in the log, and lets nobody in until it answers', async () => {
    provider.answerWith((_request, response) => response.writeHead(503).end())
    for (let n = 0; n < 5; n++) expect(await login(await token())).toBe(401)
    expect(provider.requests).toHaveLength(1)
    expect(logged.filter((line) => line.includes('api.oidc'))).toHaveLength(1)
    provider.clear()
    later(6)
    expect(await login(await token())).toBe(200)
  })

  it('is not believed when its certificate is not to be trusted', async () => {
    tls.setDefaultCACertificates(trusted)
    expect(await login(await token())).toBe(401)
    expect(provider.requests).toHaveLength(0)
    const admin = (await readFile(app.data.adminToken.path, 'utf8')).trim()
    expect(await login(admin)).toBe(200)
  })
})
