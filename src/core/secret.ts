/**
 * A secret: a named value with the hosts it may go to.
 *
 * The value itself exists only as a `SecretValue`, which prints, serialises and inspects as `[secret]`.
 */
import { inspect } from 'node:util'
import type { HostList } from './host-pattern.ts'
import type { Placement } from './placement.ts'
import type { PrincipalKind } from './principal.ts'

/** A value that cannot be printed by accident. `reveal()` is the one way out; see docs/invariants.md, rule 6. */
export class SecretValue {
  readonly #bytes: Buffer

  /** Takes a copy, so that the caller can clear its own buffer. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes)
  }

  static fromText(text: string): SecretValue {
    return new SecretValue(Buffer.from(text, 'utf8'))
  }

  get byteLength(): number {
    return this.#bytes.length
  }

  /** The bytes, not a copy. Only core/ files that write them into outgoing bytes, and vault/seal.ts, call this. */
  reveal(): Buffer {
    return this.#bytes
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}

/** What kind of credential a value is; informs hints and defaults, never policy. */
export type SecretType =
  | 'generic'
  | 'password'
  | 'api_key'
  | 'private_key'
  | 'certificate'
  | 'ssh_key'
  | 'file'
  | 'note'
  | 'env'
  | 'env_bundle'
  /** A credential pair that signs requests and is never put into one; its placeholder is a pair too. */
  | 'aws'

/** Whether the value may be seen at all by those who have the permission. `never` is never loosened. */
export type ReadPolicy = 'never' | 'permission'

/** Why a secret is not released or read; `current` is. */
export type SecretState = 'current' | 'expired' | 'exhausted' | 'disabled' | 'deleted'

/** What a value is due for. Other keys are kept for foreign contracts and never evaluated. */
export interface RotationPolicy {
  /** 1..3650. Omitted = never due. */
  readonly everyDays?: number
  readonly [key: string]: unknown
}

/** Everything the control plane shows of a secret. Never the value. Times are ISO 8601, UTC, milliseconds. */
export interface Secret {
  readonly id: string
  /** The workspace it was looked at from, or the account's id when looked at from there. */
  readonly workspaceId: string
  /** The scope that owns it. */
  readonly scopeId: string
  /** Owned by the account and seen in a workspace that has none of this name. */
  readonly inherited: boolean
  /** Also its path: segments are parted by `/`. */
  readonly name: string
  readonly placeholder: string
  readonly description: string | null
  readonly type: SecretType
  /** A-labels, lower case; null = unrestricted. */
  readonly hosts: readonly string[] | null
  /** Placement texts, as design.md's words spell them. */
  readonly placements: readonly string[]
  readonly allowPlaintext: boolean
  readonly labels: Readonly<Record<string, string>>
  /** Of the current version. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** A foreign system's key for it; unique in its scope. */
  readonly externalId: string | null
  readonly hint: string | null
  readonly readPolicy: ReadPolicy
  readonly state: SecretState
  readonly version: number
  /** Of the current version. */
  readonly expiresAt: string | null
  /** How often the current version may be read (and released, with `countUses`); null = any number of times. */
  readonly maxAccessCount: number | null
  readonly accessCount: number
  /** Releases count as reads do. */
  readonly countUses: boolean
  /** How often one request may hold it outside of its headers. */
  readonly maxOccurrences: number
  readonly rotationPolicy: RotationPolicy | null
  /** When the current version is due for rotation; null = never. */
  readonly rotateAt: string | null
  /** As the log names them: `admin`, `token:ci`. */
  readonly createdBy: string
  readonly createdByKind: PrincipalKind
  readonly createdById: string
  readonly createdAt: string
  readonly updatedAt: string
  /** The last release or read, within a second. */
  readonly lastUsedAt: string | null
  readonly deletedAt: string | null
}

/** One value of a secret, without the value. */
export interface SecretVersion {
  readonly version: number
  readonly createdAt: string
  readonly createdBy: string
  readonly disabledAt: string | null
  readonly type: SecretType
  readonly metadata: Readonly<Record<string, unknown>>
  readonly expiresAt: string | null
  readonly maxAccessCount: number | null
  readonly accessCount: number
  readonly state: SecretState
}

/** What the proxy may know of a secret that is mounted in the sandbox at hand. */
export interface MountedSecret {
  readonly id: string
  /** The scope that owns it: the sandbox's workspace, its account, or a vault. */
  readonly workspaceId: string
  readonly name: string
  /** Dress + token: what the sandbox holds; of type `aws`: token + `:` + the placeholder's secret access key. */
  readonly placeholder: string
  /** The `xcoat_…` part, or the `XCOAT…` access key id: what the scan finds. */
  readonly token: string
  readonly version: number
  readonly hosts: HostList
  readonly placements: readonly Placement[]
  readonly allowPlaintext: boolean
  /** Milliseconds since the epoch, or null. Once a secret was seen expired it stays so, whatever the clock says. */
  readonly expiresAt: number | null
  readonly state: 'current' | 'disabled' | 'exhausted'
  /** Opening it counts against `maxAccessCount` and throws `exhausted` when there is none left. Default: false. */
  readonly countUses?: boolean
  /** How often one request may hold it outside of its headers. Default: 1. */
  readonly maxOccurrences?: number
}
