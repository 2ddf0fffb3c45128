/** One audit event as a row that a person reads. */
import type { AuditEventDocument } from '../api/contract/audit.ts'

export const AUDIT_HEADINGS = ['TIME', 'WHO', 'EVENT', 'WHAT', 'STATUS', 'SECRETS'] as const

/** As many cells as there are headings; absent things are a dash. */
export function auditRow(event: AuditEventDocument): readonly string[] {
  if (event.kind === 'change') {
    const target = event.target === undefined ? '-' : `${event.target.kind} ${event.target.name}`
    return [event.time, event.principal ?? '-', event.action ?? 'change', target, '-', fieldsOf(event)]
  }
  const decision = event.kind === 'release' ? 'release' : [event.decision, event.reason].filter(Boolean).join(': ')
  return [event.time, event.sandbox ?? '-', decision, requestOf(event), statusOf(event), secretsOf(event)]
}

function requestOf({ method, host, port, path }: AuditEventDocument): string {
  const authority =
    host === null || host === undefined ? '-' : `${host}${port === 443 || port === null ? '' : `:${port}`}`
  return `${method ?? '-'} ${authority}${path ?? ''}`
}

function statusOf({ status }: AuditEventDocument): string {
  return status === null || status === undefined ? '-' : String(status)
}

function secretsOf({ secrets = [] }: AuditEventDocument): string {
  return secrets.map(({ name, version, placement }) => `${name}@${version} in ${placement}`).join(', ') || '-'
}

function fieldsOf({ fields = [] }: AuditEventDocument): string {
  return fields.length === 0 ? '-' : `fields: ${fields.join(', ')}`
}
