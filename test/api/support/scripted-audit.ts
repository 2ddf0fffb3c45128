/** An audit log that says what a test gives it: events, newest first, and whether they verify. */
import type { StoredAuditEvent } from '../../../src/core/audit-event.ts'
import type { AuditReader, Page, Principal } from '../../../src/core/ports.ts'

export class ScriptedAudit implements AuditReader {
  /** Newest first. */
  events: StoredAuditEvent[] = []
  firstBad: { writer: string; seq: number; reason: string } | null = null

  async list(_: Principal, page: Parameters<AuditReader['list']>[1]): Promise<Page<StoredAuditEvent>> {
    const { host, decision, limit } = page
    const wanted = this.events.filter(
      (event) =>
        (host === undefined || ('host' in event && event.host === host)) &&
        (decision === undefined || ('decision' in event && event.decision === decision)),
    )
    const start = Number(page.cursor ?? 0)
    const next = start + limit
    return { items: wanted.slice(start, next), nextCursor: next < wanted.length ? String(next) : null }
  }

  async verify() {
    const ok = this.firstBad === null
    return { ok, events: this.events.length, writers: 1, checkpoints: 1, firstBad: this.firstBad }
  }
}
