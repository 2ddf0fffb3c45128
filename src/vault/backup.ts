/**
 * A whole data directory as one encrypted file, and back on an empty machine: database, keys, authority, audit key and checkpoints.
 *
 * The database is copied as of one moment while it is in use; what is written after that moment is not in the backup. Files that only
 * confirm the database (checkpoints) are read before that moment, the keyring after it: keys are only ever added.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CoatcheckError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'
import { BackupReader, BackupWriter } from './backup-format.ts'
import type { Database } from './database.ts'

const DATABASE = 'coatcheck.db'
const KEYRING = 'keyring.json'
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
/** Of this process or made again at every start. */
const LEFT_OUT = /\.(?:tmp|lock|sock|pid)$|^coatcheck\.db/
const PIECE = 65_536
const MAX_ENTRY_HEADER = 1_024

export interface BackupOptions {
  readonly database: Database
  readonly dataDir: string
  /** At least 12 characters. */
  readonly passphrase: string
  /** Where the backup is written; must not be there yet. */
  readonly file: string
  readonly clock: Clock
}

export interface BackupReport {
  /** Names of what is in it. */
  readonly files: readonly string[]
  readonly bytes: number
}

/** Writes the backup (0600), whole or not at all. Throws `conflict` when the file is there, `invalid_input` for the passphrase. */
export async function createBackup(options: BackupOptions): Promise<BackupReport> {
  const { database, dataDir, file } = options
  if (await exists(file)) throw taken(file)
  const suffix = randomBytes(6).toString('hex')
  const partial = `${file}.${suffix}.tmp`
  const snapshot = join(dataDir, `snapshot-${suffix}.tmp`)
  const handle = await open(partial, 'wx', 0o600)
  try {
    const writer = await BackupWriter.begin(handle, options.passphrase, new Date(options.clock()).toISOString())
    const files = (await readdir(dataDir, { withFileTypes: true }))
      .filter((entry) => entry.isFile() && NAME.test(entry.name) && !LEFT_OUT.test(entry.name))
      .map((entry) => entry.name)
    for (const name of files) if (name !== KEYRING) await writeEntry(writer, name, join(dataDir, name))
    await database.snapshot(snapshot)
    await writeEntry(writer, DATABASE, snapshot)
    // Absent when the keys come from the environment: then they are backed up where they are kept.
    if (files.includes(KEYRING)) await writeEntry(writer, KEYRING, join(dataDir, KEYRING))
    await writer.write(lengthOf(0))
    await writer.end()
    const { size } = await handle.stat()
    // link() fails when the name was taken meanwhile; rename() would replace what is there.
    await link(partial, file).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? taken(file) : error
    })
    return { files: [...files, DATABASE].sort(), bytes: size }
  } finally {
    await handle.close()
    await rm(snapshot, { force: true })
    await rm(partial, { force: true })
  }
}

export interface RestoreOptions {
  readonly file: string
  readonly passphrase: string
  /** Must be absent or empty. */
  readonly dataDir: string
}

/** Restores whole or not at all. Throws `conflict` when the directory holds anything, `invalid_input` when it cannot be opened. */
export async function restoreBackup({ file, passphrase, dataDir }: RestoreOptions): Promise<BackupReport> {
  const present = await readdir(dataDir).catch(() => [])
  if (present.length > 0) throw taken(dataDir)
  const staged = `${dataDir}.restore-${randomBytes(6).toString('hex')}`
  await mkdir(dirname(dataDir), { recursive: true })
  await mkdir(staged, { mode: 0o700 })
  const handle = await open(file, constants.O_RDONLY)
  try {
    const reader = await BackupReader.begin(handle, passphrase)
    const files: string[] = []
    for (;;) {
      const name = await readEntry(reader, staged)
      if (name === null) break
      files.push(name)
    }
    await reader.end()
    if (!files.includes(DATABASE)) throw notWhole()
    // What can be renamed over is an empty directory at most.
    await rmdir(dataDir).catch(() => undefined)
    await rename(staged, dataDir)
    return { files: files.sort(), bytes: (await handle.stat()).size }
  } finally {
    await handle.close()
    await rm(staged, { recursive: true, force: true })
  }
}

/** Length and JSON of `{ name, size }`, then the bytes. A file that grows meanwhile is taken as long as it was. */
async function writeEntry(writer: BackupWriter, name: string, path: string): Promise<void> {
  const file = await open(path, constants.O_RDONLY)
  try {
    const { size } = await file.stat()
    const header = Buffer.from(JSON.stringify({ name, size }))
    await writer.write(Buffer.concat([lengthOf(header.length), header]))
    const piece = Buffer.alloc(PIECE)
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(piece, 0, Math.min(PIECE, size - at), at)
      if (bytesRead === 0) throw new Error(`${name} became shorter while it was read.`)
      await writer.write(piece.subarray(0, bytesRead))
      at += bytesRead
    }
    piece.fill(0)
  } finally {
    await file.close()
  }
}

/** Writes the next file into `dir` (0600) and gives its name; null after the last one. */
async function readEntry(reader: BackupReader, dir: string): Promise<string | null> {
  const length = (await reader.read(4)).readUInt32BE()
  if (length === 0) return null
  if (length > MAX_ENTRY_HEADER) throw notWhole()
  const { name, size } = JSON.parse((await reader.read(length)).toString('utf8')) as { name: string; size: number }
  if (!NAME.test(name) || !Number.isSafeInteger(size) || size < 0) throw notWhole()
  const file = await open(join(dir, name), 'wx', 0o600)
  try {
    for (let left = size; left > 0; ) {
      const piece = await reader.read(Math.min(PIECE, left))
      await file.writeFile(piece)
      left -= piece.length
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return name
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return bytes
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}

function taken(path: string): CoatcheckError {
  return new CoatcheckError('conflict', `${path} is there already.`, 'Choose another place; nothing is replaced.')
}

function notWhole(): CoatcheckError {
  return new CoatcheckError('invalid_input', 'The backup holds no data directory.', 'Use another copy of the file.')
}
