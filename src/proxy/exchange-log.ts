/**
 * One audit event per exchange, begun before anything else and written whatever becomes of it; and, before a value
 * leaves, one durable `release` event for each secret.
 */
import type { AuditedSecret, ExchangeDecision, ExchangeEvent, ReleaseEvent } from '../core/audit-event.ts'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { flatText } from '../core/flat-text.ts'
import { uuidv7 } from '../core/id.ts'
import { isoTime } from '../core/iso-time.ts'
import type { AuditJournal, Clock, Log } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { Destination, ForwardObserver, UpstreamPeer } from './message.ts'

export interface ExchangeLogPorts {
  readonly audit: AuditJournal
  readonly clock: Clock
  readonly log: Log
}

/** What is known of an exchange while it runs. */
export class ExchangeRecord implements ForwardObserver {
  readonly id: string
  readonly #ports: ExchangeLogPorts
  readonly #startedAt: number
  readonly #method: string
  readonly #sandbox: SandboxIdentity | null
  #destination: Destination | null = null
  #path: string | null = null
  #decision: ExchangeDecision = 'passed'
  #reason: ExchangeEvent['reason'] = null
  #secrets: readonly AuditedSecret[] = []
  #peer: UpstreamPeer | null = null
  #reported = 0
  #received = 0

  constructor(ports: ExchangeLogPorts, id: string, method: string, sandbox: SandboxIdentity | null) {
    this.id = id
    this.#ports = ports
    this.#startedAt = ports.clock()
    this.#method = method
    this.#sandbox = sandbox
  }

  /** The path is recorded as the sandbox sent it, without its query. */
  routed(destination: Destination, path: string | null): void {
    this.#destination = destination
    const query = path?.indexOf('?') ?? -1
    this.#path = path === null || query < 0 ? path : flatText(path.slice(0, query))
  }

  /** Placeholders sent on as they were. */
  withheld(count: number): void {
    if (count === 0) return
    this.#reported += count
    if (this.#decision === 'passed') this.#decision = 'withheld'
  }

  tunnelled(): void {
    this.#decision = 'tunnelled'
  }

  reached(peer: UpstreamPeer): void {
    this.#peer = peer
  }

  received(bytes: number): void {
    this.#received += bytes
  }

  /** Resolves when the release is durable; from then on, and only then, the value may leave. */
  async release(secrets: readonly AuditedSecret[]): Promise<void> {
    this.#secrets = [...this.#secrets, ...secrets]
    const now = this.#ports.clock()
    const event: ReleaseEvent = { ...this.#fields('release', uuidv7(now), now), secrets }
    try {
      await this.#ports.audit.append([event])
    } catch (cause) {
      throw new CoatcheckError(
        'audit_unavailable',
        'The audit log cannot be written, so nothing is released.',
        'Check the disk and the permissions of the data directory, then try again.',
        { cause },
      )
    }
    this.#decision = 'released'
  }

  /** Records why it ended early: a refusal of ours, a failure upstream, or the sandbox going away. */
  failed(thrown: unknown): void {
    if (thrown === 'client_aborted') {
      this.#reason = thrown
      this.#decision = 'failed'
      return
    }
    const error = asCoatcheckError(thrown)
    const failed = FAILURES.has(error.code)
    if (failed) this.#logFailure(error)
    this.#reason = error.code
    this.#decision = failed ? 'failed' : 'refused'
  }

  /** Writes the closing event. It is not waited for: everything that had to be durable first already is. */
  finish(status: number | null, bytesIn: number, bytesOut: number): void {
    const now = this.#ports.clock()
    const event: ExchangeEvent = {
      ...this.#fields('exchange', this.id, now),
      decision: this.#decision,
      reason: this.#reason,
      status,
      bytesIn: bytesIn + this.#received,
      bytesOut,
      durationMs: Math.max(0, now - this.#startedAt),
      upstreamAddress: this.#peer?.address ?? null,
      upstreamFingerprint: this.#peer?.fingerprint ?? null,
      reported: this.#reported,
    }
    this.#ports.audit.note([event])
  }

  /** The detail that the answer leaves out, under the id that the answer shows. */
  #logFailure({ code, cause }: CoatcheckError): void {
    const { log } = this.#ports
    if (code === 'internal') log.error({ exchange: this.id, cause }, 'exchange failed unexpectedly')
    else log.info({ exchange: this.id, reason: code, cause }, 'exchange failed')
  }

  #fields<K extends 'release' | 'exchange'>(kind: K, id: string, now: number) {
    return {
      kind,
      id,
      time: isoTime(now),
      exchange: this.id,
      workspace: this.#sandbox?.workspaceId ?? null,
      sandbox: this.#sandbox?.name ?? null,
      sandboxId: this.#sandbox?.id ?? null,
      method: this.#method,
      host: this.#destination?.host ?? null,
      port: this.#destination?.port ?? null,
      path: this.#path,
      secrets: this.#secrets,
    }
  }
}

/** Codes that mean "tried and failed", as against "refused by a rule". */
const FAILURES: ReadonlySet<string> = new Set([
  'upstream_unresolved',
  'upstream_unreachable',
  'upstream_tls',
  'upstream_timeout',
  'upstream_failed',
  'store_unavailable',
  'internal',
])
