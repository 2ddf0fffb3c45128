/** The tables as the query code sees them. Times are ISO 8601 in UTC with milliseconds; flags are 0 or 1; lists are JSON. */
import type { ColumnType, GeneratedAlways, Selectable } from 'kysely'
import type { Audience, PrincipalKind, Role } from '../core/principal.ts'
import type { DeniedAnswer } from '../core/workspace-settings.ts'

/** A column that has a default, so that the first migration's inserts need not know of it. */
type Defaulted<T> = ColumnType<T, T | undefined, T>

/** account > workspace > vault. */
export interface ScopeTable {
  id: string
  kind: 'account' | 'workspace' | 'vault'
  parent_id: string | null
  /** A foreign system's key for it, such as a stack uid. */
  external_key: string | null
  name: string
  description: Defaulted<string | null>
  created_by: Defaulted<string>
  created_at: string
  deleted_at: string | null
}
export type ScopeRow = Selectable<ScopeTable>

export interface PrincipalTable {
  id: string
  kind: PrincipalKind
  name: string
  email: string | null
  account_id: string
  role: Defaulted<Role>
  /** Who it is to an identity provider; unique among live rows. */
  external_id: Defaulted<string | null>
  created_at: string
  deleted_at: string | null
}
export type PrincipalRow = Selectable<PrincipalTable>

export interface SecretRow {
  id: string
  /** The scope that owns it. */
  scope_id: string
  name: string
  /** The name as its scope compares it; unique among live rows of the scope. */
  name_key: string
  placeholder: string
  /** The `xcoat_…` part; unique among all rows, deleted ones too, so that none is ever given out twice. */
  token: string
  type: string
  description: string | null
  hosts: string | null
  placements: string
  allow_plaintext: number
  labels: string
  hint: string | null
  current_version: number
  /** This, `metadata` and `max_access_count` are the current version's. */
  expires_at: string | null
  metadata: string
  max_access_count: number | null
  external_id: string | null
  read_policy: 'never' | 'permission'
  count_uses: number
  max_occurrences: number
  rotation_policy: string | null
  /** When the current version is due; follows from `rotation_policy`. */
  rotate_at: string | null
  /** 1 once the log says that it is due. */
  rotation_reminded: number
  created_by: string
  created_by_kind: PrincipalKind
  created_by_id: string
  created_at: string
  updated_at: string
  last_used_at: string | null
  /** The last use, or the creation. */
  idle_since: string
  deleted_at: string | null
  /** Null while a deleted one can be revived. */
  destroyed_at: string | null
}

export interface SecretVersionRow {
  secret_id: string
  version: number
  /** Both null once destroyed. */
  ciphertext: Uint8Array | null
  wrapped_key: Uint8Array | null
  /** The one key-encryption key that unwraps `wrapped_key`. */
  key_id: string
  type: string
  metadata: string
  expires_at: string | null
  max_access_count: number | null
  access_count: number
  created_by: string
  created_at: string
  disabled_at: string | null
}

export interface SandboxRow {
  id: string
  workspace_id: string
  name: string
  /** SHA-256 of the token; null once deleted. */
  token_hash: Uint8Array | null
  /** Grows with each new token. */
  token_version: number
  created_by: string
  created_at: string
  updated_at: string
  deleted_at: string | null
}

export interface MountRow {
  sandbox_id: string
  env_name: string
  /** The secret it meant when it was made. */
  secret_id: string
  /** Set when it was made by name: it means the secret that has the name when it is used. */
  name_key: string | null
}

export interface TokenRow {
  id: string
  workspace_id: string
  principal_id: string
  name: string
  /** SHA-256 of the token; null once revoked. */
  token_hash: Uint8Array | null
  role: Role
  audience: Audience
  /** The scope it is limited to; `workspace_id` is where it acts at first. */
  scope_id: string
  sandbox_id: string | null
  prefix: string
  created_by: string
  created_at: string
  expires_at: string | null
  last_used_at: string | null
  revoked_at: string | null
}

export interface AccessPolicyRow {
  id: string
  scope_id: string
  path: string
  permissions: string
  effect: 'allow' | 'deny'
  priority: number
  principal_id: string | null
  principal_kind: PrincipalKind | null
  expires_at: string | null
  conditions: string
  created_by: string
  created_at: string
  updated_at: string
}

export interface WorkspaceSettingsRow {
  workspace_id: string
  require_hosts: number | null
  on_denied: DeniedAnswer | null
  in_body: DeniedAnswer | null
  placements: string | null
}

/** A create under its idempotency key. */
export interface RepetitionRow {
  /** Digest of caller, place and key. */
  id: string
  principal_id: string
  scope_id: string
  /** `once`: answered with what is not kept. */
  state: 'open' | 'once' | 'kept'
  ciphertext: Uint8Array
  wrapped_key: Uint8Array
  key_id: string
  /** Milliseconds since the epoch. */
  at: number
}

export interface Schema {
  scopes: ScopeTable
  principals: PrincipalTable
  secrets: SecretRow
  secret_versions: SecretVersionRow
  sandboxes: SandboxRow
  mounts: MountRow
  /** A view: what each mount of a live sandbox means now. */
  mounted: MountRow & { workspace_id: string; account_id: string }
  tokens: TokenRow
  access_policies: AccessPolicyRow
  workspace_settings: WorkspaceSettingsRow
  repetitions: RepetitionRow
  /** One row: `n` grows with every control-plane change; `latest_time` is the latest seen, in milliseconds since the epoch. */
  revision: { id: GeneratedAlways<number>; n: number; latest_time: number }
  /** What each key-encryption key must compute, so that a wrong keyring is noticed before it is used. */
  key_checks: { key_id: string; check_value: string; created_at: string }
  schema_migrations: { number: number; name: string; applied_at: string }
}
