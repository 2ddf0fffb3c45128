/**
 * 1Claw's vaults: vaults of the caller's workspace. Shared paths: only keys of that contract are answered here.
 *
 * Vaults are told apart by id there, so a name may be used again; here a name is unique, so a further vault gets a mark behind it
 * (`prod~1a2b3c`), which that contract's answers leave out.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { randomBytes } from 'node:crypto'
import type { Static } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import type { Scope } from '../../core/scope.ts'
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
    const vault = await createVault(vaults, principalOf(request), request.body)
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

async function createVault(
  vaults: OneclawDeps['vaults'],
  principal: Principal,
  { name, description }: Static<typeof VaultBody>,
): Promise<Scope> {
  const input = { name, description: description || null }
  try {
    return await vaults.create(principal, input)
  } catch (error) {
    if (!(error instanceof CoatcheckError) || error.code !== 'conflict') throw error
    return await vaults.create(principal, { ...input, name: `${name}~${randomBytes(3).toString('hex')}` })
  }
}
