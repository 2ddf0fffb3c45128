/**
 * 1Claw's token exchange: an API key becomes a short-lived token with the form of a JWT, which its clients expect.
 *
 * The token carries the key, sealed by a key that lives as long as this process, so nothing is stored and a revoked API key ends its
 * tokens with the next call. Another process, or this one after a restart, does not know the token: clients exchange again.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal, TokenStore } from '../../core/ports.ts'
import { texted } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'

const LIFETIME_S = 900
const IV_BYTES = 12
const TAG_BYTES = 16
const HEAD = encode({ alg: 'dir', enc: 'A256GCM', typ: 'JWT' })
/** How each exchanged token begins, and no other JWT. */
export const EXCHANGED = `${HEAD}.`

const KeyBody = Type.Object({ api_key: texted(1, 512, 'An API key.') })
const AgentBody = Type.Object({
  api_key: texted(1, 512, 'An API key.'),
  agent_id: Type.Optional(texted(0, 256, 'The id of the agent the key speaks for.')),
})
const TokenAnswer = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  /** Seconds. */
  expires_in: Type.Integer(),
  agent_id: Type.Optional(Type.String()),
})

export class AccessTokens {
  readonly #tokens: Pick<TokenStore, 'authenticate'>
  readonly #key = randomBytes(32)

  constructor(tokens: Pick<TokenStore, 'authenticate'>) {
    this.#tokens = tokens
  }

  /** Throws `unauthenticated` for a key that is none of ours. */
  async exchange(key: string): Promise<{ readonly principal: Principal; readonly token: string }> {
    const principal = await this.#tokens.authenticate(key)
    if (principal === undefined) {
      throw new CoatcheckError('unauthenticated', 'The API key is not valid.', 'It may be revoked or expired.')
    }
    const now = Math.floor(Date.now() / 1000)
    const signed = `${HEAD}.${encode({ sub: principal.id, iat: now, exp: now + LIFETIME_S })}`
    return { principal, token: `${signed}.${this.#seal(key, signed)}` }
  }

  /** Who the token is; undefined for one that expired, was changed, or whose API key is no longer valid. */
  async authenticate(token: string): Promise<Principal | undefined> {
    const [head, claims, sealed, ...more] = token.split('.')
    if (head !== HEAD || claims === undefined || sealed === undefined || more.length > 0) return undefined
    const key = this.#open(Buffer.from(sealed, 'base64url'), `${head}.${claims}`)
    if (key === undefined) return undefined
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString('utf8')) as { readonly exp: number }
    return exp * 1000 <= Date.now() ? undefined : await this.#tokens.authenticate(key)
  }

  #seal(key: string, signed: string): string {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(signed))
    const sealed = [cipher.update(key, 'utf8'), cipher.final()]
    return Buffer.concat([iv, ...sealed, cipher.getAuthTag()]).toString('base64url')
  }

  #open(sealed: Buffer, signed: string): string | undefined {
    if (sealed.length < IV_BYTES + TAG_BYTES) return undefined
    const iv = sealed.subarray(0, IV_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, iv, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(signed)).setAuthTag(sealed.subarray(-TAG_BYTES))
    try {
      const opened = [decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]
      return Buffer.concat(opened).toString('utf8')
    } catch {
      return undefined
    }
  }
}

export function oneclawTokenRoutes(api: Api, accessTokens: AccessTokens): void {
  const config = { permission: 'anyone' } as const
  const response = { 200: TokenAnswer }

  api.post('/api-key-token', { config, schema: { body: KeyBody, response } }, async (request) =>
    tokenAnswer((await accessTokens.exchange(request.body.api_key)).token),
  )

  api.post('/agent-token', { config, schema: { body: AgentBody, response } }, async (request) => {
    const { api_key, agent_id } = request.body
    const { principal, token } = await accessTokens.exchange(api_key)
    if (agent_id && agent_id !== principal.id) {
      throw new CoatcheckError('unauthenticated', 'The API key is not this agent’s.', 'Send the key of that agent.')
    }
    return { ...tokenAnswer(token), agent_id: principal.id }
  })
}

function tokenAnswer(token: string): Static<typeof TokenAnswer> {
  return { access_token: token, token_type: 'Bearer', expires_in: LIFETIME_S }
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
