/**
 * The authority: the private certificate authority of this installation. It is created once, when there is no trace of
 * one, and from then on anything wrong with it stops the start: a new one would cut off every client that trusts the old.
 *
 * Its key stays in this object, and what it signs is what `issue` makes.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { CoatcheckError } from '../core/errors.ts'
import { isCanonicalName } from '../core/host.ts'
import type { Clock } from '../core/ports.ts'
import type { AuthorityPair } from './authority-files.ts'
import {
  CERTIFICATE_FILE,
  codeOf,
  exportCertificate,
  KEY_FILE,
  publishPair,
  RESTORE,
  readPair,
  removeLeftovers,
  unusable,
} from './authority-files.ts'
import { BACKDATED, extension, keyIdentifier, signCertificate } from './certificate.ts'
import { bits, boolean, type Der, encode, octets, pem, sequence, smallInteger, tagged, taggedBytes } from './der.ts'
import { issueLeaf, type LeafCertificate, type LeafSigner } from './leaf-certificate.ts'

const DAY = 86_400_000
const TEN_YEARS = 3652 * DAY
const NEARLY_EXPIRED = 90 * DAY
const KEY_CERT_SIGN_AND_CRL_SIGN = bits(Buffer.from([0x06]), 1)
const DNS_NAME = 2
const IP_ADDRESS = 7

export interface AuthorityOptions {
  /** The data directory; made with mode 0700 when absent. */
  readonly dir: string
  /** Where `coatcheck-ca.pem`, the public certificate, is exported to; null or omitted = nowhere. */
  readonly exportDir?: string | null
  readonly clock: Clock
  /**
   * Hostnames (`*.` in front is allowed and changes nothing) to which, with all names below them, a new authority is
   * confined by a critical extension. IP addresses are then excluded altogether.
   */
  readonly nameConstraints?: readonly string[] | null
}

export class Authority {
  readonly certificatePem: string
  /** SHA-256 of the certificate, colon-separated hex. */
  readonly fingerprint: string
  readonly notAfter: Date
  /** For the operator, such as a failed export or an expiry that comes near. */
  readonly warnings: readonly string[]
  readonly #signer: LeafSigner
  readonly #clock: Clock

  private constructor(certificate: X509Certificate, signer: LeafSigner, clock: Clock, warnings: readonly string[]) {
    // Not the file's text, which may hold more than the certificate.
    this.certificatePem = pem('CERTIFICATE', certificate.raw)
    this.fingerprint = certificate.fingerprint256
    this.notAfter = certificate.validToDate
    this.warnings = warnings
    this.#signer = signer
    this.#clock = clock
  }

  /** Throws `authority_unusable`, and leaves every file as it is, unless the files are a sound pair or both absent. */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const { dir, clock } = options
    const constraints = options.nameConstraints == null ? null : nameConstraints(options.nameConstraints)
    if ((await readPair(dir)) === undefined) await publishPair(dir, mint(clock(), constraints))
    const pair = await readPair(dir)
    if (pair === undefined) throw unusable(`The authority in ${dir} was removed while starting.`, RESTORE)
    const { certificate, signer } = checkPair(pair, clock(), constraints)
    // Tidying is no condition for working, and a read-only directory is a fair one to run from.
    await removeLeftovers(dir).catch(() => undefined)
    const warnings = validityWarnings(certificate, clock())
    if (options.exportDir != null) {
      await exportCertificate(options.exportDir, pem('CERTIFICATE', certificate.raw)).catch((error: unknown) => {
        warnings.push(`The authority's certificate could not be exported to ${options.exportDir} (${codeOf(error)}).`)
      })
    }
    return new Authority(certificate, signer, clock, warnings)
  }

  /** A leaf for exactly this host and key. Throws `invalid_host`, or `authority_unusable` once the authority expired. */
  issue(host: string, publicKey: KeyObject): LeafCertificate {
    const now = this.#clock()
    if (now >= this.#signer.notAfter) throw expired(this.notAfter)
    return issueLeaf(this.#signer, host, publicKey, now)
  }
}

function mint(now: number, constraints: Der | null): AuthorityPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = `coatcheck authority ${randomBytes(4).toString('hex')}`
  const certificate = signCertificate(
    {
      issuer: name,
      subject: name,
      notBefore: now - BACKDATED,
      notAfter: now - BACKDATED + TEN_YEARS,
      publicKey,
      extensions: [
        extension('2.5.29.19', true, sequence(boolean(true), smallInteger(0))),
        extension('2.5.29.15', true, KEY_CERT_SIGN_AND_CRL_SIGN),
        extension('2.5.29.14', false, octets(keyIdentifier(publicKey))),
        ...(constraints === null ? [] : [constraints]),
      ],
    },
    privateKey,
  )
  return {
    keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    certificatePem: pem('CERTIFICATE', certificate),
  }
}

