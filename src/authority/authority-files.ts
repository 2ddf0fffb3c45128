/**
 * The authority's two files appear together or not at all, are never replaced, and survive a power cut at any point.
 *
 * Both are first written under names of their own. Linking the key to its name, which fails when the name is taken,
 * decides between processes that start at once; whoever finds a key without its certificate looks for the certificate
 * that was written beforehand and finishes the work, so that neither waiting nor a lock is needed.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { constants, promises } from 'node:fs'
import { join } from 'node:path'
import { CoatcheckError } from '../core/errors.ts'

const { link, mkdir, open, readdir, readFile, rename, rm } = promises

export const KEY_FILE = 'authority.key.pem'
export const CERTIFICATE_FILE = 'authority.cert.pem'
export const EXPORTED_FILE = 'coatcheck-ca.pem'

const STAGED = '.new'
const LARGEST = 65_536

/** The hint for whatever is wrong with the files themselves. */
export const RESTORE =
  'Restore both authority files from a backup. To start over with a new authority, which every client must then be given, move both files away.'

export interface AuthorityPair {
  readonly keyPem: string
  readonly certificatePem: string
}

export function unusable(what: string, hint: string, cause?: unknown): CoatcheckError {
  return new CoatcheckError('authority_unusable', what, hint, { cause })
}

/** The pair in the directory, or undefined when there is no trace of one. Throws `authority_unusable` for anything else. */
export async function readPair(dir: string): Promise<AuthorityPair | undefined> {
  // The certificate is published last, so it is read first: seen, it implies the key.
  const certificatePem = await readText(join(dir, CERTIFICATE_FILE), 'public')
  const keyPem = await readText(join(dir, KEY_FILE), 'private')
  if (keyPem === undefined && certificatePem === undefined) return undefined
  if (keyPem === undefined) throw unusable(`${CERTIFICATE_FILE} is there but ${KEY_FILE} is missing.`, RESTORE)
  return { keyPem, certificatePem: certificatePem ?? (await finishPublication(dir, keyPem)) }
}

/** Publishes the pair unless another process was first; which one it was, `readPair` tells. Makes the directory, 0700. */
export async function publishPair(dir: string, pair: AuthorityPair): Promise<void> {
  const suffix = `.${randomBytes(8).toString('hex')}${STAGED}`
  const stagedKey = join(dir, KEY_FILE + suffix)
  const stagedCertificate = join(dir, CERTIFICATE_FILE + suffix)
  await writing(dir, async () => {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    try {
      await writeDurably(stagedCertificate, pair.certificatePem, 0o600)
      await writeDurably(stagedKey, pair.keyPem, 0o600)
      await syncDirectory(dir)
      if (await linkIfAbsent(stagedKey, join(dir, KEY_FILE))) {
        await syncDirectory(dir)
        await linkIfAbsent(stagedCertificate, join(dir, CERTIFICATE_FILE))
      }
    } catch (error) {
      // A key that has its name still needs its certificate, for the next start to finish.
      await rm(stagedKey, { force: true })
      throw error
    }
    await rm(stagedKey, { force: true })
    await rm(stagedCertificate, { force: true })
    await syncDirectory(dir)
  })
}

/** Removes what a process killed while publishing left behind; a copy of a key must not outlive the key. */
export async function removeLeftovers(dir: string): Promise<void> {
  for (const file of await readdir(dir)) {
    const isOurs = file.startsWith(`${KEY_FILE}.`) || file.startsWith(`${CERTIFICATE_FILE}.`)
    if (isOurs && file.endsWith(STAGED)) await rm(join(dir, file), { force: true })
  }
}

/** Puts the public certificate into a directory for people to pick up, 0644, unless the same one is there. */
export async function exportCertificate(dir: string, certificatePem: string): Promise<void> {
  const path = join(dir, EXPORTED_FILE)
  if ((await readFile(path, 'utf8').catch(() => undefined)) === certificatePem) return
  await mkdir(dir, { recursive: true })
  const staged = `${path}.${randomBytes(8).toString('hex')}${STAGED}`
  try {
    await writeDurably(staged, certificatePem, 0o644)
    await rename(staged, path)
  } finally {
    await rm(staged, { force: true })
  }
  await syncDirectory(dir)
}

/** The system's name for what went wrong, such as `EACCES`. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

async function finishPublication(dir: string, keyPem: string): Promise<string> {
  const path = join(dir, CERTIFICATE_FILE)
  await writing(dir, async () => {
    const staged = await stagedCertificateFor(dir, keyPem)
    if (staged === undefined) return
    await linkIfAbsent(staged, path)
    await syncDirectory(dir)
  })
  const certificatePem = await readText(path, 'public')
  if (certificatePem === undefined) {
    throw unusable(`${KEY_FILE} is there but ${CERTIFICATE_FILE} is missing.`, RESTORE)
  }
  return certificatePem
}

async function stagedCertificateFor(dir: string, keyPem: string): Promise<string | undefined> {
  for (const file of await readdir(dir)) {
    if (!file.startsWith(`${CERTIFICATE_FILE}.`) || !file.endsWith(STAGED)) continue
    const path = join(dir, file)
    const text = await readText(path, 'public')
    if (text !== undefined && belongTogether(keyPem, text)) return path
  }
  return undefined
}

function belongTogether(keyPem: string, certificatePem: string): boolean {
  try {
    return new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem))
  } catch {
    return false
  }
}

/** The text, or undefined when there is no such file. Mode and content are those of one open file, not of a name. */
async function readText(path: string, kind: 'private' | 'public'): Promise<string | undefined> {
  try {
    // Not blocking: opening a pipe that nobody writes to would wait for ever.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile() || stat.size > LARGEST) throw unusable(`${path} is not a PEM file.`, RESTORE)
    if (kind === 'private' && (stat.mode & 0o077) !== 0) {
      throw unusable(`${path} can be read by other users.`, `Run: chmod 600 '${path}'`)
    }
    return await file.readFile('utf8')
  } catch (error) {
    if (error instanceof CoatcheckError) throw error
    if (codeOf(error) === 'ENOENT') return undefined
    throw unusable(
      `${path} cannot be read (${codeOf(error)}).`,
      'Make it readable by the user that runs coatcheck.',
      error,
    )
  }
}

async function writing(dir: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (error instanceof CoatcheckError) throw error
    throw unusable(
      `The authority cannot be written to ${dir} (${codeOf(error)}).`,
      'The data directory must be on a local file system with hard links, writable by this user, with space left.',
      error,
    )
  }
}

async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  await using file = await open(path, 'wx', mode)
  await file.writeFile(text)
  // The umask has had its say at creation; the mode is a promise.
  await file.chmod(mode)
  await file.sync()
}

/** False when the name is taken, or when the source was tidied away by a process that had already won. */
async function linkIfAbsent(source: string, target: string): Promise<boolean> {
  try {
    await link(source, target)
    return true
  } catch (error) {
    if (['EEXIST', 'ENOENT'].includes(codeOf(error))) return false
    throw error
  }
}

async function syncDirectory(dir: string): Promise<void> {
  await using handle = await open(dir, 'r')
  await handle.sync()
}
