/** Cloud 66's stacks and accounts: the workspaces that the caller's token reaches, and its account when it reaches that. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { type Static, Type } from 'typebox'
import type { Scope } from '../../core/scope.ts'
import { principalOf } from '../authenticate.ts'
import { texted } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import { accountOf, bothPaths, lastParam } from './cloud66-paths.ts'
import { intOf, Many, many, One, PagedQuery, pageNumbers, StackParams, slicePage } from './cloud66-shapes.ts'
import type { CompatDeps } from './compat-deps.ts'
import { readBounded } from './walk.ts'

const MAX_STACKS = 10_000

const text = Type.String()
const StackAnswer = Type.Object({
  uid: text,
  name: text,
  environment: text,
  account_id: Type.Integer(),
  account_name: text,
  configstore_namespace: text,
  created_at_iso: text,
  updated_at_iso: text,
})
const AccountAnswer = Type.Object({
  id: Type.Integer(),
  friendly_name: text,
  current_account: Type.Boolean(),
  configstore_namespace: text,
  created_at: text,
  updated_at: text,
})
export const AccountParams = Type.Object({ accountId: texted(1, 768, 'The id of an account.') })

export function cloud66StackRoutes(api: Api, deps: CompatDeps): void {
  const { workspaces } = deps
  const config = { permission: 'scopes.view' } as const

  const listed = { querystring: PagedQuery, response: { 200: Many(StackAnswer) } }
  for (const path of bothPaths('/stacks')) {
    api.get(path, { config, schema: listed }, async (request) => {
      const principal = principalOf(request)
      const account = await workspaces.account(principal)
      const stacks = await readBounded((page) => workspaces.list(principal, page), MAX_STACKS)
      const numbers = pageNumbers(request.query)
      const shown = slicePage(stacks, numbers).map((stack) => stackAnswer(stack, account))
      return many(shown, stacks.length, numbers)
    })
  }

  const one = { params: StackParams, response: { 200: One(StackAnswer) } }
  api.get('/stacks/:uid', { config, schema: one }, async (request) => {
    const principal = principalOf(request)
    const stack = await workspaces.get(principal, lastParam(request, 'uid'))
    return { response: stackAnswer(stack, await workspaces.account(principal)) }
  })

  for (const path of bothPaths('/accounts')) {
    api.get(
      path,
      { config, schema: { querystring: PagedQuery, response: { 200: Many(AccountAnswer) } } },
      async (request) => {
        const numbers = pageNumbers(request.query)
        const accounts = [accountAnswer(await workspaces.account(principalOf(request)))]
        return many(slicePage(accounts, numbers), accounts.length, numbers)
      },
    )
  }

  const account = { params: AccountParams, response: { 200: One(AccountAnswer) } }
  api.get('/accounts/:accountId', { config, schema: account }, async (request) => ({
    response: accountAnswer(await workspaces.account(await accountOf(request, deps))),
  }))
}

function stackAnswer(stack: Scope, account: Scope): Static<typeof StackAnswer> {
  const uid = stack.externalKey ?? stack.id
  return {
    uid,
    name: stack.name,
    // A workspace has no environments of its own.
    environment: 'production',
    account_id: intOf(account.id),
    account_name: account.name,
    configstore_namespace: uid,
    created_at_iso: stack.createdAt,
    updated_at_iso: stack.createdAt,
  }
}

function accountAnswer(account: Scope): Static<typeof AccountAnswer> {
  return {
    id: intOf(account.id),
    friendly_name: account.name,
    current_account: true,
    configstore_namespace: account.id,
    created_at: account.createdAt,
    updated_at: account.createdAt,
  }
}
