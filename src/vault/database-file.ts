/** Opens the database file privately (0600) and with the settings that durability and deletion depend on, or not at all. */
import { closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { CoatcheckError } from '../core/errors.ts'
import { isBusy } from './sqlite-dialect.ts'

/** SQLite waits this long with the thread stopped, so it is short; longer waits are slept between tries. */
export const BUSY_TIMEOUT_MS = 50
const WRITE_DEADLINE_MS = 5_000
const RETRY_MS = 20
/** Of new files: the audit log writes half as many as of SQLite's usual 4 KiB, each commit a twentieth cheaper. */
const PAGE_BYTES = 8192

/** Throws `database_unusable` for what is not `sqlite`. */
export function refuseOtherUrls(url: string): void {
  if (url === 'sqlite') return
  throw new CoatcheckError(
    'database_unusable',
    /^postgres(ql)?:/.test(url) ? 'PostgreSQL is not supported yet.' : 'The database setting names no known database.',
    'Set `database: sqlite`.',
  )
}

/** SQLite gives -wal and -shm the mode of the database file, so creating that one privately is enough. */
export function createPrivately(dataDir: string, file: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const descriptor = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600)
    const { mode } = fstatSync(descriptor)
    closeSync(descriptor)
    if ((mode & 0o077) === 0) return
  } catch (error) {
    throw new CoatcheckError(
      'database_unusable',
      `${file} cannot be opened for writing.`,
      'Give the user that runs coatcheck a data directory it can write.',
      { cause: error },
    )
  }
  throw new CoatcheckError(
    'database_unusable',
    `${file} is open to other users of this machine.`,
    `Run chmod 600 ${file}* after making sure that nobody else has changed it.`,
  )
}

/** A connection for writing, whose settings were read back. */
export async function connect(file: string, durability: 'full' | 'process'): Promise<DatabaseSync> {
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  const wanted = [
    ['journal_mode', 'WAL', 'wal'],
    ['synchronous', durability === 'full' ? 'FULL' : 'NORMAL', durability === 'full' ? 2 : 1],
    ['foreign_keys', 'ON', 1],
    ['secure_delete', 'ON', 1],
  ] as const
  try {
    database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
    for (const [name, value, effect] of wanted) {
      await whileBusy(async () => database.exec(`PRAGMA ${name} = ${value}`))
      const got = Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]
      if (got !== effect) throw new Error(`PRAGMA ${name} is ${String(got)}, not ${effect}`)
    }
    return database
  } catch (error) {
    database.close()
    throw unusable(file, error)
  }
}

/** Runs `work`, again while another connection holds the lock, for up to 5 s. */
export async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  for (let waited = 0; ; waited += BUSY_TIMEOUT_MS + RETRY_MS) {
    try {
      return await work()
    } catch (error) {
      if (!isBusy(error) || waited >= WRITE_DEADLINE_MS) throw error
      await sleep(RETRY_MS)
    }
  }
}

/** What kept the file from being opened, as one error. */
export function unusable(file: string, error: unknown): CoatcheckError {
  if (error instanceof CoatcheckError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new CoatcheckError(
    'database_unusable',
    `${file} cannot be used: ${reason}.`,
    'Restore it from a backup, or point dataDir elsewhere; coatcheck changed nothing in it.',
    { cause: error },
  )
}
