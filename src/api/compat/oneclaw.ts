/**
 * 1Claw's vaults, secrets by path, versions, policies and audit.
 *
 * Vaults and the audit log share paths with the API's own routes: there the kind of key decides which contract answers, and the keys
 * of this contract are `1ck_…`, `ocv_…` and what its token exchange gives for any key. Everywhere else any key is taken.
 */
import type { Api } from '../dependencies.ts'
import type { CompatDeps } from './compat-deps.ts'
import { speakErrors, translateErrors } from './foreign-errors.ts'
import { oneclawAuditRoutes } from './oneclaw-audit.ts'
import { ONECLAW_KEYS, type OneclawDeps } from './oneclaw-deps.ts'
import { oneclawPolicyRoutes } from './oneclaw-policies.ts'
import { oneclawSecretRoutes } from './oneclaw-secrets.ts'
import { ONECLAW_ERRORS } from './oneclaw-shapes.ts'
import { AccessTokens, oneclawTokenRoutes } from './oneclaw-tokens.ts'
import { oneclawVaultRoutes } from './oneclaw-vaults.ts'

export function oneclawRoutes(api: Api, deps: CompatDeps): void {
  const accessTokens = new AccessTokens(deps.tokens)
  const own: OneclawDeps = { ...deps, authenticate: (token) => accessTokens.authenticate(token) }
  void api.register(
    async (scope: Api) => {
      speakErrors(scope, ONECLAW_ERRORS)
      oneclawTokenRoutes(scope, accessTokens)
    },
    { prefix: '/v1/auth' },
  )
  void api.register(async (scope: Api) => {
    translateErrors(scope, ONECLAW_ERRORS)
    for (const constraints of ONECLAW_KEYS) {
      oneclawVaultRoutes(scope, own, constraints)
      oneclawAuditRoutes(scope, own, constraints)
    }
  })
  void api.register(
    async (scope: Api) => {
      speakErrors(scope, ONECLAW_ERRORS)
      oneclawPolicyRoutes(scope, own)
      oneclawSecretRoutes(scope, own)
    },
    { prefix: '/v1/vaults/:vaultId' },
  )
}
