/** Contract: a JWT of the configured provider is who it says, if that one is known here; anything about it amiss is a 401. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openIdLogin } from '../../src/api/oidc.ts'
import { ApiUnderTest } from './support/api-under-test.ts'

const ISSUER = 'https://id.example.com/'
const AUDIENCE = 'coatcheck'

let folder: string
let api: ApiUnderTest
let key: CryptoKey
let strange: CryptoKey
let publicJwk: object

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'coatcheck-oidc-'))
  const pair = await generateKeyPair('ES256', { extractable: true })
  key = pair.privateKey
  strange = (await generateKeyPair('ES256')).privateKey
  publicJwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256' }
  const jwks = join(folder, 'jwks.json')
  await writeFile(jwks, JSON.stringify({ keys: [publicJwk] }))
  const options = { issuer: ISSUER, audience: AUDIENCE, jwks, roleClaim: null }
  const login: { verify?: Awaited<ReturnType<typeof openIdLogin>> } = {}
  api = await ApiUnderTest.start({ oidc: async (token) => await login.verify?.(token) })
  login.verify = await openIdLogin(options, known())
  const person = { kind: 'user', name: 'ann', role: 'viewer', externalId: `${ISSUER}|sub-1` }
  expect((await api.call('POST', '/v1/principals', person)).status).toBe(201)
})
afterAll(async () => {
  await api.stop()
  await rm(folder, { recursive: true })
})

interface Claims {
  readonly issuer?: string
  readonly audience?: string
  readonly subject?: string
  readonly expires?: string | number
  readonly role?: string
}

async function token(claims: Claims = {}, signer: CryptoKey = key): Promise<string> {
  const jwt = new SignJWT(claims.role === undefined ? {} : { role: claims.role })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
    .setIssuer(claims.issuer ?? ISSUER)
    .setAudience(claims.audience ?? AUDIENCE)
    .setSubject(claims.subject ?? 'sub-1')
  return await jwt.setExpirationTime(claims.expires ?? '5m').sign(signer)
}

const known = () => ({ principals: api.data.principals, log: api.log })
const self = (jwt: string) => api.call('GET', '/v1/principals/self', undefined, { authorization: `Bearer ${jwt}` })

describe('a login', () => {
  it('is the principal with that external id, in its own role', async () => {
    const { status, json } = await self(await token())
    expect([status, json.name, json.role]).toEqual([200, 'ann', 'viewer'])
    const answer = await api.call('GET', '/v1/tokens', undefined, { authorization: `Bearer ${await token()}` })
    expect(answer.status).toBe(403)
  })

  it('is nobody when anything is amiss', async () => {
    const hmac = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setSubject('sub-1')
      .setExpirationTime('5m')
      .sign(Buffer.from(JSON.stringify(publicJwk)))
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const unsigned = `${part({ alg: 'none' })}.${part({ iss: ISSUER, aud: AUDIENCE, sub: 'sub-1', exp: 4_102_444_800 })}.`
    const wrong = {
      'another issuer': await token({ issuer: 'https://evil.example/' }),
      'another audience': await token({ audience: 'other' }),
      'an unknown subject': await token({ subject: 'sub-2' }),
      expired: await token({ expires: 1_000 }),
      'signed by another key': await token({}, strange),
      'signed with the public key as a secret': hmac,
      'not signed': unsigned,
      'no JWT': 'a.b.c',
    }
    for (const [name, jwt] of Object.entries(wrong)) {
      const answer = await self(jwt)
      expect([answer.status, answer.json.error.code], name).toEqual([401, 'unauthenticated'])
      expect(answer.json.error.message, name).toBe('The token is not valid.')
    }
  })

  it('stops when the principal is deleted', async () => {
    const person = { kind: 'user', name: 'bob', role: 'member', externalId: `${ISSUER}|sub-3` }
    const { json } = await api.call('POST', '/v1/principals', person)
    const jwt = await token({ subject: 'sub-3' })
    expect((await self(jwt)).status).toBe(200)
    await api.call('DELETE', `/v1/principals/${json.id}`)
    expect((await self(jwt)).status).toBe(401)
  })
})

describe('a role claim', () => {
  it('stands in place of the role here, and must be a role of people', async () => {
    const jwks = join(folder, 'jwks.json')
    const verify = await openIdLogin({ issuer: ISSUER, audience: AUDIENCE, jwks, roleClaim: 'role' }, known())
    expect((await verify(await token({ role: 'member' })))?.role).toBe('member')
    for (const role of ['runner', 'root', undefined]) {
      expect(await verify(await token(role === undefined ? {} : { role })), String(role)).toBeUndefined()
    }
  })
})

describe('keys', () => {
  it('that cannot be read stop the start', async () => {
    await writeFile(join(folder, 'broken.json'), '{')
    for (const file of ['broken.json', 'missing.json']) {
      const options = { issuer: ISSUER, audience: AUDIENCE, jwks: join(folder, file), roleClaim: null }
      await expect(openIdLogin(options, known())).rejects.toMatchObject({ code: 'config_invalid' })
    }
  })
})
