/**
 * Cloud 66's configstore: the secrets of one namespace, which is a stack or the account, without inherited ones. A record's metadata is
 * a map of strings, its ttl the time from its last write to its expiry. Answers to writes and deletions hold no value.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import { isUuid } from '../../core/id.ts'
import type { Principal } from '../../core/ports.ts'
import { type Secret, SecretValue } from '../../core/secret.ts'
import type { SecretPut } from '../../core/secret-store.ts'
import { principalOf } from '../authenticate.ts'
import { Nullable, StringMap, texted } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import { bothPaths, lastParam } from './cloud66-paths.ts'
import { ownSecret } from './cloud66-secrets.ts'
import { intOf, KeyParams, Many, many, One, PagedQuery, pageNumbers, slicePage, valueField } from './cloud66-shapes.ts'
import { listedValue, rawValue } from './cloud66-values.ts'
import type { CompatDeps } from './compat-deps.ts'
import { VALUE_ROUTE } from './value-route.ts'
import { readBounded } from './walk.ts'

const MAX_LISTED = 10_000
const PATH = '/configstore/namespaces/:namespace/records'

const NamespaceParams = Type.Object({ namespace: texted(1, 768, 'A namespace, as a stack or account shows it.') })
const params = Type.Object({ ...NamespaceParams.properties, ...KeyParams.properties })
const fields = {
  raw_value: valueField,
  metadata: Type.Optional(Nullable(StringMap)),
  ttl: Type.Optional(Nullable(Type.Integer({ minimum: 0, maximum: 315_360_000, description: 'Seconds; 0 for none.' }))),
}
const CreateBody = Type.Object({
  record: Type.Object({ key: texted(1, 256, 'A key of 1 to 256 characters.'), ...fields }),
})
const UpdateBody = Type.Object({ record: Type.Object(fields) })
const RecordAnswer = Type.Object({
  key: Type.String(),
  raw_value: Nullable(Type.String()),
  metadata: Nullable(StringMap),
  ttl: Type.Integer(),
})

export function cloud66ConfigstoreRoutes(api: Api, deps: CompatDeps): void {
  const { secrets } = deps
  for (const path of bothPaths(PATH)) {
    const listed = { params: NamespaceParams, querystring: PagedQuery, response: { 200: Many(RecordAnswer) } }
    api.get(path, { ...VALUE_ROUTE, config: { permission: 'secrets.list' }, schema: listed }, async (request) => {
      const principal = await namespaceOf(request, deps)
      const all = await readBounded((page) => secrets.list(principal, { ...page, from: 'own' }), MAX_LISTED)
      const numbers = pageNumbers(request.query)
      const answers: Static<typeof RecordAnswer>[] = []
      for (const each of slicePage(all, numbers)) {
        answers.push(recordAnswer(each, await listedValue(deps, principal, each)))
      }
      return many(answers, all.length, numbers)
    })

    const created = { params: NamespaceParams, body: CreateBody, response: { 200: One(RecordAnswer) } }
    api.post(path, { config: { permission: 'secrets.write' }, schema: created }, async (request) => {
      const { key, ...rest } = request.body.record
      const { secret } = await secrets.create(await namespaceOf(request, deps), { name: key, ...recordFrom(rest) })
      return { response: recordAnswer(secret, null) }
    })
  }
  keyRoutes(api, deps)
}

function keyRoutes(api: Api, deps: CompatDeps): void {
  const { secrets } = deps
  const schema = { params, response: { 200: One(RecordAnswer) } }
  const path = `${PATH}/:key`

  api.get(path, { ...VALUE_ROUTE, config: { permission: 'secrets.read' }, schema }, async (request) => {
    const principal = await namespaceOf(request, deps)
    const secret = await recordOf(request, deps, principal)
    return { response: recordAnswer(secret, await rawValue(deps, principal, secret)) }
  })

  const writing = { permission: 'secrets.write' } as const
  api.put(path, { config: writing, schema: { ...schema, body: UpdateBody } }, async (request) => {
    const principal = await namespaceOf(request, deps)
    const old = await recordOf(request, deps, principal)
    const { secret } = await secrets.put(principal, old.id, recordFrom(request.body.record))
    return { response: recordAnswer(secret, null) }
  })

  api.delete(path, { config: { permission: 'secrets.delete' }, schema }, async (request) => {
    const principal = await namespaceOf(request, deps)
    const secret = await recordOf(request, deps, principal)
    await secrets.delete(principal, secret.id)
    return { response: recordAnswer(secret, null) }
  })
}

/** The caller on the account, or in the stack, that has the namespace. */
async function namespaceOf(request: FastifyRequest, { workspaces }: CompatDeps): Promise<Principal> {
  const { namespace } = request.params as { readonly namespace: string }
  const principal = principalOf(request)
  const ofAccount = namespace === principal.accountId || namespace === String(intOf(principal.accountId))
  return ofAccount ? await workspaces.enterAccount(principal) : await workspaces.enter(principal, namespace)
}

/** A key never means a secret by its id. */
async function recordOf(request: FastifyRequest, deps: CompatDeps, principal: Principal): Promise<Secret> {
  const key = lastParam(request, 'key')
  if (!isUuid(key)) return await ownSecret(deps, principal, key)
  throw new CoatcheckError('not_found', 'There is no such record.', 'List the records to see their keys.')
}

function recordFrom(record: Static<typeof UpdateBody>['record']): SecretPut {
  const expiry = record.ttl ? new Date(Date.now() + record.ttl * 1000).toISOString() : null
  return {
    value: SecretValue.fromText(record.raw_value),
    readPolicy: 'permission',
    metadata: record.metadata ?? {},
    expiresAt: expiry,
  }
}

function recordAnswer(secret: Secret, raw_value: string | null): Static<typeof RecordAnswer> {
  const texts = Object.entries(secret.metadata).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  const { expiresAt, updatedAt } = secret
  const ttl = expiresAt === null ? 0 : Math.max(0, Math.round((Date.parse(expiresAt) - Date.parse(updatedAt)) / 1000))
  return { key: secret.name, raw_value, metadata: texts.length === 0 ? null : Object.fromEntries(texts), ttl }
}
