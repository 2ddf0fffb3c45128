/**
 * A secret: a named value with the hosts it may go to.
 *
 * The value itself exists only as a `SecretValue`, which prints, serialises and inspects as `[secret]`.
 */
import { inspect } from 'node:util'
import type { HostList } from './host-pattern.ts'
import type { Placement } from './placement.ts'

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

/** Everything the control plane shows of a secret. Never the value. Times are ISO 8601, UTC, milliseconds. */
export interface Secret {
  readonly id: string
  readonly workspaceId: string
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
  readonly hint: string | null
  readonly version: number
  readonly expiresAt: string | null
  readonly createdBy: string
  readonly createdAt: string
  readonly updatedAt: string
}

/** One value of a secret, without the value. */
export interface SecretVersion {
  readonly version: number
  readonly createdAt: string
  readonly createdBy: string
  readonly disabledAt: string | null
}

/** What the proxy may know of a secret that is mounted in the sandbox at hand. */
export interface MountedSecret {
  readonly id: string
  readonly workspaceId: string
  readonly name: string
  /** Dress + token: what the sandbox holds. */
  readonly placeholder: string
  /** The `xcoat_…` part: what the scan finds. */
  readonly token: string
  readonly version: number
  readonly hosts: HostList
  readonly placements: readonly Placement[]
  readonly allowPlaintext: boolean
  /** Milliseconds since the epoch, or null. */
  readonly expiresAt: number | null
  readonly state: 'current' | 'disabled' | 'exhausted'
}
