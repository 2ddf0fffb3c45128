/**
 * Figures for Prometheus: how the API answers and whether the log can be written. No name of a secret, sandbox, host or workspace
 * is a label: routes are patterns. Behind a token, on the API's address only, and for callers of the whole account.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { CoatcheckError } from '../core/errors.ts'
import { principalOf } from './authenticate.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { routeOf } from './respond.ts'

const SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10]
const TYPE = 'text/plain'

export function metricRoutes(api: Api, { gauges }: Pick<ApiDeps, 'gauges'>): void {
  const registry = new Registry()
  const registers = [registry]
  const labelNames = ['method', 'route', 'status'] as const
  const requests = new Counter({
    name: 'coatcheck_api_requests_total',
    help: 'API requests answered.',
    labelNames,
    registers,
  })
  const durations = new Histogram({
    name: 'coatcheck_api_request_seconds',
    help: 'Time to answer an API request.',
    labelNames: ['method', 'route'] as const,
    buckets: SECONDS,
    registers,
  })
  api.addHook('onResponse', async (request, reply) => {
    const { method, route } = routeOf(request)
    requests.inc({ method, route, status: String(reply.statusCode) })
    durations.observe({ method, route }, reply.elapsedTime / 1000)
  })

  const shown = new Map<string, Gauge | Counter>()
  const schema = { summary: 'Figures for Prometheus', produces: [TYPE] }
  api.get('/metrics', { schema, config: { permission: 'audit.view' } }, async (request, reply) => {
    const { homeId, accountId } = principalOf(request)
    if (homeId !== accountId) throw notForPart()
    for (const { name, help, value } of gauges()) show(shown, registry, { name, help }, value)
    return reply.type(registry.contentType).send(await registry.metrics())
  })
}

/** What only grows is set to what it has grown to: its own count is elsewhere. */
function show(
  shown: Map<string, Gauge | Counter>,
  registry: Registry,
  { name, help }: { readonly name: string; readonly help: string },
  value: number,
): void {
  const options = { name, help, registers: [registry] }
  const metric = shown.get(name) ?? (name.endsWith('_total') ? new Counter(options) : new Gauge(options))
  shown.set(name, metric)
  if (metric instanceof Gauge) return metric.set(value)
  metric.reset()
  metric.inc(value)
}

function notForPart(): CoatcheckError {
  return new CoatcheckError(
    'forbidden',
    'The figures are of all workspaces together.',
    'Use a token of the account, such as the one in admin-token.',
  )
}
