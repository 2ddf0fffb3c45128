/**
 * What the control plane can do with secrets, in small parts. Every verb acts on the principal's scope (`Principal.scopeId`),
 * asks for the permission named here, and answers `not_found` for missing, foreign and unlistable alike.
 *
 * A ref is a secret's id or its name (path). In a workspace a name means the workspace's own live secret, else the account's.
 * Changing an inherited one there is `not_found`: it is changed on the account.
 */
import type { GenerateSpec } from './generate.ts'
import type { Page, PageRequest } from './page.ts'
import type { Principal } from './principal.ts'
import type {
  ReadPolicy,
  RotationPolicy,
  Secret,
  SecretState,
  SecretType,
  SecretValue,
  SecretVersion,
} from './secret.ts'
import type { NameForm } from './secret-name.ts'

/** What a create, a put and a patch may all say. */
interface SecretFields {
  readonly description?: string | null
  readonly type?: SecretType
  /** Null = unrestricted; [] is refused. */
  readonly hosts?: readonly string[] | null
  readonly placements?: readonly string[]
  readonly allowPlaintext?: boolean
  readonly labels?: Readonly<Record<string, string>>
  /** A JSON object of at most 16 KiB. Never the value. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** 1 to 256 printable characters. */
  readonly externalId?: string | null
  /** Default `never`. Only tightened: `permission` on one that is `never` is refused. */
  readonly readPolicy?: ReadPolicy
  /** ISO 8601. */
  readonly expiresAt?: string | null
  /** 1..1_000_000_000. */
  readonly maxAccessCount?: number | null
  readonly countUses?: boolean
  /** How often one request may hold it outside of its headers: 1 (default) to 1000. */
  readonly maxOccurrences?: number
  readonly rotationPolicy?: RotationPolicy | null
}

export interface NewSecret extends SecretFields {
  readonly name: string
  readonly value: SecretValue
  /** Prefix put before the placeholder so that a client's own format check passes. */
  readonly dress?: string
}

/** Omitted = unchanged; null clears where null is allowed. A value makes a new version, which keeps what is not said. */
export interface SecretPatch extends SecretFields {
  readonly name?: string
  readonly value?: SecretValue
}

/**
 * A whole new version, as a PUT says it: `metadata`, `expiresAt`, `maxAccessCount` and `rotationPolicy` are unset when omitted; the
 * rest is kept, and `type` too. `readPolicy` counts when the secret is made and otherwise only where it tightens.
 */
export type SecretPut = Omit<NewSecret, 'name'>

/** A created or changed secret, with warnings for the person who did it (short value, mixed-script host …). */
export interface SecretWritten {
  readonly secret: Secret
  readonly warnings: readonly string[]
}

export interface SecretPutResult extends SecretWritten {
  readonly outcome: 'created' | 'replaced' | 'revived'
}

export interface WriteOptions {
  /** Refuse with `conflict` unless this is the current version. */
  readonly ifVersion?: number
}

export interface SecretFilter {
  /** A part of the name. */
  readonly name?: string
  /** How the name begins. */
  readonly prefix?: string
  /** A part of the name, description or external id; A-Z in any case. */
  readonly query?: string
  /** Only names that a foreign contract can spell. */
  readonly form?: NameForm
  /** `k` or `k=v`. */
  readonly label?: string
  /** All of them, exactly. */
  readonly labels?: Readonly<Record<string, string>>
  readonly type?: SecretType
  readonly externalId?: string
  /** `effective` (default): own ones and inherited ones that are not overridden. */
  readonly from?: 'effective' | 'own' | 'inherited'
  /** Also those that were softly deleted. Default false. */
  readonly deleted?: boolean
  /** Default name. */
  readonly sort?: 'name' | 'createdAt' | 'updatedAt'
  /** Default asc. */
  readonly order?: 'asc' | 'desc'
  /** Count all that match. Default false. */
  readonly total?: boolean
}

export interface SecretPage extends Page<Secret> {
  /** Only when asked for. */
  readonly total?: number
}

export interface SecretStore {
  /** `write`. Throws `conflict` when a live secret of the scope has the name or the external id. */
  create(principal: Principal, input: NewSecret): Promise<SecretWritten>
  /** Those the principal may `list`. */
  list(principal: Principal, page: PageRequest & SecretFilter): Promise<SecretPage>
  /** `list`. Throws `gone` for one that was softly deleted, when its name has no live one. */
  get(principal: Principal, ref: string): Promise<Secret>
  /** `write`. */
  update(principal: Principal, ref: string, patch: SecretPatch, options?: WriteOptions): Promise<SecretWritten>
  /** `delete`. Destroys every value and its key; the name is free at once. Also takes one that was softly deleted. */
  delete(principal: Principal, ref: string): Promise<void>
  /** `list`. Newest first. */
  versions(principal: Principal, ref: string): Promise<readonly SecretVersion[]>
}

