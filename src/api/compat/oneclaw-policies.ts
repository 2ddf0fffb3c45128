/**
 * 1Claw's policies: access policies of the vault. Its `read` covers listing and reading, its `write` changing and deleting; permissions
 * that another door gave are shown as they are.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { type Static, Type } from 'typebox'
import type { AccessPolicy, NewAccessPolicy, Permission } from '../../core/access-policy.ts'
import { JsonObject, Nullable, texted, timeField } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import type { OneclawDeps } from './oneclaw-deps.ts'
import { vaultOf } from './oneclaw-secrets.ts'
import { VaultParams } from './oneclaw-shapes.ts'
import { readBounded } from './walk.ts'

const MAX_POLICIES = 10_000
const GRANTS = { read: ['list', 'read'], write: ['write', 'delete'] } as const

const text = Type.String()
const PolicyParams = Type.Object({ ...VaultParams.properties, policyId: texted(1, 256, 'The id of a policy.') })
const changeable = {
  permissions: Type.Array(Type.Enum(['read', 'write'], { description: 'read or write.' }), {
    minItems: 1,
    maxItems: 2,
    description: 'One or both of read and write.',
  }),
  conditions: Type.Optional(Nullable(JsonObject)),
  expires_at: Type.Optional(Nullable(timeField)),
  effect: Type.Optional(Type.Enum(['allow', 'deny'], { description: 'allow or deny.' })),
  priority: Type.Optional(
    Type.Integer({ minimum: -1000, maximum: 1000, description: 'A whole number from -1000 to 1000.' }),
  ),
}
const about = {
  secret_path_pattern: texted(1, 256, 'A path such as prod/** in which * is a part of a segment and ** any number.'),
  principal_type: Type.Enum(['user', 'agent'], { description: 'user or agent.' }),
  principal_id: texted(1, 256, 'The id of a user or an agent.'),
}
const CreateBody = Type.Object({ ...about, ...changeable })
const UpdateBody = Type.Partial(CreateBody)
const PolicyAnswer = Type.Object({
  id: text,
  vault_id: text,
  secret_path_pattern: text,
  principal_type: text,
  principal_id: Nullable(text),
  permissions: Type.Array(text),
  conditions: JsonObject,
  expires_at: Nullable(text),
  effect: text,
  priority: Type.Integer(),
  created_by: text,
  created_at: text,
})

export function oneclawPolicyRoutes(api: Api, deps: OneclawDeps): void {
  const { policies, authenticate } = deps
  const managing = { permission: 'policies.manage', authenticate } as const

  const created = { params: VaultParams, body: CreateBody, response: { 201: PolicyAnswer } }
  api.post('/policies', { config: managing, schema: created }, async (request, reply) => {
    const policy = await policies.create(await vaultOf(request, deps), policyFrom(request.body))
    return reply.code(201).send(policyAnswer(policy))
  })

  const listed = { params: VaultParams, response: { 200: Type.Object({ policies: Type.Array(PolicyAnswer) }) } }
  const viewing = { permission: 'policies.view', authenticate } as const
  api.get('/policies', { config: viewing, schema: listed }, async (request) => {
    const principal = await vaultOf(request, deps)
    const found = await readBounded((page) => policies.list(principal, page), MAX_POLICIES)
    return { policies: found.map(policyAnswer) }
  })

  const replaced = { params: PolicyParams, body: UpdateBody, response: { 200: PolicyAnswer } }
  api.put('/policies/:policyId', { config: managing, schema: replaced }, async (request) => {
    const principal = await vaultOf(request, deps)
    const old = await policies.get(principal, request.params.policyId)
    return policyAnswer(await policies.replace(principal, old.id, { ...old, ...policyFrom(request.body) }))
  })

  api.delete('/policies/:policyId', { config: managing, schema: { params: PolicyParams } }, async (request, reply) => {
    await policies.delete(await vaultOf(request, deps), request.params.policyId)
    return reply.code(204).send()
  })
}

function policyFrom(body: Static<typeof CreateBody>): NewAccessPolicy
function policyFrom(body: Static<typeof UpdateBody>): Partial<NewAccessPolicy>
function policyFrom(body: Static<typeof UpdateBody>): Partial<NewAccessPolicy> {
  const { secret_path_pattern, permissions, principal_type, principal_id, expires_at, conditions } = body
  return {
    ...(secret_path_pattern === undefined ? {} : { path: secret_path_pattern }),
    ...(permissions === undefined ? {} : { permissions: permissions.flatMap((each) => GRANTS[each]) }),
    // An API key is a user to this contract, so the id alone says who is meant.
    ...(principal_type === 'agent'
      ? { principalKind: 'agent' }
      : principal_type === 'user'
        ? { principalKind: null }
        : {}),
    ...(principal_id === undefined ? {} : { principalId: principal_id }),
    ...(expires_at === undefined ? {} : { expiresAt: expires_at }),
    ...(conditions === undefined ? {} : { conditions: conditions ?? {} }),
    ...(body.effect === undefined ? {} : { effect: body.effect }),
    ...(body.priority === undefined ? {} : { priority: body.priority }),
  }
}

function policyAnswer(policy: AccessPolicy): Static<typeof PolicyAnswer> {
  return {
    id: policy.id,
    vault_id: policy.scopeId,
    secret_path_pattern: policy.path,
    principal_type: policy.principalKind === 'agent' ? 'agent' : 'user',
    principal_id: policy.principalId,
    permissions: [...new Set(policy.permissions.map(shownPermission))],
    conditions: policy.conditions,
    expires_at: policy.expiresAt,
    effect: policy.effect,
    priority: policy.priority,
    created_by: policy.createdBy,
    created_at: policy.createdAt,
  }
}

function shownPermission(permission: Permission): string {
  if (permission === 'use') return permission
  return permission === 'list' || permission === 'read' ? 'read' : 'write'
}
