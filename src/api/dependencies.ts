/** What the API is built from, and the type its routes are registered on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { PolicyStore } from '../core/access-policy.ts'
import type { StoredAuditEvent } from '../core/audit-event.ts'
import type { ClientTrust } from '../core/client-environment.ts'
import type {
  AuditFilter,
  AuditReader,
  Log,
  Page,
  PageRequest,
  Principal,
  SandboxStore,
  TokenStore,
} from '../core/ports.ts'
import type { PrincipalStore } from '../core/principal.ts'
import type { Repetitions } from '../core/repetition.ts'
import type { VaultStore, WorkspaceStore } from '../core/scope.ts'
import type { MountResolver, SecretControl, SecretReports, SecretReveals } from '../core/secret-store.ts'
import type { WorkspaceSettingsStore } from '../core/workspace-settings.ts'
import type { TokenVerifier } from './oidc.ts'

/** A signed statement about one writer's chain, as it is shipped. */
export interface AuditCheckpoint {
  readonly writer: string
  readonly seq: number
  readonly time: string
  readonly hash: string
  readonly keyId: string
  readonly signature: string
}

/** The log from the other end: what comes after a place, and what was signed. */
export interface AuditTrail {
  /** The place of the newest event. */
  latest(): string
  /** The oldest events after that place that match, at most 200, and the place to go on from. */
  after(
    principal: Principal,
    place: string,
    filter: AuditFilter,
  ): Promise<{ readonly events: readonly PlacedEvent[]; readonly place: string }>
  /** Newest first. */
  checkpoints(page: PageRequest): Page<AuditCheckpoint>
}

export interface PlacedEvent {
  readonly place: string
  readonly event: StoredAuditEvent
}

/** A number for the metrics page; a name ending in `_total` only grows. */
export interface Gauge {
  readonly name: string
  readonly help: string
  readonly value: number
}

export interface ApiDeps {
  readonly secrets: SecretControl
  readonly reveals: SecretReveals & MountResolver
  readonly reports: SecretReports
  readonly sandboxes: SandboxStore
  readonly tokens: TokenStore
  readonly workspaces: WorkspaceStore
  readonly vaults: VaultStore
  readonly principals: PrincipalStore
  readonly policies: PolicyStore
  readonly settings: WorkspaceSettingsStore
  readonly repetitions: Repetitions
  readonly audit: AuditReader
  readonly trail: AuditTrail
  readonly authority: {
    readonly certificatePem: string
    /** SHA-256, colon-separated hex. */
    readonly fingerprint: string
    readonly notAfter: Date
    /** The system's certificates and the authority's. */
    bundlePem(): string
  }
  /** Where sandboxes reach the proxy, without credentials: `http://127.0.0.1:8080`. */
  readonly proxyUrl: () => string
  /** Files as sandboxes see them; null when nothing was exported. */
  readonly trust: ClientTrust | null
  readonly ready: () => { readonly ok: boolean; readonly checks: Readonly<Record<string, boolean>> }
  readonly gauges: () => readonly Gauge[]
  readonly log: Log
  /** Names this API answers to, each `host` (any port) or `host:port`; compared with Host and Origin. */
  readonly allowedHosts: () => readonly string[]
  /** Logins by an identity provider; null = none. */
  readonly oidc: TokenVerifier | null
  /** Of one principal. */
  readonly requestsPerMinute: number
}

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>
