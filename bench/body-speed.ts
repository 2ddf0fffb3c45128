/** How fast bytes of a body are looked at, and values placed in them, on one thread: GB per second of its CPU. */
import { randomBytes } from 'node:crypto'
import { decideInBody } from '../src/core/body-decision.ts'
import { mediaOf } from '../src/core/body-media.ts'
import { BodySubstituter, substituteBody } from '../src/core/body-substitution.ts'
import { EncodedPlaceholderScanner } from '../src/core/encoded-scanner.ts'
import { compileHosts } from '../src/core/host-pattern.ts'
import { MARKER, mintToken, TokenScanner } from '../src/core/placeholder.ts'
import { parsePlacement } from '../src/core/placement.ts'
import { SecretValue } from '../src/core/secret.ts'
import type { Release } from '../src/core/substitution.ts'
import { type Speeds, speedOf } from './thread-speed.ts'

const CHUNK = 65_536
/** Of a body, whatever it is: enough for a text not to repeat within the processor's caches. */
const BODY_CHUNKS = 64
const TEXT = 'The quick brown fox, as they say, jumps over a lazy dog: once (1) in a while, at least.\n'
const CONTENT_TYPES = {
  text: 'text/plain',
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
} as const

/** What a request without a body placement costs: counting placeholders, also encoded ones; and one search of the marker. */
export async function scanSpeeds(secs: number): Promise<Speeds> {
  const speeds: Record<string, number> = {}
  for (const [kind, chunks] of Object.entries({
    json: json(),
    text: text(),
    form: form(),
    base64: base64(),
    random: random(),
  })) {
    speeds[kind] = await speedOf(secs, CHUNK * BODY_CHUNKS, () => {
      const [tokens, encoded] = [new TokenScanner(), new EncodedPlaceholderScanner()]
      for (const chunk of chunks) {
        tokens.push(chunk)
        encoded.push(chunk)
      }
    })
    speeds[`${kind} (one search)`] = await speedOf(secs / 2, CHUNK * BODY_CHUNKS, () => {
      for (const chunk of chunks) chunk.indexOf(MARKER, 0, 'latin1')
    })
  }
  return speeds
}

/** What a body with a place for values costs, without a placeholder in it and with one in its last chunk. */
export async function placementSpeeds(secs: number): Promise<Speeds> {
  const speeds: Record<string, number> = {}
  const release = releaseOf(mintToken())
  const bodies = { text: text(), json: json(), form: form() }
  for (const kind of ['text', 'json', 'form'] as const) {
    const without = bodies[kind]
    const withToken = [...without.slice(0, -1), ending(without.at(-1) as Buffer, release.secret.token)]
    speeds[kind] = await placing(secs, CONTENT_TYPES[kind], without, release, 0)
    speeds[`${kind} (one value)`] = await placing(secs, CONTENT_TYPES[kind], withToken, release, 1)
  }
  return speeds
}

/** Throws when not as many values were placed as there should be. */
function placing(secs: number, contentType: string, chunks: readonly Buffer[], release: Release, expected: number) {
  return speedOf(secs, CHUNK * BODY_CHUNKS, async () => {
    const substituter = new BodySubstituter({ media: mediaOf(contentType) })
    const placed = substituteBody(chunks, substituter, async (occurrence) => {
      const decision = decideInBody(release.secret, occurrence, { host: 'api.test', scheme: 'https', now: 0 })
      return await Promise.resolve(decision.allow ? release : null)
    })
    for await (const _bytes of placed);
    if (substituter.swapped !== expected) throw new Error(`${substituter.swapped} values were placed`)
  })
}

function releaseOf(token: string): Release {
  const secret = {
    id: 'bench',
    workspaceId: 'bench',
    name: 'bench',
    placeholder: token,
    token,
    version: 1,
    hosts: compileHosts(null),
    placements: [parsePlacement('body')],
    allowPlaintext: false,
    expiresAt: null,
    state: 'current',
  } as const
  return { secret, value: SecretValue.fromText(randomBytes(24).toString('hex')) }
}

/** The token over bytes shortly before the end, where each of these bodies has letters. */
function ending(chunk: Buffer, token: string): Buffer {
  const copy = Buffer.from(chunk)
  const end = copy.lastIndexOf('~')
  copy.write(token, end - token.length, 'latin1')
  return copy
}

function random(): readonly Buffer[] {
  return Array.from({ length: BODY_CHUNKS }, () => randomBytes(CHUNK))
}

/** As a picture in JSON is sent. */
function base64(): readonly Buffer[] {
  return random().map((bytes) => Buffer.from(bytes.toString('base64').slice(0, CHUNK), 'latin1'))
}

function text(): readonly Buffer[] {
  return filled(
    '',
    (n) => `${n} ${TEXT}`,
    (room) => `${'x'.repeat(room - 1)}~`,
  )
}

/** One array of records, as an API is sent them. */
function json(): readonly Buffer[] {
  const record = (n: number) => JSON.stringify({ id: n, name: `record ${n}`, tags: ['a', 'b'], ok: true, text: TEXT })
  return filled(
    '[',
    (n) => `${record(n)},`,
    (room) => `"${'x'.repeat(room - 4)}~"]`,
  )
}

function form(): readonly Buffer[] {
  const field = (n: number) => `field${n}=${encodeURIComponent(TEXT)}&`
  return filled('', field, (room) => `last=${'x'.repeat(room - 6)}~`)
}

/** A body of exactly BODY_CHUNKS chunks; `last` fills the given room. */
function filled(first: string, record: (n: number) => string, last: (room: number) => string): readonly Buffer[] {
  const room = CHUNK * BODY_CHUNKS
  let body = first
  // The last part has room for a token.
  for (let n = 0; body.length + 1_000 < room; n++) body += record(n)
  const bytes = Buffer.from(body + last(room - body.length), 'latin1')
  return Array.from({ length: BODY_CHUNKS }, (_none, at) => bytes.subarray(at * CHUNK, (at + 1) * CHUNK))
}
