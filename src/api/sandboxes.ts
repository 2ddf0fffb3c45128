/** Sandboxes: a token is in the answer that makes it and in no other. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { clientEnvironment, LOOPBACK_NO_PROXY, proxyUrlFor } from '../core/client-environment.ts'
import type { Sandbox } from '../core/sandbox.ts'
import { principalOf } from './authenticate.ts'
import {
  IdOrName,
  MountsReplace,
  PageQuery,
  SandboxCreate,
  SandboxCredentials,
  SandboxDocument,
  SandboxEnvironment,
  SandboxPage,
} from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

type SandboxDeps = Pick<ApiDeps, 'sandboxes' | 'proxyUrl' | 'trust'>

export function sandboxRoutes(api: Api, deps: SandboxDeps): void {
  const { sandboxes } = deps

  const created = { body: SandboxCreate, response: { 201: SandboxCredentials } }
  api.post('/v1/sandboxes', { schema: created }, async (request, reply) => {
    const { name, mounts = {} } = request.body
    const { sandbox, token } = await sandboxes.create(principalOf(request), { name, mounts })
    return reply.code(201).send({ ...sandbox, token, ...environmentOf(deps, sandbox, token) })
  })

  const list = { querystring: PageQuery, response: { 200: SandboxPage } }
  api.get('/v1/sandboxes', { schema: list }, (request) => sandboxes.list(principalOf(request), pageOf(request.query)))

  const one = { params: IdOrName, response: { 200: SandboxDocument } }
  api.get('/v1/sandboxes/:idOrName', { schema: one }, (request) =>
    sandboxes.get(principalOf(request), request.params.idOrName),
  )

  const environment = { params: IdOrName, response: { 200: SandboxEnvironment } }
  api.get('/v1/sandboxes/:idOrName/env', { schema: environment }, async (request) => {
    const sandbox = await sandboxes.get(principalOf(request), request.params.idOrName)
    return { id: sandbox.id, name: sandbox.name, ...environmentOf(deps, sandbox) }
  })

  api.put('/v1/sandboxes/:idOrName/mounts', { schema: { ...one, body: MountsReplace } }, (request) =>
    sandboxes.setMounts(principalOf(request), request.params.idOrName, request.body.mounts),
  )

  const rotated = { params: IdOrName, response: { 200: SandboxCredentials } }
  api.post('/v1/sandboxes/:idOrName/token', { schema: rotated }, async (request) => {
    const { sandbox, token } = await sandboxes.rotateToken(principalOf(request), request.params.idOrName)
    return { ...sandbox, token, ...environmentOf(deps, sandbox, token) }
  })

  api.delete('/v1/sandboxes/:idOrName', { schema: { params: IdOrName } }, async (request, reply) => {
    await sandboxes.delete(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })
}

/** The mounts last: a workload that mounts a secret as one of the client variables means it. */
function environmentOf(deps: SandboxDeps, sandbox: Sandbox, token?: string): { proxyUrl: string; env: Sandbox['env'] } {
  const proxyUrl = proxyUrlFor(deps.proxyUrl(), sandbox.name, token)
  const client = clientEnvironment({ ...deps.trust, proxyUrl, noProxy: LOOPBACK_NO_PROXY })
  return { proxyUrl, env: { ...client, ...sandbox.env } }
}
