/** The versions of a secret, and the values that may be read: recorded and counted by the store before they are here. */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { principalOf } from './authenticate.ts'
import { IdOrName } from './contract/fields.ts'
import { RevealDocument, VersionDocument, VersionPage, VersionParams } from './contract/secrets.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { revealed } from './secret-values.ts'

type VersionDeps = Pick<ApiDeps, 'secrets' | 'reveals'>

export function secretVersionRoutes(api: Api, deps: VersionDeps): void {
  versions(api, deps)
  switches(api, deps)
  values(api, deps)
}

function versions(api: Api, { secrets }: VersionDeps): void {
  const config = { permission: 'secrets.list' } as const
  const list = {
    summary: 'List the versions of a secret, newest first',
    params: IdOrName,
    response: { 200: VersionPage },
  }
  api.get('/v1/secrets/:idOrName/versions', { schema: list, config }, async (request) => ({
    items: await secrets.versions(principalOf(request), request.params.idOrName),
    nextCursor: null,
  }))

  const get = { summary: 'Get a version', params: VersionParams, response: { 200: VersionDocument } }
  api.get('/v1/secrets/:idOrName/versions/:version', { schema: get, config }, async (request) => {
    const { idOrName, version } = request.params
    return await secrets.version(principalOf(request), idOrName, version)
  })
}

function switches(api: Api, { secrets }: VersionDeps): void {
  const config = { permission: 'secrets.write' } as const
  const schema = (summary: string) => ({ summary, params: VersionParams, response: { 200: VersionDocument } })
  const disable = schema('Disable a version: never released or read until enabled')
  api.post('/v1/secrets/:idOrName/versions/:version/disable', { schema: disable, config }, async (request) => {
    const { idOrName, version } = request.params
    return await secrets.disableVersion(principalOf(request), idOrName, version)
  })
  api.post(
    '/v1/secrets/:idOrName/versions/:version/enable',
    { schema: schema('Enable a version'), config },
    async (request) => {
      const { idOrName, version } = request.params
      return await secrets.enableVersion(principalOf(request), idOrName, version)
    },
  )
}

/** POST, because it counts: nothing may repeat it, prefetch it, or keep it. */
function values(api: Api, { reveals }: VersionDeps): void {
  const config = { permission: 'secrets.read' } as const
  const current = {
    summary: 'Read the value of the current version; recorded first, and counted',
    params: IdOrName,
    response: { 200: RevealDocument },
  }
  api.post('/v1/secrets/:idOrName/value', { schema: current, config }, async (request) =>
    revealed(await reveals.reveal(principalOf(request), request.params.idOrName)),
  )

  const one = {
    summary: 'Read the value of a version; recorded first, and counted',
    params: VersionParams,
    response: { 200: RevealDocument },
  }
  api.post('/v1/secrets/:idOrName/versions/:version/value', { schema: one, config }, async (request) => {
    const { idOrName, version } = request.params
    return revealed(await reveals.reveal(principalOf(request), idOrName, { version }))
  })
}
