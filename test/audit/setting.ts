/** A data directory with a real database that has the audit tables, exactly as the migration makes them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { onTestFinished } from 'vitest'
import type { AuditLogOptions } from '../../src/audit/audit-log.ts'
import { AuditLog } from '../../src/audit/audit-log.ts'
import type { Log } from '../../src/core/ports.ts'

const TABLES = `
  CREATE TABLE audit_writers (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE audit_events (
    id INTEGER NOT NULL PRIMARY KEY,
    writer INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
  );
  CREATE TABLE audit_checkpoints (
    writer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time TEXT NOT NULL,
    hash TEXT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (writer, seq)
  );`

export interface Place {
  readonly dataDir: string
  readonly databaseFile: string
}

export function newPlace(under = tmpdir()): Place {
  const dataDir = mkdtempSync(join(under, 'coatcheck-audit-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  const place = { dataDir, databaseFile: join(dataDir, 'coatcheck.db') }
  edit(place, `PRAGMA journal_mode = WAL; ${TABLES}`)
  return place
}

/** Statements through a connection of their own, as somebody with the file would. */
export function edit({ databaseFile }: Place, statements: string): void {
  const db = new DatabaseSync(databaseFile)
  db.exec(statements)
  db.close()
}

export function rows({ databaseFile }: Place, query: string): Record<string, unknown>[] {
  const db = new DatabaseSync(databaseFile, { readOnly: true, timeout: 5000 })
  try {
    return db.prepare(query).all()
  } finally {
    db.close()
  }
}

/** Keeps its lines. */
export class RecordedLog implements Log {
  readonly lines: { level: string; message: string; fields: object }[] = []
  debug = this.#at('debug')
  info = this.#at('info')
  warn = this.#at('warn')
  error = this.#at('error')

  messages(): string[] {
    return this.lines.map(({ message }) => message)
  }

  #at(level: string) {
    return (fields: object, message: string): void => void this.lines.push({ level, message, fields })
  }
}

export async function openLog(place: Place, options: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
  const log = await AuditLog.open({
    ...place,
    durability: 'full',
    sinks: [],
    clock: Date.now,
    log: new RecordedLog(),
    busyTimeoutMs: 100,
    ...options,
  })
  onTestFinished(() => log.close())
  return log
}
