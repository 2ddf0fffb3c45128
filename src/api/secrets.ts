/** Secrets: values come in and never go out; every answer is the core's `Secret`. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { CoatcheckError } from '../core/errors.ts'
import type { SecretWritten } from '../core/ports.ts'
import { SecretValue } from '../core/secret.ts'
import { principalOf } from './authenticate.ts'
import {
  IdOrName,
  MAX_VALUE_BYTES,
  SecretCreate,
  SecretDocument,
  SecretPage,
  SecretQuery,
  SecretUpdate,
  VersionPage,
} from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function secretRoutes(api: Api, { secrets }: Pick<ApiDeps, 'secrets'>): void {
  api.post(
    '/v1/secrets',
    { schema: { body: SecretCreate, response: { 201: SecretDocument } } },
    async (request, reply) => {
      const { value, ...rest } = request.body
      const written = await secrets.create(principalOf(request), { ...rest, value: valueFrom(value) })
      return reply.code(201).send(documentOf(written))
    },
  )

  api.get('/v1/secrets', { schema: { querystring: SecretQuery, response: { 200: SecretPage } } }, (request) => {
    const { limit: _limit, cursor: _cursor, ...filter } = request.query
    return secrets.list(principalOf(request), { ...filter, ...pageOf(request.query) })
  })

  const one = { params: IdOrName, response: { 200: SecretDocument } }
  api.get('/v1/secrets/:idOrName', { schema: one }, (request) =>
    secrets.get(principalOf(request), request.params.idOrName),
  )

  api.patch('/v1/secrets/:idOrName', { schema: { ...one, body: SecretUpdate } }, async (request) => {
    const { value, ...rest } = request.body
    const patch = value === undefined ? rest : { ...rest, value: valueFrom(value) }
    return documentOf(await secrets.update(principalOf(request), request.params.idOrName, patch))
  })

  api.delete('/v1/secrets/:idOrName', { schema: { params: IdOrName } }, async (request, reply) => {
    await secrets.delete(principalOf(request), request.params.idOrName)
    return reply.code(204).send()
  })

  const versions = { params: IdOrName, response: { 200: VersionPage } }
  api.get('/v1/secrets/:idOrName/versions', { schema: versions }, async (request) => ({
    items: await secrets.versions(principalOf(request), request.params.idOrName),
    nextCursor: null,
  }))
}

/** The contract counts characters; the limit is in bytes. */
function valueFrom(text: string): SecretValue {
  const value = SecretValue.fromText(text)
  if (value.byteLength <= MAX_VALUE_BYTES) return value
  throw new CoatcheckError(
    'invalid_input',
    `value must have at most ${MAX_VALUE_BYTES} bytes.`,
    'Keep larger things in a file store and its key here.',
  )
}

function documentOf({ secret, warnings }: SecretWritten): SecretDocument {
  return warnings.length === 0 ? secret : { ...secret, warnings }
}
