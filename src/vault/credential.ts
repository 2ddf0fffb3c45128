/** Bearer credentials of our own: 32 random bytes behind a prefix that says what for, kept as their SHA-256 only. */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

/** `cst_` identifies a sandbox to the proxy, `cct_` a caller to the API; neither is ever accepted as the other. */
export type CredentialPrefix = 'cst_' | 'cct_'

const FORM: Readonly<Record<CredentialPrefix, RegExp>> = {
  cst_: /^cst_[A-Za-z0-9_-]{43}$/,
  cct_: /^cct_[A-Za-z0-9_-]{43}$/,
}

export function mintCredential(prefix: CredentialPrefix): string {
  return prefix + randomBytes(32).toString('base64url')
}

export function hasForm(text: string, prefix: CredentialPrefix): boolean {
  return FORM[prefix].test(text)
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
