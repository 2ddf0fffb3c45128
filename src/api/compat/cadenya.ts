/**
 * Cadenya's workspace secrets, in both generations of its routes: with the workspace in the path, and implied by the key.
 *
 * Names are upper-cased, as they are referred to (`${NAME}`); lists leave out secrets with other names. Values are write-only. Ids are
 * the native ids' 128 bits as prefixed ULIDs; `external_id:…` stands for an id.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyRequest } from 'fastify'
import { CoatcheckError } from '../../core/errors.ts'
import { isUuid, uuidOfUlid } from '../../core/id.ts'
import type { Principal } from '../../core/ports.ts'
import { type Secret, SecretValue } from '../../core/secret.ts'
import { principalOf } from '../authenticate.ts'
import type { Api } from '../dependencies.ts'
import { pageOf } from '../paging.ts'
import { patchFrom } from './cadenya-patch.ts'
import { authorOf } from './cadenya-profiles.ts'
import {
  CADENYA_ERRORS,
  CreateBody,
  ListQuery,
  Nothing,
  SecretAnswer,
  SecretPageAnswer,
  SecretParams,
  secretAnswer,
  UpdateBody,
} from './cadenya-shapes.ts'
import type { CompatDeps } from './compat-deps.ts'
import { speakErrors } from './foreign-errors.ts'
import { spelled, spelledSecret } from './spelled.ts'

const EXTERNAL = 'external_id:'
/** Of names. */
const FORM = 'capitals'

export function cadenyaRoutes(api: Api, deps: CompatDeps): void {
  for (const prefix of ['/v1/workspace_secrets', '/v1/workspaces/:workspaceId/workspace_secrets']) {
    void api.register(
      async (scope: Api) => {
        speakErrors(scope, CADENYA_ERRORS)
        listRoute(scope, deps)
        secretRoutes(scope, deps)
      },
      { prefix },
    )
  }
}

function listRoute(api: Api, deps: CompatDeps): void {
  const schema = { querystring: ListQuery, response: { 200: SecretPageAnswer } }
  api.get('/', { config: { permission: 'secrets.list' }, schema }, async (request) => {
    const { prefix, query, labels, sortOrder = 'asc', includeInfo, bundleKey, ...page } = request.query
    const principal = await workspaceOf(request, deps)
    const found = await deps.secrets.list(principal, {
      ...pageOf({ ...page, ...(page.cursor === '' ? { cursor: undefined } : {}) } as { limit?: number }),
      form: FORM,
      sort: 'createdAt',
      order: sortOrder,
      total: true,
      ...(prefix ? { prefix: prefix.toUpperCase() } : {}),
      ...(query ? { query } : {}),
      ...(labels ? { labels: labelsFrom(labels) } : {}),
    })
    const wanted = found.items.filter((secret) => !bundleKey || secret.metadata['bundleKey'] === bundleKey)
    const author = authorOf(principal, deps)
    const items = wanted.map(async (secret) =>
      secretAnswer(secret, principal, includeInfo === 'true' ? await author(secret) : null),
    )
    const next = found.nextCursor ?? ''
    // One generation reads next_cursor, the other nextCursor; each takes a missing one for the last page.
    return {
      items: await Promise.all(items),
      pagination: { nextCursor: next, next_cursor: next, total: found.total ?? 0 },
    }
  })
}

function secretRoutes(api: Api, deps: CompatDeps): void {
  const { secrets } = deps
  const writing = { permission: 'secrets.write' } as const

  const created = { body: CreateBody, response: { 200: SecretAnswer } }
  api.post('/', { config: writing, schema: created }, async (request) => {
    const principal = await workspaceOf(request, deps)
    const { metadata, spec } = request.body
    const { secret } = await secrets.create(principal, {
      name: metadata.name.toUpperCase(),
      value: SecretValue.fromText(spec.value),
      readPolicy: 'never',
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      ...(metadata.externalId ? { externalId: metadata.externalId } : {}),
      ...(metadata.bundleKey ? { metadata: { bundleKey: metadata.bundleKey } } : {}),
    })
    return secretAnswer(secret, principal, null)
  })

  const one = { params: SecretParams, response: { 200: SecretAnswer } }
  api.get('/:id', { config: { permission: 'secrets.list' }, schema: one }, async (request) => {
    const principal = await workspaceOf(request, deps)
    const secret = await find(deps, principal, request.params.id)
    return secretAnswer(secret, principal, await authorOf(principal, deps)(secret))
  })

  api.patch('/:id', { config: writing, schema: { ...one, body: UpdateBody } }, async (request) => {
    const principal = await workspaceOf(request, deps)
    const { id } = await find(deps, principal, request.params.id)
    const { secret } = await secrets.update(principal, id, patchFrom(request.body))
    return secretAnswer(secret, principal, null)
  })

  const removed = { params: SecretParams, response: { 200: Nothing } }
  api.delete('/:id', { config: { permission: 'secrets.delete' }, schema: removed }, async (request) => {
    const principal = await workspaceOf(request, deps)
    const { id } = await find(deps, principal, request.params.id)
    await secrets.delete(principal, id)
    return {}
  })
}

/** The caller in the workspace of the path, when there is one: by prefixed ULID, id, name or external key. */
async function workspaceOf(request: FastifyRequest, { workspaces }: CompatDeps): Promise<Principal> {
  const { workspaceId } = request.params as { readonly workspaceId?: string }
  if (workspaceId === undefined) return principalOf(request)
  const uuid = workspaceId.startsWith('ws_') ? uuidOfUlid(workspaceId.slice(3)) : null
  return await workspaces.enter(principalOf(request), uuid ?? workspaceId)
}

async function find(deps: CompatDeps, principal: Principal, ref: string): Promise<Secret> {
  if (ref.startsWith(EXTERNAL)) {
    return spelled(await deps.secrets.getByExternalId(principal, ref.slice(EXTERNAL.length)), FORM)
  }
  const id = ref.startsWith('wss_') ? uuidOfUlid(ref.slice(4)) : ref
  if (id !== null && isUuid(id)) return await spelledSecret(deps, principal, id, FORM)
  throw new CoatcheckError('not_found', 'There is no such workspace secret.', 'List them to see their ids.')
}

/** `k=v,k2=v2`: all of them. */
function labelsFrom(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair): [string, string] => {
    const equals = pair.indexOf('=')
    if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)]
    throw new CoatcheckError('invalid_input', 'labels is not a list of labels.', 'Write env=prod,team=core.')
  })
  return Object.fromEntries(pairs)
}
