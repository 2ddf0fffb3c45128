/** Runs the rows of test/vectors/bodies: `«A»` stands for the placeholder of secret A, `«a»` for it without its dress. */
import { decideInBody } from '../../src/core/body-decision.ts'
import { type BodyMedia, mediaOf } from '../../src/core/body-media.ts'
import { BodySubstituter, type DecideInBody, substituteBody } from '../../src/core/body-substitution.ts'
import { EncodedPlaceholderScanner } from '../../src/core/encoded-scanner.ts'
import { formatSpot } from '../../src/core/placement.ts'
import { type MountedSecret, SecretValue } from '../../src/core/secret.ts'
import type { Release } from '../../src/core/substitution.ts'
import { mounted } from './mounted.ts'

export interface BodySecretRow {
  readonly name: string
  readonly placements: readonly string[]
  readonly value?: string
  readonly valueBase64?: string
  readonly dress?: string
  readonly maxOccurrences?: number
}

export interface BodyRow {
  readonly why: string
  readonly contentType: string
  readonly secrets: readonly BodySecretRow[]
  readonly in: string | null
  readonly inUtf16?: string
  /** Null: the same as `in`, or nothing when refused. */
  readonly out: string | null
  readonly swapped: number
  readonly withheld: number
  /** Where the placeholders that were asked about are; not checked when left out. */
  readonly spots?: readonly string[]
  /** Placeholders in encoded form; 0 when left out. */
  readonly encoded?: number
  /** Why the value cannot be put there. */
  readonly refused?: string
}

export interface BodyRun {
  readonly out: Buffer
  readonly swapped: number
  readonly withheld: number
  readonly encoded: number
  readonly spots: readonly string[]
}

export function bodyRelease(row: BodySecretRow): Release {
  const placeholder = `${row.dress ?? ''}xcoat_${row.name.toLowerCase().repeat(26)}`
  const limit: Partial<MountedSecret> = row.maxOccurrences === undefined ? {} : { maxOccurrences: row.maxOccurrences }
  const secret = { ...mounted({ name: row.name, placeholder, placements: row.placements }), ...limit }
  const value = Buffer.from(row.valueBase64 ?? row.value ?? '', row.valueBase64 === undefined ? 'utf8' : 'base64')
  return { secret, value: new SecretValue(value) }
}

export function filledIn(text: string, releases: readonly Release[]): string {
  let filled = text
  for (const { secret } of releases) {
    filled = filled
      .replaceAll(`«${secret.name}»`, secret.placeholder)
      .replaceAll(`«${secret.name.toLowerCase()}»`, secret.token)
  }
  return filled
}

/** Releases what policy, dress and limit allow, as the proxy does. */
export function deciding(releases: readonly Release[], spots: string[] = []): DecideInBody {
  return async (occurrence) => {
    await Promise.resolve()
    spots.push(formatSpot(occurrence.spot))
    const release = releases.find((each) => each.secret.token === occurrence.token)
    const secret: MountedSecret | undefined = release?.secret
    const decision = decideInBody(secret, occurrence, { host: 'api.test', scheme: 'https', now: 0 })
    return decision.allow && release !== undefined ? release : null
  }
}

/** The body in pieces of these sizes; the last one takes the rest. Each piece is wiped once the next is asked for. */
export function* pieces(body: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let from = 0
  for (const size of [...sizes, body.length]) {
    const piece = Buffer.from(body.subarray(from, from + size))
    yield piece
    piece.fill(0)
    from += size
  }
}

export async function runBody(
  body: Buffer,
  media: BodyMedia | string,
  releases: readonly Release[],
  sizes: readonly number[] = [],
  surface: 'body' | 'websocket' = 'body',
): Promise<BodyRun> {
  const substituter = new BodySubstituter({ media: typeof media === 'string' ? mediaOf(media) : media, surface })
  const scanner = new EncodedPlaceholderScanner()
  const spots: string[] = []
  const out: Buffer[] = []
  for await (const bytes of substituteBody(pieces(body, sizes), substituter, deciding(releases, spots))) {
    out.push(Buffer.from(bytes))
  }
  for (const piece of pieces(body, sizes)) scanner.push(piece)
  const { swapped, withheld } = substituter
  return { out: Buffer.concat(out), swapped, withheld, encoded: scanner.count, spots }
}
