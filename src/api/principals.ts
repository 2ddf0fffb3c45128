/** Users and agents of the account, and who the caller is. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { principalOf } from './authenticate.ts'
import { Id } from './contract/fields.ts'
import { CallerDocument, PrincipalCreate, PrincipalDocument, PrincipalPage, PrincipalQuery } from './contract/tokens.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { filterOf, pageOf } from './paging.ts'

export function principalRoutes(api: Api, { principals }: Pick<ApiDeps, 'principals'>): void {
  const view = { permission: 'principals.view' } as const
  const manage = { permission: 'principals.manage' } as const

  const self = { summary: 'Tell who the caller is and where it acts', response: { 200: CallerDocument } }
  api.get('/v1/principals/self', { schema: self, config: { permission: 'caller' } }, (request) => principalOf(request))

  const create = { summary: 'Create a user or an agent', body: PrincipalCreate, response: { 201: PrincipalDocument } }
  api.post('/v1/principals', { schema: create, config: { ...manage, idempotent: 'replay' } }, async (request, reply) =>
    reply.code(201).send(await principals.create(principalOf(request), request.body)),
  )
  const list = {
    summary: 'List principals, oldest first',
    querystring: PrincipalQuery,
    response: { 200: PrincipalPage },
  }
  api.get('/v1/principals', { schema: list, config: view }, (request) =>
    principals.list(principalOf(request), { ...filterOf(request.query), ...pageOf(request.query) }),
  )
  const get = { summary: 'Get a principal', params: Id, response: { 200: PrincipalDocument } }
  api.get('/v1/principals/:id', { schema: get, config: view }, (request) =>
    principals.get(principalOf(request), request.params.id),
  )
  const remove = { summary: 'Delete a principal; its tokens stop at once', params: Id }
  api.delete('/v1/principals/:id', { schema: remove, config: manage }, async (request, reply) => {
    await principals.delete(principalOf(request), request.params.id)
    return reply.code(204).send()
  })
}
