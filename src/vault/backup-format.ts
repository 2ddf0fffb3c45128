/**
 * The bytes of a backup: one line of JSON that says how the key is made, then chunks of 64 KiB, each sealed by AES-256-GCM.
 *
 * The key is made by scrypt (RFC 7914) from a passphrase and a salt of this backup alone, so a counter serves as nonce; its last byte
 * marks the final chunk, so that chunks cannot be cut off, repeated or moved (the STREAM construction, https://eprint.iacr.org/2015/189).
 * The line is authenticated with every chunk.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { CoatcheckError } from '../core/errors.ts'

const CHUNK = 65_536
const TAG_BYTES = 16
const MAX_HEADER = 4_096
const MIN_PASSPHRASE = 12
/** 128 MiB and about half a second; read from a backup it may be up to eight times as much. */
const COST = 2 ** 17
const MAX_COST = 2 ** 20
const BLOCK_SIZE = 8

interface Header {
  readonly format: 'coatcheck backup'
  readonly version: 1
  readonly createdAt: string
  readonly kdf: { readonly name: 'scrypt'; readonly cost: number; readonly salt: string }
}

/** Writes a backup into an open, empty file. */
export class BackupWriter {
  readonly #file: FileHandle
  readonly #key: Buffer
  readonly #header: Buffer
  #pending: Buffer = Buffer.alloc(0)
  #chunks = 0

  private constructor(file: FileHandle, key: Buffer, header: Buffer) {
    this.#file = file
    this.#key = key
    this.#header = header
  }

  /** Throws `invalid_input` for a passphrase that is too short. `createdAt` is ISO 8601. */
  static async begin(file: FileHandle, passphrase: string, createdAt: string): Promise<BackupWriter> {
    const salt = randomBytes(32)
    const kdf = { name: 'scrypt', cost: COST, salt: salt.toString('base64') } as const
    const content: Header = { format: 'coatcheck backup', version: 1, createdAt, kdf }
    const header = Buffer.from(`${JSON.stringify(content)}\n`)
    const key = await deriveKey(passphrase, salt, COST)
    await file.writeFile(header)
    return new BackupWriter(file, key, header)
  }

  async write(bytes: Uint8Array): Promise<void> {
    let rest = Buffer.concat([this.#pending, bytes])
    // A full chunk is kept back too: only the end says whether it is the final one.
    while (rest.length > CHUNK) {
      await this.#seal(rest.subarray(0, CHUNK), false)
      rest = rest.subarray(CHUNK)
    }
    this.#pending = Buffer.from(rest)
  }

  /** Writes the final chunk to disk and forgets the key. */
  async end(): Promise<void> {
    await this.#seal(this.#pending, true)
    this.#pending.fill(0)
    this.#key.fill(0)
    await this.#file.sync()
  }

  async #seal(plain: Uint8Array, final: boolean): Promise<void> {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceOf(this.#chunks++, final), {
      authTagLength: TAG_BYTES,
    })
    cipher.setAAD(this.#header)
    await this.#file.writeFile(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
  }
}

/** Reads a backup's content in order. Every error of `read` means that nothing of it is to be trusted. */
export class BackupReader {
  readonly #file: FileHandle
  readonly #key: Buffer
  readonly #header: Buffer
  readonly #size: number
  #position: number
  #plain: Buffer = Buffer.alloc(0)
  #chunks = 0
  #ended = false

  private constructor(file: FileHandle, key: Buffer, header: Buffer, size: number) {
    this.#file = file
    this.#key = key
    this.#header = header
    this.#size = size
    this.#position = header.length
  }

  /** Throws `invalid_input` when the file is no backup. */
  static async begin(file: FileHandle, passphrase: string): Promise<BackupReader> {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_HEADER), 0, MAX_HEADER, 0)
    const end = buffer.subarray(0, bytesRead).indexOf(0x0a)
    const header = buffer.subarray(0, end + 1)
    const { kdf } = parseHeader(header)
    const key = await deriveKey(passphrase, Buffer.from(kdf.salt, 'base64'), kdf.cost)
    return new BackupReader(file, key, header, size)
  }

  /** Exactly so many bytes; throws `invalid_input` when the backup is damaged, cut short, or of another passphrase. */
  async read(length: number): Promise<Buffer> {
    const parts: Buffer[] = []
    let wanted = length
    while (wanted > 0) {
      if (this.#plain.length === 0) await this.#open()
      const part = this.#plain.subarray(0, wanted)
      this.#plain = this.#plain.subarray(part.length)
      parts.push(part)
      wanted -= part.length
    }
    return Buffer.concat(parts)
  }

  /** Throws unless all of it was read and it ends where it was ended. */
  async end(): Promise<void> {
    if (!this.#ended && this.#plain.length === 0) await this.#open(true)
    if (!this.#ended || this.#plain.length > 0) throw damaged()
    this.#key.fill(0)
  }

  async #open(mayBeEmpty = false): Promise<void> {
    const length = Math.min(CHUNK + TAG_BYTES, this.#size - this.#position)
    if (this.#ended || length < TAG_BYTES) throw damaged()
    const sealed = Buffer.alloc(length)
    const { bytesRead } = await this.#file.read(sealed, 0, length, this.#position)
    this.#position += bytesRead
    this.#ended = this.#position === this.#size
    const nonce = nonceOf(this.#chunks++, this.#ended)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(this.#header).setAuthTag(sealed.subarray(length - TAG_BYTES))
    try {
      this.#plain = Buffer.concat([decipher.update(sealed.subarray(0, length - TAG_BYTES)), decipher.final()])
    } catch {
      throw damaged()
    }
    if (this.#plain.length === 0 && !mayBeEmpty) throw damaged()
  }
}

function nonceOf(chunk: number, final: boolean): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(chunk), 3)
  nonce[11] = final ? 1 : 0
  return nonce
}

async function deriveKey(passphrase: string, salt: Uint8Array, cost: number): Promise<Buffer> {
  if (passphrase.length < MIN_PASSPHRASE) {
    throw new CoatcheckError(
      'invalid_input',
      'The passphrase of the backup is too short.',
      `Use at least ${MIN_PASSPHRASE} characters; six random words are good.`,
    )
  }
  const options = { N: cost, r: BLOCK_SIZE, p: 1, maxmem: 256 * cost * BLOCK_SIZE }
  return await new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, 32, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}

function parseHeader(bytes: Buffer): Header {
  try {
    const header = JSON.parse(bytes.toString('utf8')) as Header
    const { cost, salt, name } = header.kdf
    const known = header.format === 'coatcheck backup' && header.version === 1 && name === 'scrypt'
    if (known && cost >= 2 && cost <= MAX_COST && Number.isInteger(Math.log2(cost)) && salt.length === 44) return header
  } catch {
    // Not JSON: told below, as for everything else that is no backup.
  }
  throw new CoatcheckError(
    'invalid_input',
    'The file is not a backup that this version of coatcheck knows.',
    'Name a file that `coatcheck backup` wrote.',
  )
}

function damaged(): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    'The backup cannot be opened: the passphrase is another one, or the file was changed or cut short.',
    'Try the passphrase it was made with, or another copy of the file.',
  )
}
