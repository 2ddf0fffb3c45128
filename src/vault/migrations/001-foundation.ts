/**
 * Scopes, principals, secrets with versions, sandboxes, mounts, tokens, and the audit tables that the audit log fills.
 *
 * Uniqueness holds among live rows only, so that a deleted name is free again while its tombstone stays.
 */
import { type Kysely, sql } from 'kysely'
import { uuidv7 } from '../../core/id.ts'
import type { Migration } from '../migrate.ts'
import type { Schema } from '../schema.ts'

const SCOPE_TABLES = [
  `CREATE TABLE scopes (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('account', 'workspace', 'vault')),
    parent_id TEXT REFERENCES scopes (id),
    external_key TEXT,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    deleted_at TEXT
  )`,
  `CREATE UNIQUE INDEX scopes_live_name ON scopes (coalesce(parent_id, ''), kind, name) WHERE deleted_at IS NULL`,
  `CREATE TABLE principals (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'api_key', 'agent', 'system')),
    name TEXT NOT NULL,
    email TEXT,
    account_id TEXT NOT NULL REFERENCES scopes (id),
    created_at TEXT NOT NULL,
    deleted_at TEXT
  )`,
  `CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES scopes (id),
    principal_id TEXT NOT NULL REFERENCES principals (id),
    name TEXT NOT NULL,
    token_hash BLOB UNIQUE,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT,
    revoked_at TEXT
  )`,
  `CREATE UNIQUE INDEX tokens_live_name ON tokens (workspace_id, name) WHERE revoked_at IS NULL`,
]

const SECRET_TABLES = [
  `CREATE TABLE secrets (
    id TEXT NOT NULL PRIMARY KEY,
    scope_id TEXT NOT NULL REFERENCES scopes (id),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    placeholder TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    description TEXT,
    hosts TEXT,
    placements TEXT NOT NULL,
    allow_plaintext INTEGER NOT NULL CHECK (allow_plaintext IN (0, 1)),
    labels TEXT NOT NULL,
    hint TEXT,
    current_version INTEGER NOT NULL,
    expires_at TEXT,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    deleted_at TEXT
  )`,
  `CREATE UNIQUE INDEX secrets_live_name ON secrets (scope_id, name_key) WHERE deleted_at IS NULL`,
  `CREATE TABLE secret_versions (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    version INTEGER NOT NULL,
    ciphertext BLOB,
    wrapped_key BLOB,
    key_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    disabled_at TEXT,
    PRIMARY KEY (secret_id, version)
  )`,
  `CREATE INDEX secret_versions_key ON secret_versions (key_id) WHERE wrapped_key IS NOT NULL`,
]

const SANDBOX_TABLES = [
  `CREATE TABLE sandboxes (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES scopes (id),
    name TEXT NOT NULL,
    token_hash BLOB UNIQUE,
    token_version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    deleted_at TEXT
  )`,
  `CREATE UNIQUE INDEX sandboxes_live_name ON sandboxes (workspace_id, name) WHERE deleted_at IS NULL`,
  `CREATE TABLE mounts (
    sandbox_id TEXT NOT NULL REFERENCES sandboxes (id),
    env_name TEXT NOT NULL,
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    PRIMARY KEY (sandbox_id, env_name)
  )`,
  `CREATE INDEX mounts_secret ON mounts (secret_id)`,
]

const STATE_TABLES = [
  `CREATE TABLE revision (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL)`,
  `INSERT INTO revision (id, n) VALUES (1, 1)`,
  `CREATE TABLE key_checks (key_id TEXT NOT NULL PRIMARY KEY, check_value TEXT NOT NULL, created_at TEXT NOT NULL)`,
]

/** The body is the truth. SQLite would compute generated columns on every insert, so readers look into the body instead. */
const AUDIT_TABLES = [
  `CREATE TABLE audit_events (
    writer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (writer, seq)
  )`,
  `CREATE TABLE audit_checkpoints (
    writer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time TEXT NOT NULL,
    hash TEXT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (writer, seq)
  )`,
]

async function insertDefaultScopes(db: Kysely<Schema>, now: number): Promise<void> {
  const created_at = new Date(now).toISOString()
  const account = uuidv7(now)
  const common = { external_key: null, created_at, deleted_at: null }
  await db
    .insertInto('scopes')
    .values({ ...common, id: account, kind: 'account', parent_id: null, name: 'default' })
    .execute()
  await db
    .insertInto('scopes')
    .values({ ...common, id: uuidv7(now), kind: 'workspace', parent_id: account, name: 'default' })
    .execute()
  for (const [kind, name] of [
    ['system', 'system'],
    ['user', 'admin'],
  ] as const) {
    await db
      .insertInto('principals')
      .values({ id: uuidv7(now), kind, name, email: null, account_id: account, created_at, deleted_at: null })
      .execute()
  }
}

export const foundation: Migration = {
  number: 1,
  name: '001-foundation',
  async up(db, now) {
    const statements = [...SCOPE_TABLES, ...SECRET_TABLES, ...SANDBOX_TABLES, ...STATE_TABLES, ...AUDIT_TABLES]
    for (const statement of statements) await sql.raw(statement).execute(db)
    await insertDefaultScopes(db, now)
  },
}
