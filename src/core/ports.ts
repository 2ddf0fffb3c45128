/**
 * What the edges offer one another, through core. app.ts is the only file that knows which class stands behind each.
 * The proxy gets `SandboxReader` and `SecretReader`, by type unable to list or write.
 */
import type { SecureContext } from 'node:tls'
import type { AuditEvent, StoredAuditEvent } from './audit-event.ts'
import type { Sandbox, SandboxIdentity } from './sandbox.ts'
import type { MountedSecret, Secret, SecretType, SecretValue, SecretVersion } from './secret.ts'

/** Milliseconds since the epoch. */
export type Clock = () => number

/** Structured operator log; implementations scrub live values from every line. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

// ---- read side: all that the proxy may see ----

export interface SandboxReader {
  /** The sandbox, when name (or id) and token belong together; else undefined. Constant time in the token. */
  authenticate(nameOrId: string, token: string): Promise<SandboxIdentity | undefined>
  /** For a listener bound to one sandbox. */
  byName(name: string): Promise<SandboxIdentity | undefined>
  /** False once the sandbox was deleted or its token changed: asked before every exchange on an open tunnel. */
  isCurrent(sandbox: SandboxIdentity): boolean | Promise<boolean>
}

export interface SecretReader {
  /** The secret mounted in this sandbox under this token. Unknown, foreign and not mounted are alike: undefined. */
  find(sandbox: SandboxIdentity, token: string): MountedSecret | undefined | Promise<MountedSecret | undefined>
  /** The value of exactly that version. Throws `store_unavailable`. */
  open(secret: MountedSecret): SecretValue | Promise<SecretValue>
  /** Every host that some mounted secret of this sandbox allows, for `proxy.intercept: needed`. */
  anyMountedAllows(sandbox: SandboxIdentity, host: string): boolean | Promise<boolean>
}

export interface LeafIssuer {
  /** A TLS server context whose leaf is for exactly this canonical host. Cached, single flight, bounded. */
  contextFor(host: string): Promise<SecureContext>
  /** True when the next `contextFor` of this host needs no new leaf (used to rate limit minting). */
  has(host: string): boolean
}

export interface AuditAppender {
  /** Resolves when every event is durable; rejects with `audit_unavailable`. */
  append(events: readonly AuditEvent[]): Promise<void>
}

// ---- control plane ----

/** Who calls the API. */
export interface Principal {
  readonly kind: 'user' | 'api_key' | 'agent' | 'system'
  readonly id: string
  readonly name: string
  readonly workspaceId: string
}

export interface Page<T> {
  readonly items: readonly T[]
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null
}

export interface PageRequest {
  /** 1..200. */
  readonly limit: number
  readonly cursor: string | null
}

export interface NewSecret {
  readonly name: string
  readonly value: SecretValue
  readonly description?: string | null
  readonly type?: SecretType
  /** Omitted or null = unrestricted; [] is refused. */
  readonly hosts?: readonly string[] | null
  readonly placements?: readonly string[]
  /** Prefix put before the placeholder so that a client's own format check passes. */
  readonly dress?: string
  readonly allowPlaintext?: boolean
  readonly labels?: Readonly<Record<string, string>>
  /** ISO 8601. */
  readonly expiresAt?: string | null
}

/** Omitted = unchanged; null clears where null is allowed. A value makes a new version. */
export interface SecretPatch {
  readonly value?: SecretValue
  readonly description?: string | null
  readonly hosts?: readonly string[] | null
  readonly placements?: readonly string[]
  readonly allowPlaintext?: boolean
  readonly labels?: Readonly<Record<string, string>>
  readonly expiresAt?: string | null
}

/** A created or changed secret, with warnings for the person who did it (short value, mixed-script host …). */
export interface SecretWritten {
  readonly secret: Secret
  readonly warnings: readonly string[]
}

export interface SecretStore {
  create(principal: Principal, input: NewSecret): Promise<SecretWritten>
  list(
    principal: Principal,
    page: PageRequest & { readonly name?: string; readonly label?: string },
  ): Promise<Page<Secret>>
  /** By id or name; `not_found` for missing and foreign alike. */
  get(principal: Principal, idOrName: string): Promise<Secret>
  update(principal: Principal, idOrName: string, patch: SecretPatch): Promise<SecretWritten>
  delete(principal: Principal, idOrName: string): Promise<void>
  versions(principal: Principal, idOrName: string): Promise<readonly SecretVersion[]>
}

export interface SandboxStore {
  /** The token is returned here and never again. */
  create(
    principal: Principal,
    input: { readonly name: string; readonly mounts: Readonly<Record<string, string>> },
  ): Promise<{ readonly sandbox: Sandbox; readonly token: string }>
  list(principal: Principal, page: PageRequest): Promise<Page<Sandbox>>
  get(principal: Principal, idOrName: string): Promise<Sandbox>
  /** Replaces the whole mount map. */
  setMounts(principal: Principal, idOrName: string, mounts: Readonly<Record<string, string>>): Promise<Sandbox>
  /** A fresh token; the old one stops working at once. */
  rotateToken(principal: Principal, idOrName: string): Promise<{ readonly sandbox: Sandbox; readonly token: string }>
  delete(principal: Principal, idOrName: string): Promise<void>
}

export interface ApiToken {
  readonly id: string
  readonly name: string
  readonly createdAt: string
  readonly expiresAt: string | null
  readonly lastUsedAt: string | null
}

export interface TokenStore {
  /** Constant time; undefined for unknown, expired and revoked alike. Sandbox tokens are never accepted here. */
  authenticate(token: string): Promise<Principal | undefined>
  create(
    principal: Principal,
    input: { readonly name: string; readonly expiresAt?: string | null },
  ): Promise<{ readonly token: ApiToken; readonly secret: string }>
  list(principal: Principal, page: PageRequest): Promise<Page<ApiToken>>
  revoke(principal: Principal, idOrName: string): Promise<void>
}

export interface AuditFilter {
  readonly sandbox?: string
  readonly secret?: string
  readonly host?: string
  readonly decision?: string
  /** ISO 8601; events at or after it. */
  readonly since?: string
}

export interface VerifyReport {
  readonly ok: boolean
  readonly events: number
  readonly writers: number
  readonly checkpoints: number
  /** The first bad event, or null. */
  readonly firstBad: { readonly writer: string; readonly seq: number; readonly reason: string } | null
}

export interface AuditReader {
  /** Newest first. */
  list(principal: Principal, page: PageRequest & AuditFilter): Promise<Page<StoredAuditEvent>>
  /** Walks every chain and checkpoint from the beginning. */
  verify(): Promise<VerifyReport>
}
