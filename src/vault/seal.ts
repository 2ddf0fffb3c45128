/**
 * Sealing of values: AES-256-GCM under a data key of their own, which the keyring's current key wraps, also by AES-256-GCM.
 *
 * Both layers authenticate workspace, secret and version, so a row that was moved, swapped or changed does not open.
 * Layout of both blobs: 1 byte format (1), 12 bytes random IV, ciphertext, 16 bytes tag. Keys in the clear are zeroed
 * after use. JavaScript cannot promise that no copy remains; docs/limitations.md says so.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { CoatcheckError } from '../core/errors.ts'
import { SecretValue } from '../core/secret.ts'
import type { Keyring } from './keyring.ts'

const FORMAT = 1
const IV_BYTES = 12
const TAG_BYTES = 16
const OVERHEAD = 1 + IV_BYTES + TAG_BYTES

/** Which value of which secret: what the seal is bound to. */
export interface SealContext {
  readonly workspaceId: string
  readonly secretId: string
  readonly version: number
}

/** What is stored of a value. */
export interface Sealed {
  readonly ciphertext: Uint8Array
  readonly wrappedKey: Uint8Array
  readonly keyId: string
}

/** Seals and opens values with the keys of one keyring. */
export class Sealer {
  readonly #keyring: Keyring

  constructor(keyring: Keyring) {
    this.#keyring = keyring
  }

  get currentKeyId(): string {
    return this.#keyring.currentId
  }

  seal(value: SecretValue, context: SealContext): Sealed {
    const dataKey = randomBytes(32)
    try {
      const ciphertext = encrypt(dataKey, value.reveal(), associated('value', context))
      return { ciphertext, ...this.#wrap(dataKey, context) }
    } finally {
      dataKey.fill(0)
    }
  }

  /** Throws `store_unavailable` when the row is not exactly what was sealed for this context. */
  open(sealed: Sealed, context: SealContext): SecretValue {
    const dataKey = this.#unwrap(sealed, context)
    try {
      const bytes = decrypt(dataKey, sealed.ciphertext, associated('value', context))
      if (bytes === null) throw unopenable(context, 'its ciphertext was changed or belongs elsewhere')
      const value = new SecretValue(bytes)
      bytes.fill(0)
      return value
    } finally {
      dataKey.fill(0)
    }
  }

  /** The same data key under the keyring's current key; the value is not touched. */
  rewrap(sealed: Sealed, context: SealContext): Pick<Sealed, 'wrappedKey' | 'keyId'> {
    const dataKey = this.#unwrap(sealed, context)
    try {
      return this.#wrap(dataKey, context)
    } finally {
      dataKey.fill(0)
    }
  }

  #wrap(dataKey: Buffer, context: SealContext): Pick<Sealed, 'wrappedKey' | 'keyId'> {
    const keyId = this.#keyring.currentId
    const key = this.#keyring.key(keyId)
    if (key === undefined) throw unopenable(context, `the keyring has no key ${keyId}`)
    return { wrappedKey: encrypt(key, dataKey, associated(`key ${keyId}`, context)), keyId }
  }

  #unwrap(sealed: Sealed, context: SealContext): Buffer {
    const key = this.#keyring.key(sealed.keyId)
    if (key === undefined) throw unopenable(context, `the keyring has no key ${sealed.keyId}`)
    const dataKey = decrypt(key, sealed.wrappedKey, associated(`key ${sealed.keyId}`, context))
    if (dataKey === null) throw unopenable(context, 'its wrapped key was changed or belongs elsewhere')
    return dataKey
  }
}

function encrypt(key: Buffer, plaintext: Uint8Array, aad: Buffer): Buffer {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES }).setAAD(aad)
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([Buffer.from([FORMAT]), iv, body, cipher.getAuthTag()])
}

/** The plaintext, or null when any bit of key, blob or associated data is not what it was. */
function decrypt(key: Buffer, blob: Uint8Array, aad: Buffer): Buffer | null {
  if (blob.length < OVERHEAD || blob[0] !== FORMAT) return null
  const iv = blob.subarray(1, 1 + IV_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES }).setAAD(aad)
  decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES))
  const plaintext = decipher.update(blob.subarray(1 + IV_BYTES, blob.length - TAG_BYTES))
  try {
    // GCM has given all bytes by now; final() only checks the tag.
    decipher.final()
    return plaintext
  } catch {
    plaintext.fill(0)
    return null
  }
}

/** Length before each part, so that no two contexts have the same bytes. */
function associated(purpose: string, context: SealContext): Buffer {
  const parts = ['coatcheck seal 1', purpose, context.workspaceId, context.secretId, String(context.version)]
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part, 'utf8')
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      return [length, bytes]
    }),
  )
}

function unopenable(context: SealContext, reason: string): CoatcheckError {
  return new CoatcheckError(
    'store_unavailable',
    `Version ${context.version} of secret ${context.secretId} cannot be opened: ${reason}.`,
    'Restore the database and the keyring that belong together from a backup, or write the value again.',
  )
}
