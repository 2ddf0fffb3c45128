/** Every route that the API has, as Fastify registers it: what is tested for each cannot miss a new one. */
import type { RouteOptions } from 'fastify'
import type { ApiDeps } from '../../../src/api/dependencies.ts'
import type { RoutePermission } from '../../../src/api/route-config.ts'
import { buildApi } from '../../../src/api/server.ts'

export interface TableRoute {
  readonly method: string
  readonly path: string
  readonly permission: RoutePermission | undefined
  /** Of a foreign contract: told by its own tests. */
  readonly foreign: boolean
}

export async function routeTable(deps: ApiDeps): Promise<readonly TableRoute[]> {
  const api = buildApi(deps)
  const seen: RouteOptions[] = []
  api.addHook('onRoute', (route: RouteOptions) => void seen.push(route))
  await api.ready()
  await api.close()
  // Read when all are there: an inner scope marks its routes after the outer hook has seen them.
  return seen.flatMap((route) => {
    const foreign = route.schema?.hide === true
    const methods = [route.method].flat().filter((method) => method !== 'HEAD')
    return methods.map((method) => ({ method, path: route.url, permission: route.config?.permission, foreign }))
  })
}
