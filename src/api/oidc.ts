/**
 * Logins by an identity provider: a JWT of the configured issuer and audience, signed with one of its keys, is the principal
 * whose external id is `issuer|subject`. Nobody is created by logging in.
 *
 * Only asymmetric algorithms are accepted, so no key that is public can sign (RFC 8725 section 3.1 and 3.2).
 */
import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { CoatcheckError } from '../core/errors.ts'
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
const LOGIN_ROLES: readonly Role[] = ROLES.filter((role) => role !== 'runner')

/** Throws `config_invalid` when the key file cannot be used. */
export async function openIdLogin(
  options: OidcOptions,
  principals: Pick<PrincipalStore, 'byExternalId'>,
): Promise<TokenVerifier> {
  const keys = await keysOf(options.jwks)
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

async function keysOf(jwks: string): Promise<JWTVerifyGetKey> {
  if (/^https:\/\//i.test(jwks)) return createRemoteJWKSet(new URL(jwks))
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
