/**
 * Cloud 66's secrets of a stack and of an account. Account secrets show in every stack (`inherited`), until the stack has one of the
 * same key; writing an inherited key in a stack makes that override, deleting it shows the account's again, and nothing done in a
 * stack touches the account's.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import type { Page, PageRequest, Principal } from '../../core/ports.ts'
import { type Secret, SecretValue } from '../../core/secret.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import { Nullable } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import { accountOf, bothPaths, lastParam, stackOf } from './cloud66-paths.ts'
import {
  KeyParams,
  keyField,
  Many,
  many,
  One,
  PagedQuery,
  type PageNumbers,
  pageNumbers,
  StackParams,
  sealMark,
  slicePage,
  valueField,
} from './cloud66-shapes.ts'
import { AccountParams } from './cloud66-stacks.ts'
import { listedValue, rawValue } from './cloud66-values.ts'
import type { CompatDeps } from './compat-deps.ts'
import { VALUE_ROUTE } from './value-route.ts'
import { readBounded } from './walk.ts'

/** Read for a page by number: the pages before it are read too. */
const MAX_LISTED = 10_000

const text = Type.String()
const SecretAnswer = Type.Object({
  key: text,
  /** Stands for the ciphertext. */
  value: text,
  raw_value: Nullable(text),
  inherited: Type.Boolean(),
  created_at_iso: text,
  updated_at_iso: text,
})
const CreateBody = Type.Object({ key: keyField, value: valueField })
const UpdateBody = Type.Object({ value: valueField })

interface Place {
  readonly base: string
  readonly params: typeof StackParams | typeof AccountParams
  readonly enter: (request: FastifyRequest) => Promise<Principal>
}

export function cloud66SecretRoutes(api: Api, deps: CompatDeps): void {
  const stack = {
    base: '/stacks/:uid/secrets',
    params: StackParams,
    enter: async (r: FastifyRequest) => stackOf(r, deps),
  }
  const account = {
    base: '/accounts/:accountId/secrets',
    params: AccountParams,
    enter: async (request: FastifyRequest) => accountOf(request, deps),
  }
  for (const place of [stack, account]) {
    listRoutes(api, deps, place)
    keyRoutes(api, deps, place)
  }
}

function listRoutes(api: Api, deps: CompatDeps, { base, params, enter }: Place): void {
  const { secrets } = deps
  for (const path of bothPaths(base)) {
    const listed = { params, querystring: PagedQuery, response: { 200: Many(SecretAnswer) } }
    api.get(path, { ...VALUE_ROUTE, config: { permission: 'secrets.list' }, schema: listed }, async (request) => {
      const principal = await enter(request)
      const { shown, count, numbers } = await pageOfSecrets(deps, principal, request.query)
      const answers: Static<typeof SecretAnswer>[] = []
      for (const each of shown) answers.push(secretAnswer(each, await listedValue(deps, principal, each)))
      return many(answers, count, numbers)
    })

    const created = { params, body: CreateBody, response: { 200: One(SecretAnswer) } }
    api.post(path, { config: { permission: 'secrets.write' }, schema: created }, async (request) => {
      const { key, value } = request.body
      const { secret } = await secrets.create(await enter(request), {
        name: key,
        value: SecretValue.fromText(value),
        readPolicy: 'permission',
      })
      return { response: secretAnswer(secret, null) }
    })
  }
}

function keyRoutes(api: Api, deps: CompatDeps, { base, params, enter }: Place): void {
  const { secrets } = deps
  const one = {
    params: Type.Object({ ...params.properties, ...KeyParams.properties }),
    response: { 200: One(SecretAnswer) },
  }
  const path = `${base}/:key`

  api.get(path, { ...VALUE_ROUTE, config: { permission: 'secrets.read' }, schema: one }, async (request) => {
    const principal = await enter(request)
    const secret = await secrets.get(principal, keyOf(request))
    return { response: secretAnswer(secret, await rawValue(deps, principal, secret)) }
  })

  const writing = { permission: 'secrets.write' } as const
  api.put(path, { config: writing, schema: { ...one, body: UpdateBody } }, async (request) => {
    const secret = await overwrite(deps, await enter(request), keyOf(request), SecretValue.fromText(request.body.value))
    return { response: secretAnswer(secret, null) }
  })

  api.delete(path, { config: { permission: 'secrets.delete' }, schema: one }, async (request) => {
    const principal = await enter(request)
    const secret = await ownSecret(deps, principal, keyOf(request))
    await secrets.delete(principal, secret.id)
    return { response: secretAnswer(secret, null) }
  })
}

/** A page of secrets that can be environment variables. */
export async function pageOfSecrets(
  { secrets }: Pick<CompatDeps, 'secrets'>,
  principal: Principal,
  query: Static<typeof PagedQuery>,
): Promise<{ readonly shown: readonly Secret[]; readonly count: number; readonly numbers: PageNumbers }> {
  const read = (page: PageRequest): Promise<Page<Secret>> => secrets.list(principal, { ...page, form: 'variable' })
  const all = await readBounded(read, MAX_LISTED)
  const numbers = pageNumbers(query)
  return { shown: slicePage(all, numbers), count: all.length, numbers }
}

/** A new value for the scope's own secret, or its override of an inherited one; `not_found` when it has neither. */
export async function overwrite(
  { secrets }: Pick<CompatDeps, 'secrets'>,
  principal: Principal,
  key: string,
  value: SecretValue,
): Promise<Secret> {
  const old = await secrets.get(principal, key)
  const written = old.inherited
    ? await secrets.create(principal, { name: old.name, value, readPolicy: 'permission' })
    : await secrets.update(principal, old.id, { value })
  return written.secret
}

/** The scope's own; an inherited one is `not_found`, as it is deleted where it is. */
export async function ownSecret(
  { secrets }: Pick<CompatDeps, 'secrets'>,
  principal: Principal,
  key: string,
): Promise<Secret> {
  const secret = await secrets.get(principal, key)
  if (!secret.inherited) return secret
  throw new CoatcheckError('not_found', 'The stack has no such secret of its own.', 'Delete it on the account.')
}

/** A key never means a secret by its id. */
export function keyOf(request: FastifyRequest): string {
  const key = lastParam(request, 'key')
  if (NAME_FORMS.variable.test(key)) return key
  throw new CoatcheckError('not_found', 'There is no such secret.', 'Keys are letters, digits and _.')
}

function secretAnswer(secret: Secret, raw_value: string | null): Static<typeof SecretAnswer> {
  const { name: key, inherited, createdAt: created_at_iso, updatedAt: updated_at_iso } = secret
  return { key, value: sealMark(secret), raw_value, inherited, created_at_iso, updated_at_iso }
}
