/**
 * X.509 v3 certificates (RFC 5280), P-256 and ECDSA with SHA-256 only: what the authority's own certificate
 * and its leaves have in common.
 */
import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { Der } from './der.ts'
import { bits, boolean, encode, integer, octets, oid, sequence, set, smallInteger, tagged, time, utf8 } from './der.ts'

const COMMON_NAME = '2.5.4.3'
const EC_PUBLIC_KEY = '1.2.840.10045.2.1'
const P256 = '1.2.840.10045.3.1.7'
const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
const V3 = 2

/** How far certificates are dated back, for clients whose clock is behind: one hour, in milliseconds. */
export const BACKDATED = 3_600_000

export interface CertificateFields {
  /** Common names; null is the empty name. */
  readonly issuer: string | null
  readonly subject: string | null
  /** Milliseconds since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
  readonly publicKey: KeyObject
  readonly extensions: readonly Der[]
}

/** The certificate, signed by the issuer's key, in DER. Its serial is fresh. */
export function signCertificate(fields: CertificateFields, issuerKey: KeyObject): Buffer {
  const algorithm = sequence(oid(ECDSA_SHA256))
  const toBeSigned = sequence(
    tagged(0, smallInteger(V3)),
    integer(randomSerial()),
    algorithm,
    name(fields.issuer),
    sequence(time(fields.notBefore), time(fields.notAfter)),
    name(fields.subject),
    subjectPublicKeyInfo(fields.publicKey),
    tagged(3, sequence(...fields.extensions)),
  )
  const signature = sign('sha256', encode(toBeSigned), issuerKey)
  return encode(sequence(toBeSigned, algorithm, bits(signature)))
}

export function extension(id: string, critical: boolean, value: Der): Der {
  const content = octets(encode(value))
  // FALSE is the default and DER leaves defaults out (X.690, 11.5).
  return critical ? sequence(oid(id), boolean(true), content) : sequence(oid(id), content)
}

/** 20 bytes: the left-most 160 bits of the SHA-256 of the public key (RFC 7093, method 1). */
export function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(point(publicKey)).digest().subarray(0, 20)
}

/**
 * 16 bytes, random but for the first, which is 1 to 127: positive and minimal as it stands. OpenSSL rejects a serial
 * with a needless leading zero, which naive generators make once in 256.
 */
export function randomSerial(): Buffer {
  const serial = randomBytes(16)
  serial[0] = serial.readUInt8(0) & 0x7f || 1
  return serial
}

function name(commonName: string | null): Der {
  return commonName === null ? sequence() : sequence(set(sequence(oid(COMMON_NAME), utf8(commonName))))
}

function subjectPublicKeyInfo(publicKey: KeyObject): Der {
  return sequence(sequence(oid(EC_PUBLIC_KEY), oid(P256)), bits(point(publicKey)))
}

/** The uncompressed point of SEC 1, 2.3.3. */
function point(publicKey: KeyObject): Buffer {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  return Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}
