/** API tokens: shown once, when made; afterwards only their name and dates. */
import { principalOf } from './authenticate.ts'
import { IdOrName, PageQuery, TokenCreate, TokenCreated, TokenPage } from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function tokenRoutes(api: Api, { tokens }: Pick<ApiDeps, 'tokens'>): void {
  api.post('/v1/tokens', { schema: { body: TokenCreate, response: { 201: TokenCreated } } }, async (request, reply) => {
    const { token, secret } = await tokens.create(principalOf(request), request.body)
    return reply.code(201).send({ ...token, token: secret })
  })

  api.get('/v1/tokens', { schema: { querystring: PageQuery, response: { 200: TokenPage } } }, (request) =>
    tokens.list(principalOf(request), pageOf(request.query)),
  )

  api.delete('/v1/tokens/:idOrName', { schema: { params: IdOrName } }, async (request, reply) => {
    await tokens.revoke(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })
}
