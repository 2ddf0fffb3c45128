/** API tokens: shown once, when made; afterwards what they are for and their dates. */
import { principalOf } from './authenticate.ts'
import { IdOrName, PageQuery } from './contract/fields.ts'
import { TokenCreate, TokenCreated, TokenPage } from './contract/tokens.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function tokenRoutes(api: Api, { tokens }: Pick<ApiDeps, 'tokens'>): void {
  const config = { permission: 'tokens.manage' } as const

  const create = { summary: 'Create a token', body: TokenCreate, response: { 201: TokenCreated } }
  api.post('/v1/tokens', { schema: create, config: { ...config, idempotent: 'refuse' } }, async (request, reply) => {
    const { token, secret } = await tokens.create(principalOf(request), request.body)
    return reply.code(201).send({ ...token, token: secret })
  })

  const list = { summary: 'List tokens by name', querystring: PageQuery, response: { 200: TokenPage } }
  api.get('/v1/tokens', { schema: list, config }, (request) => tokens.list(principalOf(request), pageOf(request.query)))

  const revoke = { summary: 'Revoke a token', params: IdOrName }
  api.delete('/v1/tokens/:idOrName', { schema: revoke, config }, async (request, reply) => {
    await tokens.revoke(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })
}
