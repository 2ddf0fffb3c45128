/** The audit log, newest first, its signed checkpoints, and its verification. Reading is all there is: no route changes an event. */
import { principalOf } from './authenticate.ts'
import { AuditPage, AuditQuery, CheckpointPage, VerifyDocument } from './contract/audit.ts'
import { PageQuery } from './contract/fields.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { filterOf, pageOf } from './paging.ts'

export function auditRoutes(api: Api, { audit, trail }: Pick<ApiDeps, 'audit' | 'trail'>): void {
  const config = { permission: 'audit.view' } as const

  const events = { summary: 'List audit events, newest first', querystring: AuditQuery, response: { 200: AuditPage } }
  api.get('/v1/audit/events', { schema: events, config }, (request) =>
    audit.list(principalOf(request), { ...filterOf(request.query), ...pageOf(request.query) }),
  )

  // A chain that does not verify is a true answer, not a failed request: 200 with ok: false.
  const verify = { summary: 'Verify every chain and checkpoint', response: { 200: VerifyDocument } }
  api.get('/v1/audit/verify', { schema: verify, config }, () => audit.verify())

  const checkpoints = {
    summary: 'List signed checkpoints, newest first',
    querystring: PageQuery,
    response: { 200: CheckpointPage },
  }
  api.get('/v1/audit/checkpoints', { schema: checkpoints, config }, (request) =>
    trail.checkpoints(pageOf(request.query)),
  )
}
