/** The tables as the query code sees them. Times are ISO 8601 in UTC with milliseconds; flags are 0 or 1; lists are JSON. */
import type { GeneratedAlways } from 'kysely'

/** account > workspace > vault. */
export interface ScopeRow {
  id: string
  kind: 'account' | 'workspace' | 'vault'
  parent_id: string | null
  /** A foreign system's key for it, such as a stack uid. */
  external_key: string | null
  name: string
  created_at: string
  deleted_at: string | null
}

export interface PrincipalRow {
  id: string
  kind: 'user' | 'api_key' | 'agent' | 'system'
  name: string
  email: string | null
  account_id: string
  created_at: string
  deleted_at: string | null
}

export interface SecretRow {
  id: string
  /** The scope that owns it; today always a workspace. */
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
  expires_at: string | null
  created_by: string
  created_at: string
  updated_at: string
  deleted_at: string | null
}

export interface SecretVersionRow {
  secret_id: string
  version: number
  /** Both null once destroyed. */
  ciphertext: Uint8Array | null
  wrapped_key: Uint8Array | null
  /** The one key-encryption key that unwraps `wrapped_key`. */
  key_id: string
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
  secret_id: string
}

export interface TokenRow {
  id: string
  workspace_id: string
  principal_id: string
  name: string
  /** SHA-256 of the token; null once revoked. */
  token_hash: Uint8Array | null
  created_by: string
  created_at: string
  expires_at: string | null
  last_used_at: string | null
  revoked_at: string | null
}

export interface Schema {
  scopes: ScopeRow
  principals: PrincipalRow
  secrets: SecretRow
  secret_versions: SecretVersionRow
  sandboxes: SandboxRow
  mounts: MountRow
  tokens: TokenRow
  /** One row: grows with every control-plane change. */
  revision: { id: GeneratedAlways<number>; n: number }
  /** What each key-encryption key must compute, so that a wrong keyring is noticed before it is used. */
  key_checks: { key_id: string; check_value: string; created_at: string }
  schema_migrations: { number: number; name: string; applied_at: string }
}
