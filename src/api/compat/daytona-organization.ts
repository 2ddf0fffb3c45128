/** Daytona's organization is a workspace: the one its header names, or the key's own. */
import type { FastifyRequest } from 'fastify'
import type { Principal } from '../../core/ports.ts'
import { principalOf } from '../authenticate.ts'
import type { CompatDeps } from './compat-deps.ts'

/** The caller in the organization it names, or in its own. */
export async function organizationOf(
  request: FastifyRequest,
  { workspaces }: Pick<CompatDeps, 'workspaces'>,
): Promise<Principal> {
  const organization = request.headers['x-daytona-organization-id']
  if (typeof organization !== 'string' || organization === '') return principalOf(request)
  return await workspaces.enter(principalOf(request), organization)
}
