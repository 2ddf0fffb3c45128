/**
 * The part of Daytona's sandboxes that mounts secrets. coatcheck runs no workload: what is answered is an identity, its placeholders
 * and, when it is made, how to reach the proxy. Environment and resources that a client asks for are neither kept nor answered.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { clientEnvironment, LOOPBACK_NO_PROXY, proxyUrlFor } from '../../core/client-environment.ts'
import { CoatcheckError } from '../../core/errors.ts'
import type { Sandbox } from '../../core/sandbox.ts'
import { shownValue } from '../../core/value-text.ts'
import { principalOf } from '../authenticate.ts'
import type { Api } from '../dependencies.ts'
import type { CompatDeps } from './compat-deps.ts'
import { organizationOf } from './daytona-organization.ts'
import { MountsBody, ResolvedAnswer, SandboxAnswer, SandboxBody, SandboxParams } from './daytona-shapes.ts'
import { VALUE_ROUTE } from './value-route.ts'

type Answer = Static<typeof SandboxAnswer>
/** Where clients look for the language of a sandbox. */
const NO_LABELS = { 'code-toolbox-language': 'typescript' }

export function daytonaSandboxRoutes(api: Api, deps: CompatDeps): void {
  const managing = { permission: 'sandboxes.manage' } as const
  const { sandboxes } = deps

  const created = { body: SandboxBody, response: { 200: SandboxAnswer } }
  api.post('/sandbox', { config: managing, schema: created }, async (request): Promise<Answer> => {
    const { name = `sandbox-${randomBytes(6).toString('hex')}`, secrets = [], ...rest } = request.body
    const principal = await organizationOf(request, deps)
    const { sandbox, token } = await sandboxes.create(principal, { name, mounts: mountsFrom(secrets) })
    const proxyUrl = proxyUrlFor(deps.proxyUrl(), sandbox.name, token)
    const client = clientEnvironment({ ...deps.trust, proxyUrl, noProxy: LOOPBACK_NO_PROXY })
    const answer = sandboxAnswer(request, sandbox)
    return {
      ...answer,
      env: { ...client, ...answer.env },
      labels: rest.labels ?? NO_LABELS,
      target: rest.target ?? answer.target,
    }
  })

  const one = { params: SandboxParams, response: { 200: SandboxAnswer } }
  api.get('/sandbox/:idOrName', { config: { permission: 'sandboxes.view' }, schema: one }, async (request) =>
    sandboxAnswer(request, await sandboxes.get(await organizationOf(request, deps), request.params.idOrName)),
  )

  api.delete('/sandbox/:idOrName', { config: managing, schema: one }, async (request) => {
    const principal = await organizationOf(request, deps)
    const sandbox = await sandboxes.get(principal, request.params.idOrName)
    await sandboxes.delete(principal, sandbox.id)
    return { ...sandboxAnswer(request, sandbox), env: {}, state: 'destroyed' }
  })

  const mounted = { ...one, body: MountsBody }
  api.put('/sandbox/:idOrName/secrets', { config: managing, schema: mounted }, async (request) => {
    const principal = await organizationOf(request, deps)
    const mounts = mountsFrom(request.body.secrets)
    return sandboxAnswer(request, await sandboxes.setMounts(principal, request.params.idOrName, mounts))
  })

  runnerRoute(api, deps)
}

/** Values, for the credential of a runner alone: no user's key is accepted here, whatever its role. */
function runnerRoute(api: Api, { reveals }: CompatDeps): void {
  const config = { permission: 'mounts.resolve', audience: 'runner' } as const
  const schema = { params: SandboxParams, response: { 200: ResolvedAnswer } }
  api.get('/sandbox/:idOrName/secrets', { ...VALUE_ROUTE, config, schema }, async (request) => {
    const resolved = await reveals.resolve(principalOf(request), request.params.idOrName)
    return resolved.map(({ env, secret, value }) => ({
      env,
      placeholder: secret.placeholder,
      value: shownValue(value).text,
      hosts: [...(secret.hosts ?? [])],
    }))
  })
}

/** One map of the one-key objects. */
function mountsFrom(entries: readonly Readonly<Record<string, string>>[]): Readonly<Record<string, string>> {
  const pairs = entries.flatMap((entry) => Object.entries(entry))
  const mounts = Object.fromEntries(pairs)
  if (Object.keys(mounts).length === pairs.length) return mounts
  throw new CoatcheckError(
    'invalid_input',
    'secrets names an environment variable twice.',
    'Mount each variable from one secret.',
  )
}

function sandboxAnswer(request: FastifyRequest, sandbox: Sandbox): Answer {
  return {
    id: sandbox.id,
    organizationId: sandbox.workspaceId,
    name: sandbox.name,
    target: 'coatcheck',
    user: 'sandbox',
    env: sandbox.env,
    labels: NO_LABELS,
    public: false,
    networkBlockAll: false,
    // Clients want numbers; there is no machine behind them.
    cpu: 0,
    gpu: 0,
    memory: 0,
    disk: 0,
    state: 'started',
    toolboxProxyUrl: `${request.protocol}://${request.host}/api/toolbox`,
    createdAt: sandbox.createdAt,
    updatedAt: sandbox.updatedAt,
  }
}
