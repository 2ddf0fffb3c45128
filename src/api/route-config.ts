/**
 * What every route says of itself next to its schema: who may call it. A route that does not say so is not registered.
 *
 * For what is not a secret the role decides, here, before anything is looked up. For secrets the store decides, by role and policies:
 * it alone knows the path.
 */

import type { Permission } from '../core/access-policy.ts'
import { CoatcheckError } from '../core/errors.ts'
import { type Ability, roleAllows } from '../core/permission.ts'
import type { Audience, Principal } from '../core/principal.ts'

/** `anyone`: without a token. `caller`: any valid token. `secrets.…`: asked of the store, for the secret at hand. */
export type RoutePermission = 'anyone' | 'caller' | Ability | `secrets.${Permission}`

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null where anyone may. */
    principal: Principal | null
  }
  interface FastifyContextConfig {
    permission?: RoutePermission
    /** Answered at any name of this server: health, which probes call by address. */
    anyName?: boolean
    /** Whose tokens are accepted. Default: control. */
    audience?: Audience
    /** A create that may be told apart from its own repetition by an Idempotency-Key. */
    idempotent?: 'replay' | 'refuse'
    /** A further way to tell who a bearer token is, asked when it is none of ours: a contract's own exchanged tokens. */
    authenticate?: (token: string) => Promise<Principal | undefined>
  }
}

/** Throws `forbidden` when the caller's role does not include what the route needs. */
export function requirePermission(principal: Principal, permission: RoutePermission): void {
  if (permission === 'anyone' || permission === 'caller' || isOfSecrets(permission)) return
  if (roleAllows(principal.role, permission)) return
  throw new CoatcheckError(
    'forbidden',
    `The role ${principal.role} does not include ${permission}.`,
    'Use a token whose role does, such as one of an admin.',
  )
}

function isOfSecrets(permission: RoutePermission): permission is `secrets.${Permission}` {
  return permission.startsWith('secrets.')
}
