/**
 * What the edges offer one another, through core. app.ts is the only file that knows which class stands behind each.
 * The proxy gets `SandboxReader` and `SecretReader`, by type unable to list or write.
 */
import type { SecureContext } from 'node:tls'
import type { AuditEvent, StoredAuditEvent } from './audit-event.ts'
import type { Page, PageRequest } from './page.ts'
import type { Placement } from './placement.ts'
import type { Audience, Principal, Role } from './principal.ts'
import type { Sandbox, SandboxIdentity } from './sandbox.ts'
import type { MountedSecret, SecretValue } from './secret.ts'

export type { Page, PageRequest } from './page.ts'
export type { Principal } from './principal.ts'
export type { NewSecret, SecretPatch, SecretStore, SecretWritten } from './secret-store.ts'

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
  /** Those mounted in this sandbox that have a placement of the kind: what a body is searched for, for example. */
  placeable(
    sandbox: SandboxIdentity,
    kind: Placement['kind'],
  ): readonly MountedSecret[] | Promise<readonly MountedSecret[]>
  /** Every host that some mounted secret of this sandbox allows, for `proxy.intercept: needed`. */
  anyMountedAllows(sandbox: SandboxIdentity, host: string): boolean | Promise<boolean>
}

/** Told of every release; remembers the last one of each secret and writes it down within a second, off the hot path. */
export interface SecretUsage {
  /** `at` in milliseconds since the epoch. Never throws, never waits. */
  used(secretId: string, at: number): void
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

export interface AuditJournal extends AuditAppender {
  /** Written with the next commit, within milliseconds. Never throws; what cannot be written is logged and lost. */
  note(events: readonly AuditEvent[]): void
}

// ---- control plane: the nouns' own stores stand in principal.ts, scope.ts, secret-store.ts, access-policy.ts … ----

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
  readonly role: Role
  readonly audience: Audience
  /** The scope it is limited to. */
  readonly scopeId: string
  /** The principal it speaks for. */
  readonly principalId: string
  /** A runner's only sandbox; null = all of its scope. */
  readonly sandboxId: string | null
  /** What the token begins with, for people to tell kinds apart. */
  readonly prefix: string
  readonly createdBy: string
  readonly createdAt: string
  readonly expiresAt: string | null
  /** Within a minute. */
  readonly lastUsedAt: string | null
}

/** What an API token may begin with: the first is ours, the others are as foreign contracts spell theirs. */
export const TOKEN_PREFIXES = ['cct_', 'sec_', 'pub_', 'tok_', 'dtn_', '1ck_', 'ocv_'] as const
export type TokenPrefix = (typeof TOKEN_PREFIXES)[number]

export interface NewToken {
  readonly name: string
  readonly expiresAt?: string | null
  /** Default `member`. Never more than the creator's. `runner` makes a credential for runners only (`crt_`). */
  readonly role?: Role
  /** A scope the creator reaches, by id; default the one it acts on. */
  readonly scopeId?: string
  /** Default `cct_`. `pub_` takes no role but `viewer`; `ocv_` speaks for an agent. */
  readonly prefix?: TokenPrefix
  /** An agent or user to speak for, with that one's role at most; default a principal of its own. */
  readonly principalId?: string
  /** For a runner: the only sandbox it may resolve. */
  readonly sandboxId?: string | null
}

export interface TokenStore {
  /**
   * Constant time; undefined for unknown, expired, revoked and of another audience alike (default `control`).
   * Sandbox tokens are never accepted here.
   */
  authenticate(token: string, audience?: Audience): Promise<Principal | undefined>
  create(principal: Principal, input: NewToken): Promise<{ readonly token: ApiToken; readonly secret: string }>
  list(principal: Principal, page: PageRequest): Promise<Page<ApiToken>>
  revoke(principal: Principal, idOrName: string): Promise<void>
}

export interface AuditFilter {
  readonly sandbox?: string
  readonly secret?: string
  readonly host?: string
  readonly decision?: string
  /** Of a change, exactly: `secret.read`. */
  readonly action?: string
  /** Who made a change, as events name it. */
  readonly principal?: string
  /** ISO 8601; events at or after it. */
  readonly since?: string
  /** ISO 8601; events at or before it. */
  readonly until?: string
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