function checkPair(pair: AuthorityPair, now: number, constraints: Der | null) {
  const privateKey = parsed(KEY_FILE, () => createPrivateKey(pair.keyPem))
  const certificate = parsed(CERTIFICATE_FILE, () => new X509Certificate(pair.certificatePem))
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw unusable(`${KEY_FILE} is not a P-256 key.`, RESTORE)
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw unusable(`${KEY_FILE} does not belong to ${CERTIFICATE_FILE}.`, RESTORE)
  }
  if (!certificate.ca) throw unusable(`${CERTIFICATE_FILE} is not the certificate of an authority.`, RESTORE)
  if (now >= certificate.validToDate.getTime()) throw expired(certificate.validToDate)
  if (constraints !== null && !certificate.raw.includes(encode(constraints))) {
    throw unusable(
      `${CERTIFICATE_FILE} was not made with the name constraints that are set now.`,
      'Take the name constraints back to what they were, or move both authority files away so that a new one is made.',
    )
  }
  const signer: LeafSigner = {
    name: /^CN=([^\n]+)$/.exec(certificate.subject)?.[1] ?? '',
    privateKey,
    publicKey: certificate.publicKey,
    notAfter: certificate.validToDate.getTime(),
  }
  if (!certificate.verify(certificate.publicKey) || !leavesVerify(signer, certificate, now)) {
    throw unusable(`${KEY_FILE} and ${CERTIFICATE_FILE} make no leaf that clients would accept.`, RESTORE)
  }
  return { certificate, signer }
}

/** Proof by doing: catches a damaged key whose public half is intact, and a foreign authority's name or key identifier. */
function leavesVerify(signer: LeafSigner, certificate: X509Certificate, now: number): boolean {
  const leaf = new X509Certificate(issueLeaf(signer, 'coatcheck.invalid', signer.publicKey, now).pem)
  return leaf.checkIssued(certificate) && leaf.verify(certificate.publicKey)
}

function parsed<T>(file: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw unusable(`${file} is damaged: it cannot be parsed.`, RESTORE, error)
  }
}

function expired(notAfter: Date): CoatcheckError {
  return unusable(
    `The authority expired on ${notAfter.toISOString()}.`,
    'Check the clock. If it is right, move both authority files away, start again, and give clients the new certificate.',
  )
}

function validityWarnings(certificate: X509Certificate, now: number): string[] {
  const { validFromDate, validToDate } = certificate
  if (now < validFromDate.getTime()) {
    return [`The clock is behind: the authority is valid from ${validFromDate.toISOString()} on.`]
  }
  if (validToDate.getTime() - now < NEARLY_EXPIRED) return [`The authority expires on ${validToDate.toISOString()}.`]
  return []
}

/** RFC 5280, 4.2.1.10. A type of name that is not mentioned would be unconstrained, so addresses are excluded. */
function nameConstraints(hosts: readonly string[]): Der {
  const names = hosts.map((host) => (host.startsWith('*.') ? host.slice(2) : host))
  if (names.length === 0 || !names.every((name) => isCanonicalName(name))) {
    throw new CoatcheckError(
      'config_invalid',
      'The authority can be confined to hostnames only.',
      'List at least one lower-case hostname such as example.com, without scheme, port or path; it covers all names below it.',
    )
  }
  const permitted = names.map((name) => sequence(taggedBytes(DNS_NAME, Buffer.from(name, 'latin1'))))
  // Address and mask, both all zero: every address (8 bytes for IPv4, 32 for IPv6).
  const excluded = [8, 32].map((length) => sequence(taggedBytes(IP_ADDRESS, Buffer.alloc(length))))
  return extension('2.5.29.30', true, sequence(tagged(0, ...permitted), tagged(1, ...excluded)))
}
