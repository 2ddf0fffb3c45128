/** Sandboxes: a token is in the answer that makes it and in no other, and values are in none. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { clientEnvironment, LOOPBACK_NO_PROXY, proxyUrlFor } from '../core/client-environment.ts'
import type { Sandbox } from '../core/sandbox.ts'
import { principalOf } from './authenticate.ts'
import { IdOrName, PageQuery } from './contract/fields.ts'
import {
  MountsReplace,
  SandboxCreate,
  SandboxCredentials,
  SandboxDocument,
  SandboxEnvironment,
  SandboxPage,
} from './contract/sandboxes.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

type SandboxDeps = Pick<ApiDeps, 'sandboxes' | 'proxyUrl' | 'trust'>

const view = { permission: 'sandboxes.view' } as const
const manage = { permission: 'sandboxes.manage' } as const

export function sandboxRoutes(api: Api, deps: SandboxDeps): void {
  credentialRoutes(api, deps)
  readRoutes(api, deps)
  const { sandboxes } = deps

  const mounts = {
    summary: 'Replace all mounts of a sandbox',
    params: IdOrName,
    body: MountsReplace,
    response: { 200: SandboxDocument },
  }
  api.put('/v1/sandboxes/:idOrName/mounts', { schema: mounts, config: manage }, (request) =>
    sandboxes.setMounts(principalOf(request), request.params.idOrName, request.body.mounts),
  )

  const remove = {
    summary: 'Delete a sandbox; its token stops at once',
    params: IdOrName,
  }
  api.delete('/v1/sandboxes/:idOrName', { schema: remove, config: manage }, async (request, reply) => {
    await sandboxes.delete(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })
}

function credentialRoutes(api: Api, deps: SandboxDeps): void {
  const { sandboxes } = deps
  const create = { summary: 'Create a sandbox', body: SandboxCreate, response: { 201: SandboxCredentials } }
  const once = { ...manage, idempotent: 'refuse' } as const
  api.post('/v1/sandboxes', { schema: create, config: once }, async (request, reply) => {
    const { name, mounts = {} } = request.body
    const { sandbox, token } = await sandboxes.create(principalOf(request), { name, mounts })
    return reply.code(201).send({ ...sandbox, token, ...environmentOf(deps, sandbox, token) })
  })

  const rotate = {
    summary: 'Give a sandbox a new token; the old one stops at once',
    params: IdOrName,
    response: { 200: SandboxCredentials },
  }
  api.post('/v1/sandboxes/:idOrName/token', { schema: rotate, config: manage }, async (request) => {
    const { sandbox, token } = await sandboxes.rotateToken(principalOf(request), request.params.idOrName)
    return { ...sandbox, token, ...environmentOf(deps, sandbox, token) }
  })
}

function readRoutes(api: Api, deps: SandboxDeps): void {
  const { sandboxes } = deps
  const list = { summary: 'List sandboxes by name', querystring: PageQuery, response: { 200: SandboxPage } }
  api.get('/v1/sandboxes', { schema: list, config: view }, (request) =>
    sandboxes.list(principalOf(request), pageOf(request.query)),
  )

  const get = { summary: 'Get a sandbox', params: IdOrName, response: { 200: SandboxDocument } }
  api.get('/v1/sandboxes/:idOrName', { schema: get, config: view }, (request) =>
    sandboxes.get(principalOf(request), request.params.idOrName),
  )

  const environment = {
    summary: "Get a sandbox's environment, all of it but the token",
    params: IdOrName,
    response: { 200: SandboxEnvironment },
  }
  api.get('/v1/sandboxes/:idOrName/env', { schema: environment, config: view }, async (request) => {
    const sandbox = await sandboxes.get(principalOf(request), request.params.idOrName)
    return { id: sandbox.id, name: sandbox.name, ...environmentOf(deps, sandbox) }
  })
}

/** The mounts last: a workload that mounts a secret as one of the client variables means it. */
function environmentOf(deps: SandboxDeps, sandbox: Sandbox, token?: string): { proxyUrl: string; env: Sandbox['env'] } {
  const proxyUrl = proxyUrlFor(deps.proxyUrl(), sandbox.name, token)
  const client = clientEnvironment({ ...deps.trust, proxyUrl, noProxy: LOOPBACK_NO_PROXY })
  return { proxyUrl, env: { ...client, ...sandbox.env } }
}
