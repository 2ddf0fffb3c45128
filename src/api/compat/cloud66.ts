/**
 * Cloud 66 v3: stacks are workspaces, the account is the account. Secrets, environment variables and configstore records are three
 * views of the same secrets, each under the names it can spell.
 *
 * Every path works with and without `.json`; statuses of success are always 200. A value is shown (`raw_value`, or `value` of a
 * variable) only to who may read it, each time recorded before; to others, and in the answer to a write, it is null or empty.
 */
import type { Api } from '../dependencies.ts'
import { cloud66BulkRoutes } from './cloud66-bulk.ts'
import { cloud66ConfigstoreRoutes } from './cloud66-configstore.ts'
import { cloud66EnvironmentRoutes } from './cloud66-environments.ts'
import { cloud66SecretRoutes } from './cloud66-secrets.ts'
import { CLOUD66_ERRORS } from './cloud66-shapes.ts'
import { cloud66StackRoutes } from './cloud66-stacks.ts'
import type { CompatDeps } from './compat-deps.ts'
import { speakErrors } from './foreign-errors.ts'

export function cloud66Routes(api: Api, deps: CompatDeps): void {
  void api.register(
    async (scope: Api) => {
      speakErrors(scope, CLOUD66_ERRORS)
      cloud66StackRoutes(scope, deps)
      cloud66SecretRoutes(scope, deps)
      cloud66BulkRoutes(scope, deps)
      cloud66EnvironmentRoutes(scope, deps)
      cloud66ConfigstoreRoutes(scope, deps)
    },
    { prefix: '/api/3' },
  )
}
