/** How often one request may hold a secret outside of its headers. */
import { sql } from 'kysely'
import type { Migration } from '../migrate.ts'

export const occurrences: Migration = {
  number: 3,
  name: '003-occurrences',
  async up(db) {
    await sql`ALTER TABLE secrets ADD COLUMN max_occurrences INTEGER NOT NULL DEFAULT 1`.execute(db)
  },
}
