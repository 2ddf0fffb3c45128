/** Health for probes: answered to anyone at any name (probes call by address), and tells nothing but states. */
import { LiveDocument, ReadyDocument } from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'

export function healthRoutes(api: Api, { ready }: Pick<ApiDeps, 'ready'>): void {
  const config = { public: true }
  api.get('/healthz', { config, schema: { response: { 200: LiveDocument } } }, () => ({ status: 'ok' as const }))

  const answers = { 200: ReadyDocument, 503: ReadyDocument }
  api.get('/readyz', { config, schema: { response: answers } }, (_request, reply) => {
    const { ok, checks } = ready()
    void reply.code(ok ? 200 : 503)
    return { status: ok ? ('ready' as const) : ('not_ready' as const), checks }
  })
}
