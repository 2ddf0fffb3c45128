/** Reports about secrets: which one a mount means and why, what nobody uses, and what is due for rotation. */
import { principalOf } from './authenticate.ts'
import { PageQuery } from './contract/fields.ts'
import { DuePage, EffectiveDocument, EffectiveQuery, UnusedPage, UnusedQuery } from './contract/secret-reports.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { pageOf } from './paging.ts'

export function secretReportRoutes(api: Api, { reports }: Pick<ApiDeps, 'reports'>): void {
  const config = { permission: 'secrets.list' } as const

  const effective = {
    summary: 'Explain which secret each mount of a sandbox means',
    querystring: EffectiveQuery,
    response: { 200: EffectiveDocument },
  }
  api.get('/v1/secrets/effective', { schema: effective, config: { permission: 'sandboxes.view' } }, (request) =>
    reports.effective(principalOf(request), request.query.sandbox),
  )

  const unused = {
    summary: 'List secrets not used since a time, the longest first',
    querystring: UnusedQuery,
    response: { 200: UnusedPage },
  }
  api.get('/v1/secrets/unused', { schema: unused, config }, (request) =>
    reports.unused(principalOf(request), { since: request.query.since, ...pageOf(request.query) }),
  )

  const due = {
    summary: 'List secrets due for rotation, the longest first',
    querystring: PageQuery,
    response: { 200: DuePage },
  }
  api.get('/v1/secrets/rotation-due', { schema: due, config }, (request) =>
    reports.rotationDue(principalOf(request), pageOf(request.query)),
  )
}
