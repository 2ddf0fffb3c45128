/**
 * Roles and limits of credentials, keys of scopes, the whole secret with its versions' own limits, mounts by name, access
 * policies, settings of workspaces, and the latest time seen.
 *
 * What was there keeps its power and its meaning: tokens stay all-powerful in their workspace, mounts mean the same secrets.
 */
import { sql } from 'kysely'
import type { Migration } from '../migrate.ts'

const SCOPES = [
  `ALTER TABLE scopes ADD COLUMN description TEXT`,
  `ALTER TABLE scopes ADD COLUMN created_by TEXT NOT NULL DEFAULT 'system'`,
  `CREATE UNIQUE INDEX scopes_live_key ON scopes (parent_id, external_key)
    WHERE deleted_at IS NULL AND external_key IS NOT NULL`,
  `ALTER TABLE principals ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'`,
  `ALTER TABLE principals ADD COLUMN external_id TEXT`,
  `CREATE UNIQUE INDEX principals_live_external ON principals (external_id)
    WHERE deleted_at IS NULL AND external_id IS NOT NULL`,
  `CREATE INDEX principals_account ON principals (account_id, id) WHERE deleted_at IS NULL`,
  `ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'`,
  `ALTER TABLE tokens ADD COLUMN audience TEXT NOT NULL DEFAULT 'control'`,
  `ALTER TABLE tokens ADD COLUMN scope_id TEXT NOT NULL DEFAULT ''`,
  `ALTER TABLE tokens ADD COLUMN sandbox_id TEXT`,
  `ALTER TABLE tokens ADD COLUMN prefix TEXT NOT NULL DEFAULT 'cct_'`,
  `UPDATE tokens SET scope_id = workspace_id`,
  `UPDATE tokens SET scope_id = (SELECT parent_id FROM scopes WHERE id = workspace_id) WHERE name = 'admin'`,
]

const SECRETS = [
  `ALTER TABLE secrets ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'`,
  `ALTER TABLE secrets ADD COLUMN external_id TEXT`,
  `ALTER TABLE secrets ADD COLUMN read_policy TEXT NOT NULL DEFAULT 'never'`,
  `ALTER TABLE secrets ADD COLUMN max_access_count INTEGER`,
  `ALTER TABLE secrets ADD COLUMN count_uses INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE secrets ADD COLUMN rotation_policy TEXT`,
  `ALTER TABLE secrets ADD COLUMN rotate_at TEXT`,
  `ALTER TABLE secrets ADD COLUMN rotation_reminded INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE secrets ADD COLUMN created_by_kind TEXT NOT NULL DEFAULT 'system'`,
  `ALTER TABLE secrets ADD COLUMN created_by_id TEXT NOT NULL DEFAULT 'system'`,
  `ALTER TABLE secrets ADD COLUMN last_used_at TEXT`,
  `ALTER TABLE secrets ADD COLUMN idle_since TEXT NOT NULL DEFAULT ''`,
  `ALTER TABLE secrets ADD COLUMN destroyed_at TEXT`,
  `UPDATE secrets SET destroyed_at = deleted_at, idle_since = created_at`,
  `CREATE INDEX secrets_deleted_name ON secrets (scope_id, name_key) WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL`,
  `CREATE INDEX secrets_by_name ON secrets (scope_id, name, id)`,
  `CREATE INDEX secrets_by_created ON secrets (scope_id, created_at, id)`,
  `CREATE INDEX secrets_by_updated ON secrets (scope_id, updated_at, id)`,
  `CREATE INDEX secrets_by_idle ON secrets (scope_id, idle_since, id) WHERE deleted_at IS NULL`,
  `CREATE INDEX secrets_by_rotation ON secrets (scope_id, rotate_at, id) WHERE rotate_at IS NOT NULL AND deleted_at IS NULL`,
  `CREATE UNIQUE INDEX secrets_live_external ON secrets (scope_id, external_id)
    WHERE deleted_at IS NULL AND external_id IS NOT NULL`,
  `ALTER TABLE secret_versions ADD COLUMN type TEXT NOT NULL DEFAULT 'generic'`,
  `ALTER TABLE secret_versions ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'`,
  `ALTER TABLE secret_versions ADD COLUMN expires_at TEXT`,
  `ALTER TABLE secret_versions ADD COLUMN max_access_count INTEGER`,
  `ALTER TABLE secret_versions ADD COLUMN access_count INTEGER NOT NULL DEFAULT 0`,
  `UPDATE secret_versions SET (type, expires_at) =
    (SELECT type, CASE WHEN current_version = version THEN expires_at END FROM secrets WHERE id = secret_id)`,
]

/** `mounted` says what each mount means now: the workspace's live secret of that name, else the account's, else the one it meant. */
const MOUNTS = [
  `ALTER TABLE mounts ADD COLUMN name_key TEXT`,
  `UPDATE mounts SET name_key = (SELECT name_key FROM secrets WHERE id = secret_id)`,
  `CREATE VIEW mounted AS
    SELECT mounts.sandbox_id, mounts.env_name, mounts.name_key, sandboxes.workspace_id, scopes.parent_id AS account_id,
      coalesce(own.id, above.id, mounts.secret_id) AS secret_id
    FROM mounts
    JOIN sandboxes ON sandboxes.id = mounts.sandbox_id AND sandboxes.deleted_at IS NULL
    JOIN scopes ON scopes.id = sandboxes.workspace_id
    LEFT JOIN secrets AS own ON own.scope_id = sandboxes.workspace_id AND own.name_key = mounts.name_key
      AND own.deleted_at IS NULL
    LEFT JOIN secrets AS above ON above.scope_id = scopes.parent_id AND above.name_key = mounts.name_key
      AND above.deleted_at IS NULL`,
]

const TABLES = [
  `CREATE TABLE access_policies (
    id TEXT NOT NULL PRIMARY KEY,
    scope_id TEXT NOT NULL REFERENCES scopes (id),
    path TEXT NOT NULL,
    permissions TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny')),
    priority INTEGER NOT NULL,
    principal_id TEXT,
    principal_kind TEXT,
    expires_at TEXT,
    conditions TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
  )`,
  `CREATE INDEX access_policies_scope ON access_policies (scope_id, id)`,
  `CREATE TABLE workspace_settings (
    workspace_id TEXT NOT NULL PRIMARY KEY REFERENCES scopes (id),
    require_hosts INTEGER,
    on_denied TEXT,
    in_body TEXT,
    placements TEXT
  )`,
  `ALTER TABLE revision ADD COLUMN latest_time INTEGER NOT NULL DEFAULT 0`,
]

export const controlPlane: Migration = {
  number: 2,
  name: '002-control-plane',
  async up(db) {
    for (const statement of [...SCOPES, ...SECRETS, ...MOUNTS, ...TABLES]) await sql.raw(statement).execute(db)
  },
}
