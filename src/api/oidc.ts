/**
 * Logins by an identity provider: a JWT of the configured issuer and audience, signed with one of its keys, is the principal
 * whose external id is `issuer|subject`. Nobody is created by logging in.
 *
 * Only asymmetric algorithms are accepted, so no key that is public can sign (RFC 8725 section 3.1 and 3.2).
 */
import { readFile } from 'node:fs/promises'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type FetchImplementation,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { CoatcheckError } from '../core/errors.ts'
import type { Log } from '../core/ports.ts'
import { type Principal, type PrincipalStore, ROLES, type Role } from '../core/principal.ts'

/** Who a bearer token is, or undefined. */
export type TokenVerifier = (token: string) => Promise<Principal | undefined>

export interface OidcOptions {
  readonly issuer: string
  readonly audience: string
  /** An https URL, or the path of a file. */
  readonly jwks: string
  /** A claim that holds the role, in place of the one the principal has here; null = none. */
  readonly roleClaim: string | null
}

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const CLOCK_TOLERANCE_S = 30
/** How long fetched keys are good for: one that the provider takes back is refused after that. */
const KEYS_FRESH_MS = 600_000
/** How often the keys are fetched for a token that names one that is not among them. */
const KEYS_PAUSE_MS = 30_000
/** How long a provider that failed is left alone. */
const FAILURE_PAUSE_MS = 5_000
const LOGIN_ROLES: readonly Role[] = ROLES.filter((role) => role !== 'runner')

interface OidcDeps {
  readonly principals: Pick<PrincipalStore, 'byExternalId'>
  readonly log: Log
}

/** Throws `config_invalid` when the key file cannot be used. Keys behind a URL are fetched when the first token comes. */
export async function openIdLogin(options: OidcOptions, { principals, log }: OidcDeps): Promise<TokenVerifier> {
  const keys = await keysOf(options.jwks, log)
  const { issuer, audience, roleClaim } = options
  return async (token) => {
    const claims = await verified(token, keys, { issuer, audience })
    if (claims?.sub === undefined) return undefined
    const principal = await principals.byExternalId(`${issuer}|${claims.sub}`)
    if (principal === undefined || roleClaim === null) return principal
    const role = LOGIN_ROLES.find((each) => each === claims[roleClaim])
    return role === undefined ? undefined : Object.freeze({ ...principal, role })
  }
}

/** The claims, or undefined for whatever does not verify: which of its parts does not is nobody's business. */
async function verified(
  token: string,
  keys: JWTVerifyGetKey,
  { issuer, audience }: Pick<OidcOptions, 'issuer' | 'audience'>,
) {
  try {
    const required = ['exp', 'sub']
    const rules = {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: required,
    }
    return (await jwtVerify(token, keys, rules)).payload
  } catch {
    return undefined
  }
}

async function keysOf(jwks: string, log: Log): Promise<JWTVerifyGetKey> {
  if (/^https:\/\//i.test(jwks)) {
    const pauses = { cacheMaxAge: KEYS_FRESH_MS, cooldownDuration: KEYS_PAUSE_MS }
    return createRemoteJWKSet(new URL(jwks), { ...pauses, [customFetch]: pausingAfterFailure(log) })
  }
  try {
    return createLocalJWKSet(JSON.parse(await readFile(jwks, 'utf8')) as JSONWebKeySet)
  } catch (cause) {
    throw new CoatcheckError(
      'config_invalid',
      'The keys in api.oidc cannot be read.',
      'Name a file that holds a JWK set, or an https URL of one.',
      { cause },
    )
  }
}

/** Whoever sends tokens, however many and whatever they name, makes us ask a provider that does not answer once in a while. */
function pausingAfterFailure(log: Log): FetchImplementation {
  let failedAt = Number.NEGATIVE_INFINITY
  return async (url, options) => {
    if (Math.abs(Date.now() - failedAt) < FAILURE_PAUSE_MS) throw new Error('The provider failed a moment ago.')
    try {
      const answer = await fetch(url, options)
      if (answer.status !== 200) throw new Error(`The provider answered ${answer.status}.`)
      return answer
    } catch (error) {
      failedAt = Date.now()
      log.warn({ error }, 'The keys of api.oidc could not be fetched: logins with its tokens are refused.')
      throw error
    }
  }
}
