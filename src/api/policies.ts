/** Access policies of the scope at hand: who may, or may not, do what with the secrets under some paths. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { principalOf } from './authenticate.ts'
import { Id, PageQuery } from './contract/fields.ts'
import { PolicyDocument, PolicyPage, PolicyWrite } from './contract/scopes.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function policyRoutes(api: Api, { policies }: Pick<ApiDeps, 'policies'>): void {
  const view = { permission: 'policies.view' } as const
  const manage = { permission: 'policies.manage' } as const

  const create = { summary: 'Create a policy', body: PolicyWrite, response: { 201: PolicyDocument } }
  api.post('/v1/policies', { schema: create, config: { ...manage, idempotent: 'replay' } }, async (request, reply) =>
    reply.code(201).send(await policies.create(principalOf(request), request.body)),
  )
  const list = { summary: 'List policies, oldest first', querystring: PageQuery, response: { 200: PolicyPage } }
  api.get('/v1/policies', { schema: list, config: view }, (request) =>
    policies.list(principalOf(request), pageOf(request.query)),
  )
  const get = { summary: 'Get a policy', params: Id, response: { 200: PolicyDocument } }
  api.get('/v1/policies/:id', { schema: get, config: view }, (request) =>
    policies.get(principalOf(request), request.params.id),
  )
  const replace = {
    summary: 'Replace a policy, all of it',
    params: Id,
    body: PolicyWrite,
    response: { 200: PolicyDocument },
  }
  api.put('/v1/policies/:id', { schema: replace, config: manage }, (request) =>
    policies.replace(principalOf(request), request.params.id, request.body),
  )
  const remove = { summary: 'Delete a policy', params: Id }
  api.delete('/v1/policies/:id', { schema: remove, config: manage }, async (request, reply) => {
    await policies.delete(principalOf(request), request.params.id)
    return reply.code(204).send()
  })
}
