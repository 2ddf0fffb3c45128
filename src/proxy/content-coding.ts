/**
 * Content codings that are opened and made again here: gzip, deflate (zlib form, RFC 9110 8.4.1.2) and zstd (RFC 8878).
 * What comes out is bounded by what went in, so that no small body becomes a large one. Brotli is never decoded in
 * process on a Node without the October 2026 fixes.
 */
import { Readable, type Transform } from 'node:stream'
import zlib from 'node:zlib'
import { CoatcheckError } from '../core/errors.ts'

export type Coding = 'gzip' | 'deflate' | 'zstd' | 'br'

const CODINGS: Readonly<Record<string, Coding>> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate', zstd: 'zstd' }

/** Plain bytes up to this are taken whatever they were packed in. */
const FREE_BYTES = 1024 * 1024
/** Beyond it, at most this many bytes out for one in. */
const MAX_RATIO = 100

/** What a Content-Encoding names: none, exactly one that is opened here, or anything else (unknown, stacked). */
export function codingOf(contentEncoding: string | undefined): Coding | 'identity' | 'other' {
  const name = (contentEncoding ?? '').trim().toLowerCase()
  if (name === '' || name === 'identity') return 'identity'
  if (name === 'br' && isBrotliSafe(process.versions.node)) return 'br'
  return CODINGS[name] ?? 'other'
}

/** Node releases whose Brotli decoder has the fixes of October 2026. */
export function isBrotliSafe(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const [fixedMinor, fixedPatch] = major === 24 ? [22, 1] : [12, 1]
  if (major !== 24 && major !== 26) return major > 26
  return minor > fixedMinor || (minor === fixedMinor && patch >= fixedPatch)
}

export function decoder(coding: Coding): Transform {
  if (coding === 'gzip') return zlib.createGunzip()
  if (coding === 'br') return zlib.createBrotliDecompress()
  return coding === 'deflate' ? zlib.createInflate() : zlib.createZstdDecompress()
}

function encoder(coding: Coding): Transform {
  if (coding === 'gzip') return zlib.createGzip()
  if (coding === 'br') return zlib.createBrotliCompress()
  return coding === 'deflate' ? zlib.createDeflate() : zlib.createZstdCompress()
}

/** Counts both sides of a decoder and says when it is a bomb. */
export class ExpansionGuard {
  #in = 0
  #out = 0

  took(bytes: number): void {
    this.#in += bytes
  }

  /** Throws `body_too_large`. */
  gave(bytes: number): void {
    this.#out += bytes
    if (this.#out <= FREE_BYTES || this.#out <= this.#in * MAX_RATIO) return
    throw new CoatcheckError(
      'body_too_large',
      'The compressed body unpacks to far more than it should.',
      'Send it uncompressed, or in smaller parts.',
    )
  }
}

/** The plain bytes of a coded body. Throws `bad_request` when it is not what its label says, `body_too_large`. */
export async function* decoded(source: AsyncIterable<Buffer>, coding: Coding): AsyncGenerator<Buffer, void, undefined> {
  const guard = new ExpansionGuard()
  const inflate = decoder(coding)
  const packed = Readable.from(counted(source, guard), { objectMode: true })
  packed.on('error', (error) => inflate.destroy(error))
  packed.pipe(inflate)
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      guard.gave(chunk.length)
      yield chunk
    }
  } catch (error) {
    throw error instanceof CoatcheckError || !isZlibError(error) ? error : mislabelled(coding, error)
  } finally {
    packed.destroy()
    inflate.destroy()
  }
}

async function* counted(source: AsyncIterable<Buffer>, guard: ExpansionGuard): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of source) {
    guard.took(chunk.length)
    yield chunk
  }
}

/** The same body in its coding again. */
export async function* encoded(source: AsyncIterable<Buffer>, coding: Coding): AsyncGenerator<Buffer, void, undefined> {
  const deflate = encoder(coding)
  const plain = Readable.from(source, { objectMode: true })
  plain.on('error', (error) => deflate.destroy(error))
  plain.pipe(deflate)
  try {
    yield* deflate as AsyncIterable<Buffer>
  } finally {
    plain.destroy()
    deflate.destroy()
  }
}

function isZlibError(error: unknown): boolean {
  return /^(?:Z_|ZSTD_|ERR_)/.test((error as { code?: string }).code ?? '')
}

function mislabelled(coding: Coding, cause: unknown): CoatcheckError {
  return new CoatcheckError(
    'bad_request',
    `The request body is not ${coding}, as its Content-Encoding says.`,
    'Correct one of them.',
    {
      cause,
    },
  )
}
