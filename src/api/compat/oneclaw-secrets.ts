/**
 * 1Claw's secrets by path. A PUT makes the secret or its next version, also of one that was deleted; a DELETE is soft, and what was
 * deleted, disabled, used up or has expired is 410. A GET is a reveal: it needs the permission `read`, is recorded first and counted,
 * and is refused for secrets that another contract made write-only.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import { SecretValue } from '../../core/secret.ts'
import type { RevealedSecret, SecretPut } from '../../core/secret-store.ts'
import { shownValue } from '../../core/value-text.ts'
import { principalOf } from '../authenticate.ts'
import type { Api } from '../dependencies.ts'
import type { OneclawDeps } from './oneclaw-deps.ts'
import {
  ListQuery,
  MetaAnswer,
  metaOf,
  PathParams,
  PutBody,
  pathFrom,
  RotateBody,
  SecretsAnswer,
  ValueAnswer,
  VaultParams,
  VersionsAnswer,
  versionMetaOf,
} from './oneclaw-shapes.ts'
import { VALUE_ROUTE } from './value-route.ts'
import { readBounded } from './walk.ts'

/** This contract's list has no pages. */
const MAX_LISTED = 10_000

export function oneclawSecretRoutes(api: Api, deps: OneclawDeps): void {
  listRoute(api, deps)
  valueRoutes(api, deps)
  versionRoutes(api, deps)
}

function listRoute(api: Api, deps: OneclawDeps): void {
  const { secrets, authenticate } = deps
  const config = { permission: 'secrets.list', authenticate } as const
  const schema = { params: VaultParams, querystring: ListQuery, response: { 200: SecretsAnswer } }
  api.get('/secrets', { config, schema }, async (request) => {
    const principal = await vaultOf(request, deps)
    const { prefix } = request.query
    const filter = { form: 'path', ...(prefix ? { prefix } : {}) } as const
    const found = await readBounded((page) => secrets.list(principal, { ...page, ...filter }), MAX_LISTED)
    return { secrets: found.map(metaOf) }
  })
}

function valueRoutes(api: Api, deps: OneclawDeps): void {
  const { secrets, reveals, authenticate } = deps
  const writing = { permission: 'secrets.write', authenticate } as const

  const written = { params: PathParams, body: PutBody, response: { 201: MetaAnswer } }
  api.put('/secrets/*', { config: writing, schema: written }, async (request, reply) => {
    const path = pathFrom(request.params['*'])
    const { secret } = await secrets.put(await vaultOf(request, deps), path, putFrom(request.body))
    return reply.code(201).send(metaOf(secret))
  })

  const shown = { params: PathParams, response: { 200: ValueAnswer } }
  const reading = { permission: 'secrets.read', authenticate } as const
  api.get('/secrets/*', { ...VALUE_ROUTE, config: reading, schema: shown }, async (request) => {
    const path = pathFrom(request.params['*'])
    return valueAnswer(await reveals.reveal(await vaultOf(request, deps), path))
  })

  const deleting = { permission: 'secrets.delete', authenticate } as const
  api.delete('/secrets/*', { config: deleting, schema: { params: PathParams } }, async (request, reply) => {
    await secrets.softDelete(await vaultOf(request, deps), pathFrom(request.params['*']))
    return reply.code(204).send()
  })

  const rotated = { params: PathParams, body: RotateBody, response: { 201: MetaAnswer } }
  api.post('/secret-rotate/*', { config: writing, schema: rotated }, async (request, reply) => {
    const principal = await vaultOf(request, deps)
    const { id } = await secrets.get(principal, pathFrom(request.params['*']))
    const { secret } = await secrets.generate(principal, id, request.body)
    return reply.code(201).send(metaOf(secret))
  })
}

function versionRoutes(api: Api, deps: OneclawDeps): void {
  const { secrets, reveals, authenticate } = deps

  const listed = { params: PathParams, response: { 200: VersionsAnswer } }
  const listing = { permission: 'secrets.list', authenticate } as const
  api.get('/secret-versions/*', { config: listing, schema: listed }, async (request) => {
    const principal = await vaultOf(request, deps)
    const secret = await secrets.get(principal, pathFrom(request.params['*']))
    const versions = await secrets.versions(principal, secret.id)
    return { versions: versions.map((version) => versionMetaOf(secret, version)).sort((a, b) => a.version - b.version) }
  })

  const shown = { params: PathParams, response: { 200: ValueAnswer } }
  const reading = { permission: 'secrets.read', authenticate } as const
  api.get('/secret-version/*', { ...VALUE_ROUTE, config: reading, schema: shown }, async (request) => {
    const { path, version } = versionFrom(request.params['*'])
    return valueAnswer(await reveals.reveal(await vaultOf(request, deps), path, { version }))
  })

  const writing = { permission: 'secrets.write', authenticate } as const
  api.post('/secret-version-disable/*', { config: writing, schema: { params: PathParams } }, async (request, reply) => {
    const { path, version } = versionFrom(request.params['*'])
    await secrets.disableVersion(await vaultOf(request, deps), path, version)
    return reply.code(204).send()
  })
}

/** The caller in the vault of the path. */
export async function vaultOf(request: FastifyRequest, { vaults }: OneclawDeps): Promise<Principal> {
  const { vaultId } = request.params as { readonly vaultId: string }
  return await vaults.enter(principalOf(request), vaultId)
}

/** What a PUT leaves out is unset on the new version, but for its type. */
function putFrom(body: Static<typeof PutBody>): SecretPut {
  const type = body.type ?? body.secret_type
  return {
    value: SecretValue.fromText(body.value),
    readPolicy: 'permission',
    metadata: body.metadata ?? {},
    expiresAt: body.expires_at ?? null,
    maxAccessCount: body.max_access_count ?? null,
    rotationPolicy: body.rotation_policy ?? null,
    ...(type === undefined ? {} : { type }),
  }
}

function valueAnswer({ secret, version, value }: RevealedSecret): Static<typeof ValueAnswer> {
  const by = secret.createdByKind === 'agent' ? 'agent' : 'user'
  return {
    ...versionMetaOf(secret, version),
    value: shownValue(value).text,
    created_by: `${by}:${secret.createdById}`,
  }
}

/** `api-keys/stripe/3`: the last segment is the version. */
function versionFrom(text: string): { readonly path: string; readonly version: number } {
  const [, path, digits] = /^(.+)\/([1-9]\d{0,8})$/.exec(text) ?? []
  if (path !== undefined) return { path: pathFrom(path), version: Number(digits) }
  throw new CoatcheckError('invalid_input', 'The version is not a whole number from 1.', 'End the path with a version.')
}
