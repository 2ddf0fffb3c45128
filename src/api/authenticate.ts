/**
 * Lets a request through when it was addressed to this API and carries a bearer token that is one of ours.
 *
 * There are no cookies, so a browser adds no authority of its own; the Host and Origin allow-list stops a web page
 * that was rebound to this address from even asking. A valid token always works: failed attempts from an address are
 * limited, but cannot lock others behind that address out.
 */
import rateLimit from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'
import { CoatcheckError } from '../core/errors.ts'
import type { Principal, TokenStore } from '../core/ports.ts'
import type { Api, ApiDeps } from './dependencies.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null on public routes. */
    principal: Principal | null
  }
  interface FastifyContextConfig {
    /** Answered to anyone at any name: health. */
    public?: boolean
  }
}

/** Failed attempts of one address in one minute, before they are no longer looked at. */
const MAX_FAILURES_PER_MINUTE = 20

/** Registers both checks for every route that is not public. */
export async function authenticate(api: Api, deps: Pick<ApiDeps, 'tokens' | 'allowedHosts'>): Promise<void> {
  await api.register(rateLimit, { global: false })
  const countFailure = api.createRateLimit({ max: MAX_FAILURES_PER_MINUTE, timeWindow: 60_000 })
  api.decorateRequest('principal', null)
  api.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.public === true) return
    checkAddress(request, deps.allowedHosts())
    if (request.is404) return
    const principal = await principalFor(request, deps.tokens)
    if (principal !== undefined) {
      request.principal = principal
      return
    }
    const limit = await countFailure(request)
    if (limit.isAllowed || !limit.isExceeded) throw unauthenticated(request.headers.authorization !== undefined)
    void reply.header('retry-after', String(limit.ttlInSeconds))
    throw new CoatcheckError(
      'rate_limited',
      'Too many failed attempts to authenticate.',
      'Wait a minute; check the token.',
    )
  })
}

/** The caller of a route that is not public. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new Error('A route without authentication asked for its principal.')
  return request.principal
}

function checkAddress(request: FastifyRequest, allowed: readonly string[]): void {
  const { host, origin } = request.headers
  if (host === undefined || !names(allowed, host)) {
    throw new CoatcheckError(
      'forbidden',
      'The Host header is not a name of this API.',
      'Call the API by the address it listens on.',
    )
  }
  if (origin !== undefined && !names(allowed, origin.replace(/^https?:\/\//i, ''))) {
    throw new CoatcheckError(
      'forbidden',
      'This Origin may not call the API.',
      'Call it from its own console or a client.',
    )
  }
}

/** True when the authority (`host` or `host:port`) is in the list, where an entry without a port means any port. */
function names(allowed: readonly string[], authority: string): boolean {
  const sent = authority.toLowerCase()
  const hostname = sent.replace(/:\d{1,5}$/, '')
  return allowed.some((entry) => entry.toLowerCase() === sent || entry.toLowerCase() === hostname)
}

async function principalFor(request: FastifyRequest, tokens: TokenStore): Promise<Principal | undefined> {
  // RFC 6750 section 2.1; the length is ours.
  const match = /^bearer +([A-Za-z0-9._~+/-]{1,512}=*)$/i.exec(request.headers.authorization ?? '')
  return match?.[1] === undefined ? undefined : await tokens.authenticate(match[1])
}

function unauthenticated(sent: boolean): CoatcheckError {
  return sent
    ? new CoatcheckError(
        'unauthenticated',
        'The token is not valid.',
        'It may be revoked, expired, or of another server.',
      )
    : new CoatcheckError('unauthenticated', 'This needs a token.', 'Send Authorization: Bearer and an API token.')
}
