/** Workspaces of the caller's account and vaults of the workspace at hand, and what a workspace decides for itself. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { Principal } from '../core/principal.ts'
import type { ScopeStore } from '../core/scope.ts'
import { principalOf } from './authenticate.ts'
import { IdOrName, PageQuery } from './contract/fields.ts'
import { ScopeCreate, ScopeDocument, ScopePage, SettingsDocument, SettingsUpdate } from './contract/scopes.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

type ScopeDeps = Pick<ApiDeps, 'workspaces' | 'vaults' | 'settings'>

export function scopeRoutes(api: Api, deps: ScopeDeps): void {
  levelRoutes(api, '/v1/workspaces', 'workspace', deps.workspaces)
  levelRoutes(api, '/v1/vaults', 'vault', deps.vaults)
  settingsRoutes(api, deps)
  const schema = { summary: 'Get the account', response: { 200: ScopeDocument } }
  api.get('/v1/account', { schema, config: { permission: 'scopes.view' } }, (request) =>
    deps.workspaces.account(principalOf(request)),
  )
}

function levelRoutes(api: Api, path: string, noun: string, store: ScopeStore): void {
  const view = { permission: 'scopes.view' } as const
  const manage = { permission: 'scopes.manage' } as const
  const one = { params: IdOrName, response: { 200: ScopeDocument } }

  const create = { summary: `Create a ${noun}`, body: ScopeCreate, response: { 201: ScopeDocument } }
  api.post(path, { schema: create, config: { ...manage, idempotent: 'replay' } }, async (request, reply) =>
    reply.code(201).send(await store.create(principalOf(request), request.body)),
  )
  const list = { summary: `List ${noun}s`, querystring: PageQuery, response: { 200: ScopePage } }
  api.get(path, { schema: list, config: view }, (request) => store.list(principalOf(request), pageOf(request.query)))
  api.get(`${path}/:idOrName`, { schema: { summary: `Get a ${noun}`, ...one }, config: view }, (request) =>
    store.get(principalOf(request), request.params.idOrName),
  )
  const remove = {
    summary: `Delete a ${noun} and destroy all that is in it`,
    params: IdOrName,
  }
  api.delete(`${path}/:idOrName`, { schema: remove, config: manage }, async (request, reply) => {
    await store.delete(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })
}

function settingsRoutes(api: Api, { workspaces, settings }: ScopeDeps): void {
  const path = '/v1/workspaces/:idOrName/settings'
  const within = async (principal: Principal, ref: string) => await workspaces.enter(principal, ref)

  const get = { summary: "Get a workspace's settings", params: IdOrName, response: { 200: SettingsDocument } }
  api.get(path, { schema: get, config: { permission: 'settings.view' } }, async (request) =>
    settings.get(await within(principalOf(request), request.params.idOrName)),
  )
  const patch = {
    summary: "Change a workspace's settings",
    params: IdOrName,
    body: SettingsUpdate,
    response: { 200: SettingsDocument },
  }
  api.patch(path, { schema: patch, config: { permission: 'settings.manage' } }, async (request) =>
    settings.update(await within(principalOf(request), request.params.idOrName), request.body),
  )
}
