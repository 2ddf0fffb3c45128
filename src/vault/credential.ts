/** Bearer credentials of our own: 32 random bytes behind a prefix that says what for, kept as their SHA-256 only. */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { TOKEN_PREFIXES, type TokenPrefix } from '../core/ports.ts'
import type { Audience } from '../core/principal.ts'

/** Identifies a sandbox to the proxy. */
export const SANDBOX_PREFIX = 'cst_'
/** Identifies a runner to the API. None of the three kinds is ever accepted as another. */
export const RUNNER_PREFIX = 'crt_'

export type CredentialPrefix = typeof SANDBOX_PREFIX | typeof RUNNER_PREFIX | TokenPrefix

const AUDIENCES: Readonly<Record<Audience, readonly CredentialPrefix[]>> = {
  control: TOKEN_PREFIXES,
  runner: [RUNNER_PREFIX],
}
const RANDOM_PART = /^[A-Za-z0-9_-]{43}$/

export function mintCredential(prefix: CredentialPrefix): string {
  return prefix + randomBytes(32).toString('base64url')
}

export function hasForm(text: string, prefix: CredentialPrefix): boolean {
  return text.startsWith(prefix) && RANDOM_PART.test(text.slice(prefix.length))
}

/** Whether the text can be a token for that audience at all. */
export function isFor(audience: Audience, text: string): boolean {
  return AUDIENCES[audience].some((prefix) => hasForm(text, prefix))
}

/**
 * SHA-256, 32 bytes. No salt or stretching: there are 256 random bits to guess. Rows are looked up by it, and how long
 * that takes tells about the digest only, which says nothing about the text.
 */
export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

export function sameDigest(stored: Uint8Array | null, digest: Uint8Array): boolean {
  return stored !== null && stored.length === digest.length && timingSafeEqual(stored, digest)
}
