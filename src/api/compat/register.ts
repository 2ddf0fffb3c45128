/**
 * Four foreign contracts beside the API's own routes, on the same origin and without a prefix. (The fifth, Aeontel's, is the API's own:
 * its entity is `/v1/secrets`.)
 *
 * An adapter translates routes, names, statuses and errors, and picks one verb of the core. Permission, policy and storage are the
 * core's, so one secret cannot promise one thing at one door and another at the next.
 */
import type { Api } from '../dependencies.ts'
import { cadenyaRoutes } from './cadenya.ts'
import { cloud66Routes } from './cloud66.ts'
import type { CompatDeps } from './compat-deps.ts'
import { daytonaRoutes } from './daytona.ts'
import { oneclawRoutes } from './oneclaw.ts'

/** Call it where `authenticate` was registered, before the API is ready. The reference lists the API's own routes only. */
export function registerCompat(api: Api, deps: CompatDeps): void {
  void api.register(async (scope: Api) => {
    scope.addHook('onRoute', (route) => {
      route.schema = Object.assign(route.schema ?? {}, { hide: true })
    })
    daytonaRoutes(scope, deps)
    cadenyaRoutes(scope, deps)
    oneclawRoutes(scope, deps)
    cloud66Routes(scope, deps)
  })
}
