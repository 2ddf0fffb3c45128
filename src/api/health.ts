/** Health for probes: answered to anyone at any name (probes call by address), and tells nothing but states. */
import { LiveDocument, ReadyDocument } from './contract/server.ts'
import type { Api, ApiDeps } from './dependencies.ts'

export function healthRoutes(api: Api, { ready }: Pick<ApiDeps, 'ready'>): void {
  const config = { permission: 'anyone', anyName: true } as const
  const live = { summary: 'Tell that the process answers', response: { 200: LiveDocument } }
  api.get('/healthz', { config, schema: live }, () => ({ status: 'ok' as const }))

  const answers = { 200: ReadyDocument, 503: ReadyDocument }
  const schema = { summary: 'Tell whether exchanges can be made', response: answers }
  api.get('/readyz', { config, schema }, (_request, reply) => {
    const { ok, checks } = ready()
    void reply.code(ok ? 200 : 503)
    return { status: ok ? ('ready' as const) : ('not_ready' as const), checks }
  })
}
