/**
 * One TLS server context per host, minted at most once at a time, renewed early and bounded in number.
 *
 * Minting is synchronous (about 0.4 ms), so a second caller for the same host always finds what the first one made.
 *
 * No session resumption, and with it no early data. Contexts are shared by all sandboxes that reach a host, so a ticket
 * would be good in any of them. It could not carry an identity across (that comes with the CONNECT, not with TLS), but
 * a client that resumes also skips the certificate, and what it would save us is a fifth of a new connection's CPU.
 */
import { constants, createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import { LRUCache } from 'lru-cache'
import type { Clock, LeafIssuer } from '../core/ports.ts'
import type { Authority } from './authority.ts'
import type { LeafCertificate } from './leaf-certificate.ts'

/** Forward secrecy and AEAD only, AES-128 first as the fastest; the leaf key is ECDSA, so there is no RSA suite. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
].join(':')

/** A client without AES instructions says so by putting ChaCha20 first, and gets it. */
const OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_PRIORITIZE_CHACHA

interface CachedLeaf {
  readonly context: SecureContext
  /** Milliseconds since the epoch: the leaf is served from `from` until before `renewAt`. */
  readonly from: number
  readonly renewAt: number
}

export class LeafCache implements LeafIssuer {
  readonly #authority: Authority
  readonly #clock: Clock
  readonly #leaves: LRUCache<string, CachedLeaf>
  readonly #privateKeyPem: string
  readonly #publicKey: KeyObject
  #issued = 0

  /** `max`: how many hosts are kept. Makes the key that all leaves of this process share; it is never written. */
  constructor(options: { readonly authority: Authority; readonly clock: Clock; readonly max?: number }) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#authority = options.authority
    this.#clock = options.clock
    this.#leaves = new LRUCache({ max: options.max ?? 1000 })
    this.#privateKeyPem = privateKey.export({ format: 'pem', type: 'pkcs8' })
    this.#publicKey = publicKey
  }

  /** How many leaves this process has minted. */
  get issued(): number {
    return this.#issued
  }

  /** How many hosts are kept now. */
  get size(): number {
    return this.#leaves.size
  }

  /** Rejects with `invalid_host` for what is no canonical host, `authority_unusable` once the authority has expired. */
  async contextFor(host: string): Promise<SecureContext> {
    const cached = this.#leaves.get(host)
    if (cached !== undefined && this.#isFresh(cached)) return cached.context
    const leaf = this.#authority.issue(host, this.#publicKey)
    const context = this.#contextOf(host, leaf)
    this.#issued += 1
    const renewAt = leaf.notBefore + (leaf.notAfter - leaf.notBefore) * (2 / 3)
    this.#leaves.set(host, { context, from: leaf.notBefore, renewAt })
    return context
  }

  has(host: string): boolean {
    const cached = this.#leaves.peek(host)
    return cached !== undefined && this.#isFresh(cached)
  }

  /** A clock that was put back behind the leaf's beginning also asks for a new one. */
  #isFresh(leaf: CachedLeaf): boolean {
    const now = this.#clock()
    return leaf.from <= now && now < leaf.renewAt
  }

  /** The authority's certificate goes along: clients that do not trust it then say so instead of missing an issuer. */
  #contextOf(host: string, leaf: LeafCertificate): SecureContext {
    return createSecureContext({
      key: this.#privateKeyPem,
      cert: leaf.pem + this.#authority.certificatePem,
      // No client certificates are asked for: an empty list keeps the system's roots from being loaded.
      ca: [],
      minVersion: 'TLSv1.2',
      ciphers: CIPHERS,
      honorCipherOrder: true,
      secureOptions: OPTIONS,
      sessionIdContext: createHash('sha256').update(host).digest('hex').slice(0, 32),
    })
  }
}
