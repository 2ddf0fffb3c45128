/**
 * The key that signs checkpoints: created only when absent, 0600, complete or not there at all. A key that cannot be
 * read, is readable by others, or does not belong to its public half is refused and never replaced.
 */
import type { KeyObject } from 'node:crypto'
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { promises } from 'node:fs'
import { join } from 'node:path'
import { CoatcheckError } from '../core/errors.ts'

const { link, open, readFile, rename, stat, unlink } = promises

const KEY_FILE = 'audit-key.pem'
/** The public half, for whoever verifies; safe to hand out. */
export const PUBLIC_KEY_FILE = 'audit-key.pub.pem'

/** The private key (Ed25519) of this data directory. Throws `keyring_unusable`. */
export async function openSigningKey(dataDir: string): Promise<KeyObject> {
  const file = join(dataDir, KEY_FILE)
  try {
    const pem = (await readOwn(file)) ?? (await createFirst(dataDir, file))
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType !== 'ed25519') throw unusable(file, 'is not an Ed25519 key')
    await exportPublicKey(join(dataDir, PUBLIC_KEY_FILE), key)
    return key
  } catch (cause) {
    if (cause instanceof CoatcheckError) throw cause
    throw unusable(file, 'cannot be read or written', cause)
  }
}

/** The key that checkpoints of this data directory are verified with. Throws `keyring_unusable`. */
export async function readPublicKey(dataDir: string): Promise<KeyObject> {
  const file = join(dataDir, PUBLIC_KEY_FILE)
  try {
    return createPublicKey(await readFile(file))
  } catch (cause) {
    throw unusable(file, 'cannot be read', cause)
  }
}

async function readOwn(file: string): Promise<string | undefined> {
  const found = await stat(file).catch(absent)
  if (found === undefined) return undefined
  if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) throw unusable(file, 'is open to other users')
  return readFile(file, 'utf8')
}

/** A public half alone means that the key was lost: a new one would pass for the old in front of whoever verifies. */
async function createFirst(dataDir: string, file: string): Promise<string> {
  if ((await stat(join(dataDir, PUBLIC_KEY_FILE)).catch(absent)) !== undefined) {
    // Another process may have finished both between the two looks.
    const late = await readOwn(file)
    if (late !== undefined) return late
    throw unusable(file, `is missing, but ${PUBLIC_KEY_FILE} is there`)
  }
  return await createKey(file)
}

/** Another process may create it at the same moment: then theirs is the key. */
async function createKey(file: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  const draft = await writeDraft(file, pem, 0o600)
  try {
    await link(draft, file)
    return pem
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    return await readFile(file, 'utf8')
  } finally {
    await unlink(draft)
  }
}

async function exportPublicKey(file: string, key: KeyObject): Promise<void> {
  const pem = createPublicKey(key).export({ type: 'spki', format: 'pem' })
  const found = await readFile(file, 'utf8').catch(absent)
  if (found === undefined) await rename(await writeDraft(file, pem, 0o644), file)
  else if (found.trim() !== pem.trim()) throw unusable(file, `does not belong to ${KEY_FILE}`)
}

async function writeDraft(file: string, text: string, mode: number): Promise<string> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const handle = await open(draft, 'wx', mode)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return draft
}

function absent(cause: unknown): undefined {
  if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
  throw cause
}

function unusable(file: string, why: string, cause?: unknown): CoatcheckError {
  return new CoatcheckError(
    'keyring_unusable',
    `The audit key ${file} ${why}.`,
    'Restore it from your backup, or set its mode to 0600. A new key would not verify what the old one signed.',
    { cause },
  )
}
