/**
 * The API: one Fastify application built from what it is given. It listens only when told to, so that the command line
 * can call the same routes, with the same checks, in its own process.
 */
import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { auditRoutes } from './audit.ts'
import { auditStreamRoutes } from './audit-stream.ts'
import { authenticate } from './authenticate.ts'
import { authorityRoutes } from './authority.ts'
import { registerCompat } from './compat/register.ts'
import { contractConstraint } from './contract-of.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { healthRoutes } from './health.ts'
import { acceptIdempotencyKeys } from './idempotency.ts'
import { metricRoutes } from './metrics.ts'
import { describeRoutes, documentRoutes } from './openapi.ts'
import { policyRoutes } from './policies.ts'
import { principalRoutes } from './principals.ts'
import { clientErrorHandler, errorHandler, nameRequest, notFoundHandler, routeOf } from './respond.ts'
import { sandboxRoutes } from './sandboxes.ts'
import { scopeRoutes } from './scopes.ts'
import { secretReportRoutes } from './secret-reports.ts'
import { secretTransferRoutes } from './secret-transfer.ts'
import { secretVersionRoutes } from './secret-versions.ts'
import { secretRoutes } from './secrets.ts'
import { parseStrictJson } from './strict-json.ts'
import { tokenRoutes } from './tokens.ts'
import { validatorCompiler } from './validate.ts'

/** A value of 64 KiB fits even when every byte of it is escaped. */
const BODY_LIMIT_BYTES = 1024 * 1024
/** The longest name, percent-encoded: four bytes a character. */
const MAX_PARAM_LENGTH = 256 * 4 * 3
const REQUEST_TIMEOUT_MS = 30_000

/** Ready to `listen` or `inject`; `close` ends open connections. */
export function buildApi(deps: ApiDeps): Api {
  const answerError = errorHandler(deps.log)
  const api: Api = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    trustProxy: false,
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: (error, request, reply) => {
      nameRequest(request, reply, () => undefined)
      void answerError(error, request, reply)
    },
    clientErrorHandler,
  }).withTypeProvider<TypeBoxTypeProvider>()

  api.addConstraintStrategy(contractConstraint)
  acceptJsonOnly(api)
  api.setValidatorCompiler(validatorCompiler)
  api.setErrorHandler(answerError)
  api.setNotFoundHandler(notFoundHandler)
  api.addHook('onRequest', nameRequest)
  logAnswers(api, deps)
  void api.register(async (scope: Api) => {
    await describeRoutes(scope)
    await authenticate(scope, deps)
    acceptIdempotencyKeys(scope, deps)
    registerRoutes(scope, deps)
  })
  return api
}

function registerRoutes(api: Api, deps: ApiDeps): void {
  healthRoutes(api, deps)
  metricRoutes(api, deps)
  documentRoutes(api)
  secretRoutes(api, deps)
  secretVersionRoutes(api, deps)
  secretReportRoutes(api, deps)
  secretTransferRoutes(api, deps)
  sandboxRoutes(api, deps)
  scopeRoutes(api, deps)
  policyRoutes(api, deps)
  principalRoutes(api, deps)
  tokenRoutes(api, deps)
  auditRoutes(api, deps)
  auditStreamRoutes(api, deps)
  authorityRoutes(api, deps)
  registerCompat(api, deps)
}

/** Anything else with a body is a 415: no form and no text a page could post. */
function acceptJsonOnly(api: Api): void {
  api.removeAllContentTypeParsers()
  api.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseStrictJson(body as Buffer))
    } catch (refused) {
      done(refused as Error)
    }
  })
}

function logAnswers(api: Api, { log }: Pick<ApiDeps, 'log'>): void {
  api.addHook('onResponse', async (request, reply) => {
    const status = reply.statusCode
    const durationMs = Math.round(reply.elapsedTime)
    log.debug({ requestId: request.id, ...routeOf(request), status, durationMs }, 'API request')
  })
}
