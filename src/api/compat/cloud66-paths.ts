/** Where a Cloud 66 path leads: the stack or account it names, and its parameters with and without `.json`. */
import type { FastifyRequest } from 'fastify'
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import { principalOf } from '../authenticate.ts'
import { intOf } from './cloud66-shapes.ts'
import type { CompatDeps } from './compat-deps.ts'

/** The caller in the stack of the path. */
export async function stackOf(request: FastifyRequest, { workspaces }: CompatDeps): Promise<Principal> {
  return await workspaces.enter(callerOf(request), lastParam(request, 'uid'))
}

/** The caller on the account of the path, which must be its own. */
export async function accountOf(request: FastifyRequest, { workspaces }: CompatDeps): Promise<Principal> {
  const principal = await workspaces.enterAccount(callerOf(request))
  const wanted = lastParam(request, 'accountId')
  if (wanted !== principal.accountId && wanted !== String(intOf(principal.accountId))) throw noAccount()
  return principal
}

/** A caller that names another account in `X-Account` is not in it. */
function callerOf(request: FastifyRequest): Principal {
  const principal = principalOf(request)
  const account = request.headers['x-account']
  if (account === undefined || account === '' || account === String(intOf(principal.accountId))) return principal
  throw noAccount()
}

/** A parameter, without `.json` where it is the path's end: an encoded `%2Ejson` belongs to the name. */
export function lastParam(request: FastifyRequest, name: string): string {
  const { [name]: value = '' } = request.params as Readonly<Record<string, string>>
  const [path = ''] = request.url.split('?')
  const ends = request.routeOptions.url?.endsWith(`:${name}`) === true
  return ends && path.endsWith('.json') && value.endsWith('.json') ? value.slice(0, -'.json'.length) : value
}

/** A list's path in both spellings. */
export function bothPaths(path: string): readonly string[] {
  return [path, `${path}.json`]
}

function noAccount(): CoatcheckError {
  return new CoatcheckError('not_found', 'There is no such account.', 'Leave X-Account out, or send your own account.')
}
