/** 1Claw's vaults: vaults of the caller's workspace. Shared paths: only keys of that contract are answered here. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { principalOf } from '../authenticate.ts'
import type { Api } from '../dependencies.ts'
import type { ONECLAW_KEYS, OneclawDeps } from './oneclaw-deps.ts'
import { VaultAnswer, VaultBody, VaultParams, VaultsAnswer, vaultAnswer } from './oneclaw-shapes.ts'
import { readBounded } from './walk.ts'

const MAX_VAULTS = 10_000

export function oneclawVaultRoutes(
  api: Api,
  { vaults, authenticate }: OneclawDeps,
  constraints: (typeof ONECLAW_KEYS)[number],
): void {
  const shared = { constraints }
  const managing = { permission: 'scopes.manage', authenticate } as const
  const viewing = { permission: 'scopes.view', authenticate } as const

  const created = { body: VaultBody, response: { 201: VaultAnswer } }
  api.post('/v1/vaults', { ...shared, config: managing, schema: created }, async (request, reply) => {
    const { name, description = null } = request.body
    const vault = await vaults.create(principalOf(request), {
      name,
      description: description === '' ? null : description,
    })
    return reply.code(201).send(vaultAnswer(vault))
  })

  api.get(
    '/v1/vaults',
    { ...shared, config: viewing, schema: { response: { 200: VaultsAnswer } } },
    async (request) => {
      const found = await readBounded((page) => vaults.list(principalOf(request), page), MAX_VAULTS)
      return { vaults: found.map(vaultAnswer) }
    },
  )

  const one = { params: VaultParams, response: { 200: VaultAnswer } }
  api.get('/v1/vaults/:vaultId', { ...shared, config: viewing, schema: one }, async (request) =>
    vaultAnswer(await vaults.get(principalOf(request), request.params.vaultId)),
  )

  const removed = { params: VaultParams }
  api.delete('/v1/vaults/:vaultId', { ...shared, config: managing, schema: removed }, async (request, reply) => {
    await vaults.delete(principalOf(request), request.params.vaultId)
    return reply.code(204).send()
  })
}
