/** Creates that may be sent again, each under a digest of caller, place and key; what is known of it is sealed. */
import { sql } from 'kysely'
import type { Migration } from '../migrate.ts'

const STATEMENTS = [
  `CREATE TABLE repetitions (
    id TEXT NOT NULL PRIMARY KEY,
    principal_id TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'once', 'kept')),
    ciphertext BLOB NOT NULL,
    wrapped_key BLOB NOT NULL,
    key_id TEXT NOT NULL,
    at INTEGER NOT NULL
  )`,
  `CREATE INDEX repetitions_at ON repetitions (at)`,
  `CREATE INDEX repetitions_principal ON repetitions (principal_id, at)`,
]

export const repetitions: Migration = {
  number: 11,
  name: '011-repetitions',
  async up(db) {
    for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
  },
}
