/**
 * Daytona's secrets: the organization is a workspace; values are write-only, placeholders are dressed `dtn_secret_`.
 *
 * Names are `[A-Za-z_][A-Za-z0-9_-]*` and never change; lists leave out secrets with other names. No hosts means any host, where the
 * workspace does not demand hosts. Unknown fields are ignored, as that server does.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { SecretValue } from '../../core/secret.ts'
import type { Api } from '../dependencies.ts'
import { pageOf } from '../paging.ts'
import type { CompatDeps } from './compat-deps.ts'
import { organizationOf } from './daytona-organization.ts'
import { daytonaSandboxRoutes } from './daytona-sandboxes.ts'
import {
  CreateBody,
  DAYTONA_ERRORS,
  ListQuery,
  SecretAnswer,
  SecretList,
  SecretPageAnswer,
  SecretParams,
  secretAnswer,
  UpdateBody,
} from './daytona-shapes.ts'
import { speakErrors } from './foreign-errors.ts'
import { spelledSecret } from './spelled.ts'
import { readBounded } from './walk.ts'

/** The old list has no pages. */
const MAX_LISTED = 1500
const DRESS = 'dtn_secret_'
/** Of names. */
const FORM = 'flat'

export function daytonaRoutes(api: Api, deps: CompatDeps): void {
  void api.register(
    async (scope: Api) => {
      speakErrors(scope, DAYTONA_ERRORS)
      listRoutes(scope, deps)
      secretRoutes(scope, deps)
      daytonaSandboxRoutes(scope, deps)
    },
    { prefix: '/api' },
  )
}

function listRoutes(api: Api, deps: CompatDeps): void {
  const config = { permission: 'secrets.list' } as const
  const order = { form: FORM, sort: 'createdAt', order: 'desc' } as const

  api.get('/secret', { config, schema: { response: { 200: SecretList } } }, async (request) => {
    const principal = await organizationOf(request, deps)
    const secrets = await readBounded((page) => deps.secrets.list(principal, { ...page, ...order }), MAX_LISTED)
    return secrets.map(secretAnswer)
  })

  const paginated = { querystring: ListQuery, response: { 200: SecretPageAnswer } }
  api.get('/secret/paginated', { config, schema: paginated }, async (request) => {
    const principal = await organizationOf(request, deps)
    const { name, sort, order: direction, ...page } = request.query
    const found = await deps.secrets.list(principal, {
      ...pageOf(page),
      form: FORM,
      sort: sort ?? order.sort,
      order: direction ?? order.order,
      total: true,
      ...(name === undefined || name === '' ? {} : { name }),
    })
    return { items: found.items.map(secretAnswer), total: found.total ?? 0, nextCursor: found.nextCursor }
  })
}

function secretRoutes(api: Api, deps: CompatDeps): void {
  const writing = { permission: 'secrets.write' } as const
  const { secrets } = deps

  const created = { body: CreateBody, response: { 201: SecretAnswer } }
  api.post('/secret', { config: writing, schema: created }, async (request, reply) => {
    const { name, value, description, hosts } = request.body
    const { secret } = await secrets.create(await organizationOf(request, deps), {
      name,
      value: SecretValue.fromText(value),
      dress: DRESS,
      hosts: hostsFrom(hosts),
      readPolicy: 'never',
      ...(description === undefined ? {} : { description }),
    })
    return reply.code(201).send(secretAnswer(secret))
  })

  const one = { params: SecretParams, response: { 200: SecretAnswer } }
  api.get('/secret/:secretId', { config: { permission: 'secrets.list' }, schema: one }, async (request) =>
    secretAnswer(await spelledSecret(deps, await organizationOf(request, deps), request.params.secretId, FORM)),
  )

  api.patch('/secret/:secretId', { config: writing, schema: { ...one, body: UpdateBody } }, async (request) => {
    const { value, description, hosts } = request.body
    const principal = await organizationOf(request, deps)
    const { id } = await spelledSecret(deps, principal, request.params.secretId, FORM)
    const { secret } = await secrets.update(principal, id, {
      ...(value === undefined ? {} : { value: SecretValue.fromText(value) }),
      ...(description === undefined ? {} : { description }),
      ...(hosts === undefined ? {} : { hosts: hostsFrom(hosts) }),
    })
    return secretAnswer(secret)
  })

  const removed = { params: SecretParams }
  const deleting = { permission: 'secrets.delete' } as const
  api.delete('/secret/:secretId', { config: deleting, schema: removed }, async (request, reply) => {
    const principal = await organizationOf(request, deps)
    const { id } = await spelledSecret(deps, principal, request.params.secretId, FORM)
    await secrets.delete(principal, id)
    return reply.code(204).send()
  })
}

/** An empty list is this contract's word for any host; whether any host is allowed is the core's to say. */
function hostsFrom(hosts: readonly string[] | undefined): readonly string[] | null {
  return hosts === undefined || hosts.length === 0 ? null : hosts
}