/** The wider store: what paths, foreign keys and lifecycles need. */
export interface SecretControl extends SecretStore {
  /** `write`. Creates, adds a version, or revives a softly deleted one with its next version and the same placeholder. */
  put(principal: Principal, name: string, input: SecretPut): Promise<SecretPutResult>
  /** `write`. As `put` with a value made here, which nobody has seen; what a put would unset is kept. */
  generate(
    principal: Principal,
    name: string,
    spec: GenerateSpec & { readonly type?: SecretType },
  ): Promise<SecretPutResult>
  /** `list`. */
  getByExternalId(principal: Principal, externalId: string): Promise<Secret>
  /** `list`. */
  version(principal: Principal, ref: string, version: number): Promise<SecretVersion>
  /** `write`. Never released or read again until enabled. Idempotent. */
  disableVersion(principal: Principal, ref: string, version: number): Promise<SecretVersion>
  /** `write`. */
  enableVersion(principal: Principal, ref: string, version: number): Promise<SecretVersion>
  /** `delete`. Values are kept, never released; the name is free; mounts are kept. */
  softDelete(principal: Principal, ref: string): Promise<void>
  /** `write`. The newest of that name, or that id; throws `conflict` when the name is taken meanwhile. */
  revive(principal: Principal, ref: string): Promise<Secret>
}

export interface RevealedSecret {
  readonly secret: Secret
  readonly version: SecretVersion
  readonly value: SecretValue
}

export interface SecretReveals {
  /**
   * `read` (of an inherited one: as the account grants it), and a `readPolicy` of `permission` (`forbidden` otherwise). The audit event is durable first; then the read is counted,
   * exactly, in every process; then the value is opened. Throws `gone` for expired, used up, disabled, softly deleted or destroyed.
   * Default: the current version.
   */
  reveal(principal: Principal, ref: string, options?: { readonly version?: number }): Promise<RevealedSecret>
  /** `list`. Whether `reveal` would give the current version's value now; nothing is recorded or counted. */
  mayReveal(principal: Principal, ref: string): Promise<boolean>
}

/** One secret that a mount of a sandbox might mean, and why it is not the one. */
export interface PassedOver {
  readonly id: string
  readonly scopeId: string
  readonly why: 'overridden' | 'deleted'
  readonly message: string
}

export interface EffectiveMount {
  /** Environment variable. */
  readonly env: string
  /** Name or id, as it was mounted. */
  readonly ref: string
  /** The one that wins, or null when none is left. */
  readonly secret: Secret | null
  /** Null when it would be released. */
  readonly refusal: { readonly state: SecretState | 'missing'; readonly message: string } | null
  /** Where it may go: every host when null. */
  readonly hosts: readonly string[] | null
  readonly placements: readonly string[]
  readonly others: readonly PassedOver[]
}

export interface EffectiveReport {
  readonly sandboxId: string
  readonly mounts: readonly EffectiveMount[]
  /** Secrets of the workspace that this sandbox does not mount and so never gets: the first 200 by name. */
  readonly notMounted: readonly { readonly id: string; readonly name: string }[]
}

export interface UnusedSecret {
  readonly secret: Secret
  /** Whole days since the last use, or since it was created. */
  readonly days: number
}

export interface SecretReports {
  /** `list`. Which secret each mount of the sandbox means, where it may go, and why no other does. */
  effective(principal: Principal, sandboxIdOrName: string): Promise<EffectiveReport>
  /** Live secrets of the scope not used since then, the longest first. `since` is ISO 8601. */
  unused(principal: Principal, request: PageRequest & { readonly since: string }): Promise<Page<UnusedSecret>>
  /** Live secrets of the scope whose current version is due for rotation, the longest first. */
  rotationDue(principal: Principal, page: PageRequest): Promise<Page<Secret>>
}

/** What a platform's runner gets for one sandbox: values, for the principal's own audience only. */
export interface ResolvedMount {
  readonly env: string
  readonly secret: Secret
  readonly value: SecretValue
}

export interface MountResolver {
  /** Role `runner` alone, and its sandbox. Each value is audited and counted as a read. Refused ones are left out. */
  resolve(principal: Principal, sandboxIdOrName: string): Promise<readonly ResolvedMount[]>
}
