/**
 * Lets a request through when it was addressed to this API, carries a bearer token that is one of ours, and its route is for
 * callers of that role; then leads it into the scope it names.
 *
 * There are no cookies, so a browser adds no authority of its own; the Host and Origin allow-list stops a web page
 * that was rebound to this address from even asking. A valid token always works: failed attempts from an address are
 * limited, but cannot lock others behind that address out.
 */
import rateLimit from '@fastify/rate-limit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CoatcheckError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import { enterScope, SCOPE_HEADER } from './acting-scope.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { requirePermission } from './route-config.ts'

type AuthenticateDeps = Pick<
  ApiDeps,
  'tokens' | 'allowedHosts' | 'workspaces' | 'vaults' | 'oidc' | 'requestsPerMinute'
>

/** Failed attempts of one address in one minute, before they are no longer looked at. */
const MAX_FAILURES_PER_MINUTE = 20
const MINUTE_MS = 60_000

/** Registers the checks for every route; `permission: 'anyone'` needs no token, and with `anyName` not even our name. */
export async function authenticate(api: Api, deps: AuthenticateDeps): Promise<void> {
  await api.register(rateLimit, { global: false })
  const countFailure = api.createRateLimit({ max: MAX_FAILURES_PER_MINUTE, timeWindow: MINUTE_MS })
  const countCall = callCounter(api, deps)
  api.decorateRequest('principal', null)
  api.addHook('onRequest', async (request, reply) => {
    const { permission, anyName } = request.routeOptions.config
    if (anyName === true) return
    checkAddress(request, deps.allowedHosts())
    if (request.is404 || permission === 'anyone') return
    const principal = await callerOf(request, deps)
    if (principal === undefined) {
      const limit = await countFailure(request)
      if (limit.isAllowed || !limit.isExceeded) throw unauthenticated(request.headers.authorization !== undefined)
      throw tooMany(reply, limit.ttlInSeconds, 'failed attempts to authenticate', 'Wait a minute; check the token.')
    }
    request.principal = principal
    await countCall(request, reply)
    requirePermission(principal, permission ?? 'caller')
    request.principal = await enterScope(principal, request.headers[SCOPE_HEADER], deps)
  })
}

/** The caller of a route that is not for anyone. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new Error('A route without authentication asked for its principal.')
  return request.principal
}

/** Who the request's bearer token is now: asked again by answers that go on for long. */
export async function callerOf(
  request: FastifyRequest,
  { tokens, oidc }: Pick<ApiDeps, 'tokens' | 'oidc'>,
): Promise<Principal | undefined> {
  // RFC 6750 section 2.1; the length is ours, enough for a signed JWT.
  const match = /^bearer +([A-Za-z0-9._~+/-]{1,8192}=*)$/i.exec(request.headers.authorization ?? '')
  const [, token] = match ?? []
  if (token === undefined) return undefined
  const { audience = 'control', authenticate: further } = request.routeOptions.config
  const ours = await tokens.authenticate(token, audience)
  if (ours !== undefined || audience !== 'control') return ours
  return (await further?.(token)) ?? (token.split('.').length === 3 ? await oidc?.(token) : undefined)
}

/** Counts the calls of each principal and tells how many are left. Calls within this process are not counted. */
function callCounter(api: Api, { requestsPerMinute }: AuthenticateDeps) {
  const count = api.createRateLimit({
    max: requestsPerMinute,
    timeWindow: MINUTE_MS,
    keyGenerator: (request) => principalOf(request).id,
  })
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (principalOf(request).kind === 'system') return
    const limit = await count(request)
    if (limit.isAllowed) return
    void reply.headers({
      'x-ratelimit-limit': String(limit.max),
      'x-ratelimit-remaining': String(limit.remaining),
      'x-ratelimit-reset': String(limit.ttlInSeconds),
    })
    if (limit.isExceeded) throw tooMany(reply, limit.ttlInSeconds, 'requests', 'Wait, then go on more slowly.')
  }
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

function tooMany(reply: FastifyReply, seconds: number, what: string, hint: string): CoatcheckError {
  void reply.header('retry-after', String(Math.max(1, seconds)))
  return new CoatcheckError('rate_limited', `Too many ${what}.`, hint)
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
