/**
 * A checkpoint: a signed statement that one writer's chain had this hash at this number. Whoever holds a copy outside
 * the database can show that a tail was cut or that an older copy was put back.
 *
 * The signature is Ed25519 over `checkpointText`; a copy elsewhere is one line of JSON, `checkpointLine`.
 */
import type { KeyObject } from 'node:crypto'
import { createPublicKey, hash, sign } from 'node:crypto'

/** The second copy, next to the database. */
export const CHECKPOINT_FILE = 'audit-checkpoints.jsonl'

export interface Checkpoint {
  readonly writer: string
  /** Number of the last event covered. */
  readonly seq: number
  /** ISO 8601, UTC, milliseconds. */
  readonly time: string
  /** Hash of that event, 64 hex digits. */
  readonly hash: string
  /** `keyIdOf` the signing key. */
  readonly keyId: string
  /** Ed25519, base64. */
  readonly signature: string
}

/** The bytes that are signed. */
export function checkpointText(point: Pick<Checkpoint, 'writer' | 'seq' | 'hash' | 'time'>): Buffer {
  return Buffer.from(`coatcheck-audit-checkpoint-v1\n${point.writer}\n${point.seq}\n${point.hash}\n${point.time}`)
}

/** First 32 hex digits of the SHA-256 of the public key (SPKI, DER). Takes either half of the pair. */
export function keyIdOf(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' })).slice(0, 32)
}

export function signCheckpoint(
  key: KeyObject,
  keyId: string,
  point: Pick<Checkpoint, 'writer' | 'seq' | 'hash' | 'time'>,
): Checkpoint {
  return { ...point, keyId, signature: sign(null, checkpointText(point), key).toString('base64') }
}

/** One line, without the newline. */
export function checkpointLine(point: Checkpoint): string {
  return JSON.stringify({ kind: 'checkpoint', ...point })
}
