/**
 * Trust for clients whose variable replaces the system's roots: one PEM bundle, or one PKCS#12 store for Java, with the
 * system's certificates and the authority's. Whatever else stands in the files that are merged, such as a key, is left out.
 */
import { createHash, createHmac, randomBytes, X509Certificate } from 'node:crypto'
import { bmp, type Der, encode, nothing, octets, oid, pem, sequence, set, smallInteger, tagged } from './der.ts'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g

const DATA = '1.2.840.113549.1.7.1'
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3'
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1'
const FRIENDLY_NAME = '1.2.840.113549.1.9.20'
/** Oracle's; Java takes an entry without it for no trust anchor. */
const TRUSTED_KEY_USAGE = '2.16.840.1.113894.746875.1.1'
const ANY_USAGE = '2.5.29.37.0'
const SHA256 = '2.16.840.1.101.3.4.2.1'

const SHA256_BLOCK = 64
const MAC_KEY_ID = 3
/** What the JDK itself writes. The store is public; the MAC is there because Java looks for one. */
const MAC_ITERATIONS = 10_000

/** The certificates of both texts, the authority's first, each once, with clean line ends. */
export function trustBundle(authorityPem: string, systemPem: string): string {
  return certificatesIn([authorityPem, systemPem])
    .map((der) => pem('CERTIFICATE', der))
    .join('')
}

/**
 * A PKCS#12 trust store (RFC 7292) of every certificate in these PEM texts, for `javax.net.ssl.trustStore` of Java 8u301,
 * 11.0.12 and newer. Certificates are not encrypted; the password, of ASCII, keys the integrity check.
 */
export function javaTrustStore(certificatesPem: readonly string[], password: string): Buffer {
  const bags = certificatesIn(certificatesPem).map((der, index) => certificateBag(der, `certificate-${index + 1}`))
  const content = encode(sequence(dataOf(encode(sequence(...bags)))))
  return encode(sequence(smallInteger(3), dataOf(content), macData(content, password)))
}

/** One certificate that cannot be parsed would make Java refuse the whole store, so such are left out. */
function certificatesIn(texts: readonly string[]): Buffer[] {
  const found = new Map<string, Buffer>()
  for (const [, body = ''] of texts.join('\n').matchAll(CERTIFICATE)) {
    const certificate = parsed(Buffer.from(body, 'base64'))
    if (certificate !== undefined) found.set(certificate.fingerprint256, certificate.raw)
  }
  return [...found.values()]
}

function parsed(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

function certificateBag(der: Buffer, alias: string): Der {
  return sequence(
    oid(CERTIFICATE_BAG),
    tagged(0, sequence(oid(X509_CERTIFICATE), tagged(0, octets(der)))),
    set(sequence(oid(TRUSTED_KEY_USAGE), set(oid(ANY_USAGE))), sequence(oid(FRIENDLY_NAME), set(bmp(alias)))),
  )
}

function dataOf(content: Buffer): Der {
  return sequence(oid(DATA), tagged(0, octets(content)))
}

function macData(content: Buffer, password: string): Der {
  const salt = randomBytes(20)
  const digest = createHmac('sha256', macKey(password, salt)).update(content).digest()
  return sequence(
    sequence(sequence(oid(SHA256), nothing()), octets(digest)),
    octets(salt),
    smallInteger(MAC_ITERATIONS),
  )
}

/** RFC 7292, appendix B.2, for SHA-256: the key is as long as the digest, so one block is all of it. */
function macKey(password: string, salt: Buffer): Buffer {
  const secret = Buffer.from(`${password}\0`, 'utf16le').swap16()
  const filled = (bytes: Buffer) => Buffer.alloc(Math.ceil(bytes.length / SHA256_BLOCK) * SHA256_BLOCK, bytes)
  let key = Buffer.concat([Buffer.alloc(SHA256_BLOCK, MAC_KEY_ID), filled(salt), filled(secret)])
  for (let round = 0; round < MAC_ITERATIONS; round++) key = createHash('sha256').update(key).digest()
  return key
}
