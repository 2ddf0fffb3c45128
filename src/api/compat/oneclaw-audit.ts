/**
 * 1Claw's view of the audit log: changes, reads and releases, newest first, by limit and offset. The hashes are the log's own chain.
 * Shared paths: only keys of that contract are answered here.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { type Static, Type } from 'typebox'
import type { StoredAuditEvent } from '../../core/audit-event.ts'
import type { Principal } from '../../core/ports.ts'
import { principalOf } from '../authenticate.ts'
import { JsonObject, Nullable, texted, timeField } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import type { ONECLAW_KEYS, OneclawDeps } from './oneclaw-deps.ts'

/** Events looked at for one answer. */
const MAX_READ = 20_000
const STEP = 200

const text = Type.String()
const filter = Type.Optional(texted(1, 256, 'A text of 1 to 256 characters.'))
const EventsQuery = Type.Object({
  resource_id: filter,
  actor_id: filter,
  action: filter,
  from: Type.Optional(timeField),
  to: Type.Optional(timeField),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'A whole number from 1 to 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000, description: 'A whole number to 10,000.' })),
})
type Query = Static<typeof EventsQuery>

const EventAnswer = Type.Object({
  id: text,
  action: text,
  actor_id: text,
  actor_type: text,
  resource_type: text,
  resource_id: text,
  org_id: text,
  details: JsonObject,
  ip_address: Type.Null(),
  created_at: text,
  integrity_hash: text,
})
type Event = Static<typeof EventAnswer>

const EventsAnswer = Type.Object({ events: Type.Array(EventAnswer), count: Type.Integer() })
const VerifyAnswer = Type.Object({
  valid: Type.Boolean(),
  events_checked: Type.Integer(),
  checkpoints_checked: Type.Integer(),
  first_invalid: Nullable(Type.Object({ writer: text, seq: Type.Integer(), reason: text })),
})

export function oneclawAuditRoutes(
  api: Api,
  { audit, authenticate }: OneclawDeps,
  constraints: (typeof ONECLAW_KEYS)[number],
): void {
  const shared = { constraints, config: { permission: 'audit.view', authenticate } } as const

  const listed = { querystring: EventsQuery, response: { 200: EventsAnswer } }
  api.get('/v1/audit/events', { ...shared, schema: listed }, async (request) => {
    const { limit = 100, offset = 0, from, resource_id } = request.query
    const principal = principalOf(request)
    const found: Event[] = []
    let cursor: string | null = null
    for (let read = 0; read < MAX_READ && found.length < offset + limit; read += STEP) {
      const narrowed = {
        ...(from === undefined ? {} : { since: from }),
        ...(resource_id ? { secret: resource_id } : {}),
      }
      const page = await audit.list(principal, { limit: STEP, cursor, ...narrowed })
      found.push(
        ...page.items.flatMap((event) => eventOf(event, principal)).filter((event) => fits(event, request.query)),
      )
      cursor = page.nextCursor
      if (cursor === null) break
    }
    const events = found.slice(offset, offset + limit)
    return { events, count: events.length }
  })

  api.get('/v1/audit/verify', { ...shared, schema: { response: { 200: VerifyAnswer } } }, async () => {
    const { ok, events, checkpoints, firstBad } = await audit.verify()
    return { valid: ok, events_checked: events, checkpoints_checked: checkpoints, first_invalid: firstBad }
  })
}

function fits({ actor_id, action, created_at }: Event, query: Query): boolean {
  if (query.actor_id !== undefined && query.actor_id !== actor_id) return false
  if (query.action !== undefined && query.action !== action) return false
  return query.to === undefined || Date.parse(created_at) <= Date.parse(query.to)
}

/** None for exchanges, which are in the native log. */
function eventOf(event: StoredAuditEvent, principal: Principal): readonly Event[] {
  const shared = {
    id: event.id,
    org_id: principal.accountId,
    ip_address: null,
    created_at: event.time,
    integrity_hash: event.hash,
  }
  if (event.kind === 'change') {
    const { kind, id, name } = event.target
    const actor_type = event.principal.startsWith('agent:') ? 'agent' : 'user'
    const details = { name, action: event.action, fields: event.fields }
    const what = { action: actionOf(event.action), actor_id: event.principal, actor_type }
    return [{ ...shared, ...what, resource_type: kind, resource_id: id, details }]
  }
  if (event.kind !== 'release') return []
  return event.secrets.map(({ id, name, version, placement }) => ({
    ...shared,
    action: 'secret.use',
    actor_id: event.sandboxId ?? '',
    actor_type: 'sandbox',
    resource_type: 'secret',
    resource_id: id,
    details: { name, version, placement, host: event.host },
  }))
}

/** Their word for every way a secret changes; refusals and failures keep their ending. */
function actionOf(action: string): string {
  return action.replace(/^secret\.(?:create|update|rotate|revive|enable_version|disable_version)/, 'secret.write')
}
