/** Secrets, as the core's `Secret` is: created, listed, changed and deleted. Values come in and are in none of these answers. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyReply } from 'fastify'
import { CoatcheckError } from '../core/errors.ts'
import type { SecretFilter, SecretWritten, WriteOptions } from '../core/secret-store.ts'
import { principalOf } from './authenticate.ts'
import { IdOrName } from './contract/fields.ts'
import {
  DeleteQuery,
  SecretCreate,
  SecretDocument,
  SecretGenerate,
  SecretPage,
  SecretQuery,
  SecretUpdate,
} from './contract/secrets.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { filterOf, pageOf } from './paging.ts'
import { etagOf, preconditionFailed, versionOf } from './precondition.ts'
import { valueFrom, withValue } from './secret-values.ts'

type SecretDeps = Pick<ApiDeps, 'secrets'>

export function secretRoutes(api: Api, deps: SecretDeps): void {
  createAndList(api, deps)
  readAndChange(api, deps)
  lifecycle(api, deps)
}

function createAndList(api: Api, { secrets }: SecretDeps): void {
  const created = {
    schema: { summary: 'Create a secret', body: SecretCreate, response: { 201: SecretDocument } },
    config: { permission: 'secrets.write', idempotent: 'replay' },
  } as const
  api.post('/v1/secrets', created, async (request, reply) => {
    const { value, ...rest } = request.body
    const written = await secrets.create(principalOf(request), { ...rest, value: valueFrom(value) })
    return tagged(reply, written).code(201).send(documentOf(written))
  })

  const list = {
    schema: { summary: 'List secrets', querystring: SecretQuery, response: { 200: SecretPage } },
    config: { permission: 'secrets.list' },
  } as const
  api.get('/v1/secrets', list, async (request) => {
    const { labels, deleted, total, ...rest } = filterOf(request.query)
    const filter: SecretFilter = {
      ...rest,
      ...(labels === undefined ? {} : { labels: labelsOf(labels) }),
      deleted: deleted === 'true',
      total: total === 'true',
    }
    return await secrets.list(principalOf(request), { ...filter, ...pageOf(request.query) })
  })
}

function readAndChange(api: Api, { secrets }: SecretDeps): void {
  const get = {
    schema: { summary: 'Get a secret', params: IdOrName, response: { 200: SecretDocument } },
    config: { permission: 'secrets.list' },
  } as const
  api.get('/v1/secrets/:idOrName', get, async (request, reply) => {
    const secret = await secrets.get(principalOf(request), request.params.idOrName)
    return tagged(reply, { secret }).send(secret)
  })

  const patch = {
    schema: { summary: 'Change a secret', params: IdOrName, body: SecretUpdate, response: { 200: SecretDocument } },
    config: { permission: 'secrets.write' },
  } as const
  api.patch('/v1/secrets/:idOrName', patch, async (request, reply) => {
    const principal = principalOf(request)
    const ref = request.params.idOrName
    const ifVersion = versionOf(request.headers['if-match'])
    const options: WriteOptions = ifVersion === null ? {} : { ifVersion }
    if (ifVersion !== null && (await secrets.get(principal, ref)).version !== ifVersion)
      return preconditionFailed(reply)
    const written = await secrets.update(principal, ref, withValue(request.body), options)
    return tagged(reply, written).send(documentOf(written))
  })

  const remove = {
    schema: { summary: 'Delete a secret', params: IdOrName, querystring: DeleteQuery },
    config: { permission: 'secrets.delete' },
  } as const
  api.delete('/v1/secrets/:idOrName', remove, async (request, reply) => {
    const principal = principalOf(request)
    const ref = request.params.idOrName
    if (request.query.soft === 'true') await secrets.softDelete(principal, ref)
    else await secrets.delete(principal, ref)
    return reply.code(204).send()
  })
}

function lifecycle(api: Api, { secrets }: SecretDeps): void {
  const generate = {
    schema: {
      summary: 'Store a new random value, which nobody sees; makes the secret when there is none',
      params: IdOrName,
      body: SecretGenerate,
      response: { 200: SecretDocument, 201: SecretDocument },
    },
    config: { permission: 'secrets.write', idempotent: 'replay' },
  } as const
  api.post('/v1/secrets/:idOrName/generate', generate, async (request, reply) => {
    const written = await secrets.generate(principalOf(request), request.params.idOrName, request.body)
    const status = written.outcome === 'created' ? 201 : 200
    return tagged(reply, written).code(status).send(documentOf(written))
  })

  const revive = {
    schema: { summary: 'Revive a softly deleted secret', params: IdOrName, response: { 200: SecretDocument } },
    config: { permission: 'secrets.write' },
  } as const
  api.post('/v1/secrets/:idOrName/revive', revive, async (request, reply) => {
    const secret = await secrets.revive(principalOf(request), request.params.idOrName)
    return tagged(reply, { secret }).send(secret)
  })
}

function tagged<R extends FastifyReply>(reply: R, { secret }: Pick<SecretWritten, 'secret'>): R {
  void reply.header('etag', etagOf(secret.version))
  return reply
}

function documentOf({ secret, warnings }: SecretWritten): SecretDocument {
  return warnings.length === 0 ? secret : { ...secret, warnings }
}

function labelsOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair) => {
    const [, key, value] = /^([^=]{1,253})=(.{0,256})$/.exec(pair) ?? []
    if (key !== undefined && value !== undefined) return [key, value] as const
    throw new CoatcheckError('invalid_input', 'labels must be key=value pairs.', 'labels: key=value,key=value')
  })
  return Object.fromEntries(pairs)
}
