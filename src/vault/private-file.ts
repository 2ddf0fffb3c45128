/**
 * Files that hold keys: mode 0600, created only when absent, never half-written, never read when others could have.
 *
 * A file appears under its name only when its bytes are on disk (write, fsync, link or rename, fsync of the directory).
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Why a file that is there may not be used, in words that follow its path. */
export class UnusableFile extends Error {}

/** The bytes, or null when there is no such file. Throws `UnusableFile` when it cannot be read or others can. */
export async function readPrivateFile(path: string): Promise<Buffer | null> {
  const file = await open(path, constants.O_RDONLY).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new UnusableFile(`cannot be read (${error.code ?? 'unknown error'})`, { cause: error })
  })
  if (file === null) return null
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new UnusableFile('is not a regular file')
    if ((stat.mode & 0o077) !== 0) {
      throw new UnusableFile(`is open to other users (mode 0${(stat.mode & 0o777).toString(8)}, must be 0600)`)
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Creates the file; false when another process was first, and then its file stands. */
export async function createPrivateFile(path: string, bytes: Uint8Array): Promise<boolean> {
  const temporary = await writeTemporary(path, bytes)
  try {
    // link() fails when the name is taken; rename() would replace what is there.
    await link(temporary, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await unlink(temporary)
    await syncDirectory(dirname(path))
  }
}

/** Replaces the file in one step: at any moment the old bytes or the new ones stand under its name. */
export async function replacePrivateFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = await writeTemporary(path, bytes)
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

async function writeTemporary(path: string, bytes: Uint8Array): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  return temporary
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
