/**
 * Routes that a foreign contract spells as ours (`/v1/vaults`, `/v1/audit/events`) are told apart by the token: those of a contract
 * have its prefix. Such a route is registered with `constraints: { contract: 'PREFIX' }` beside ours; other tokens get ours.
 */
import type { IncomingMessage } from 'node:http'
import { EXCHANGED } from './compat/oneclaw-tokens.ts'
import type { Api } from './dependencies.ts'

/** What the bearer token begins with, up to its first underscore: `1ck`, `ocv`, `cct`; `1ck` also for what was exchanged for such a key. */
export function contractOf(request: Pick<IncomingMessage, 'headers'>): string | undefined {
  const token = /^bearer +(\S{1,8192})$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token === undefined) return undefined
  return token.startsWith(EXCHANGED) ? '1ck' : /^([0-9a-z]{3})_/.exec(token)?.[1]
}

/** For Fastify's router: a request whose token names no constrained route gets the unconstrained one. */
export const contractConstraint: Parameters<Api['addConstraintStrategy']>[0] = {
  name: 'contract',
  mustMatchWhenDerived: false,
  storage: () => {
    const handlers = new Map<unknown, NonNullable<ReturnType<Storage['get']>>>()
    return {
      get: (contract) => handlers.get(contract) ?? null,
      set: (contract, handler) => void handlers.set(contract, handler),
    }
  },
  validate: (contract) => {
    if (typeof contract !== 'string') throw new TypeError('A contract is named by a text.')
  },
  deriveConstraint: (request) => contractOf(request),
}

type Storage = ReturnType<Parameters<Api['addConstraintStrategy']>[0]['storage']>
