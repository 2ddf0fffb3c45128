/** The audit log, newest first, and its verification. Reading is all there is: no route changes an event. */
import { principalOf } from './authenticate.ts'
import { AuditPage, AuditQuery, VerifyDocument } from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function auditRoutes(api: Api, { audit }: Pick<ApiDeps, 'audit'>): void {
  api.get('/v1/audit/events', { schema: { querystring: AuditQuery, response: { 200: AuditPage } } }, (request) => {
    const { limit: _limit, cursor: _cursor, ...filter } = request.query
    return audit.list(principalOf(request), { ...filter, ...pageOf(request.query) })
  })

  // A chain that does not verify is a true answer, not a failed request: 200 with ok: false.
  api.get('/v1/audit/verify', { schema: { response: { 200: VerifyDocument } } }, () => audit.verify())
}
