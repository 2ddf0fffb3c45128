/**
 * Cloud 66's environment variables: the same secrets, with the value in `value` for who may read it and empty for others. Writes answer
 * the asynchronous action that their clients wait for; here it is done before the answer.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Principal } from '../../core/ports.ts'
import { type Secret, SecretValue } from '../../core/secret.ts'
import type { Api } from '../dependencies.ts'
import { ActionAnswer, actionAnswer } from './cloud66-actions.ts'
import { bothPaths, lastParam, stackOf } from './cloud66-paths.ts'
import { keyOf, overwrite, ownSecret, pageOfSecrets } from './cloud66-secrets.ts'
import { intOf, KeyParams, keyField, Many, many, One, PagedQuery, StackParams, valueField } from './cloud66-shapes.ts'
import { listedValue, rawValue } from './cloud66-values.ts'
import type { CompatDeps } from './compat-deps.ts'
import { VALUE_ROUTE } from './value-route.ts'

const text = Type.String()
const dates = { created_at: text, updated_at: text, created_at_iso: text, updated_at_iso: text }
const VariableAnswer = Type.Object({
  id: Type.Integer(),
  key: text,
  value: text,
  readonly: Type.Boolean(),
  is_generated: Type.Boolean(),
  is_password: Type.Boolean(),
  ...dates,
  /** Earlier values are not shown again: when they were is. */
  history: Type.Array(Type.Object({ key: text, value: text, ...dates })),
})
const strategy = { apply_strategy: Type.Optional(Type.String({ maxLength: 64, description: 'A text.' })) }
const CreateBody = Type.Object({ key: keyField, value: valueField, ...strategy })
const UpdateBody = Type.Object({ value: valueField, ...strategy })
const PATH = '/stacks/:uid/environments'

export function cloud66EnvironmentRoutes(api: Api, deps: CompatDeps): void {
  for (const path of bothPaths(PATH)) {
    const listed = { params: StackParams, querystring: PagedQuery, response: { 200: Many(VariableAnswer) } }
    api.get(path, { ...VALUE_ROUTE, config: { permission: 'secrets.list' }, schema: listed }, async (request) => {
      const principal = await stackOf(request, deps)
      const { shown, count, numbers } = await pageOfSecrets(deps, principal, request.query)
      const answers: Static<typeof VariableAnswer>[] = []
      for (const each of shown) answers.push(variableAnswer(each, await listedValue(deps, principal, each), []))
      return many(answers, count, numbers)
    })

    const created = { params: StackParams, body: CreateBody, response: { 200: One(ActionAnswer) } }
    api.post(path, { config: { permission: 'secrets.write' }, schema: created }, async (request) => {
      const principal = await stackOf(request, deps)
      const { key, value } = request.body
      const input = { name: key, value: SecretValue.fromText(value), readPolicy: 'permission' } as const
      const { secret } = await deps.secrets.create(principal, input)
      return { response: actionAnswer('env-var-new', principal, secret.id, secret.updatedAt) }
    })
  }
  keyRoutes(api, deps)
}

function keyRoutes(api: Api, deps: CompatDeps): void {
  const params = Type.Object({ ...StackParams.properties, ...KeyParams.properties })
  const shown = { params, response: { 200: One(VariableAnswer) } }
  api.get(
    `${PATH}/:key`,
    { ...VALUE_ROUTE, config: { permission: 'secrets.read' }, schema: shown },
    async (request) => {
      const principal = await stackOf(request, deps)
      const secret = await find(request, deps, principal)
      const versions = await deps.secrets.versions(principal, secret.id)
      const earlier = versions.filter(({ version }) => version < secret.version)
      const history = earlier.map(({ createdAt }) => ({
        key: secret.name,
        value: '',
        ...datesOf(createdAt, createdAt),
      }))
      return { response: variableAnswer(secret, await rawValue(deps, principal, secret), history) }
    },
  )

  const changed = { params, response: { 200: One(ActionAnswer) } }
  const writing = { permission: 'secrets.write' } as const
  api.put(`${PATH}/:key`, { config: writing, schema: { ...changed, body: UpdateBody } }, async (request) => {
    const principal = await stackOf(request, deps)
    const secret = await overwrite(deps, principal, keyOf(request), SecretValue.fromText(request.body.value))
    return { response: actionAnswer('env-var-update', principal, secret.id, secret.updatedAt) }
  })

  api.delete(`${PATH}/:key`, { config: { permission: 'secrets.delete' }, schema: changed }, async (request) => {
    const principal = await stackOf(request, deps)
    const secret = await ownSecret(deps, principal, keyOf(request))
    await deps.secrets.delete(principal, secret.id)
    return { response: actionAnswer('env-var-delete', principal, secret.id, new Date().toISOString()) }
  })
}

/** By key, or by the number of a variable that a list showed. */
async function find(request: FastifyRequest, deps: CompatDeps, principal: Principal): Promise<Secret> {
  const key = lastParam(request, 'key')
  if (!/^\d{1,15}$/.test(key)) return await deps.secrets.get(principal, keyOf(request))
  for (let page = 1; ; page++) {
    const { shown, numbers, count } = await pageOfSecrets(deps, principal, { page, per_page: 100 })
    const found = shown.find((secret) => intOf(secret.id) === Number(key))
    if (found !== undefined) return found
    if (page * numbers.perPage >= count) return await deps.secrets.get(principal, keyOf(request))
  }
}

function variableAnswer(
  secret: Secret,
  value: string | null,
  history: Static<typeof VariableAnswer>['history'],
): Static<typeof VariableAnswer> {
  return {
    id: intOf(secret.id),
    key: secret.name,
    value: value ?? '',
    readonly: false,
    is_generated: false,
    is_password: secret.type === 'password',
    ...datesOf(secret.createdAt, secret.updatedAt),
    history,
  }
}

function datesOf(created: string, updated: string) {
  return { created_at: created, updated_at: updated, created_at_iso: created, updated_at_iso: updated }
}
