/**
 * A leaf names exactly one host, in its subjectAltName and nowhere else, and that name has been checked again here:
 * nothing a sandbox chose is signed as it came.
 *
 * The subject is empty, so the subjectAltName is critical (RFC 5280, 4.2.1.6).
 */
import type { KeyObject } from 'node:crypto'
import { formatAddress, parseAddress } from '../core/address.ts'
import { CoatcheckError } from '../core/errors.ts'
import { isCanonicalName } from '../core/host.ts'
import { BACKDATED, extension, keyIdentifier, signCertificate } from './certificate.ts'
import { bits, type Der, octets, oid, pem, sequence, taggedBytes } from './der.ts'

const DAY = 86_400_000

/** Below the 200 days that public clients accept from March 2026 on; milliseconds, with the backdated hour. */
const LIFETIME = 199 * DAY

const DNS_NAME = 2
const IP_ADDRESS = 7
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const DIGITAL_SIGNATURE = bits(Buffer.from([0x80]), 7)

export interface LeafCertificate {
  readonly pem: string
  /** Milliseconds since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
}

/** Who signs. */
export interface LeafSigner {
  readonly name: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** Milliseconds since the epoch; no leaf outlives it. */
  readonly notAfter: number
}

/** Throws `invalid_host` for all but a canonical host. `now` in milliseconds. */
export function issueLeaf(signer: LeafSigner, host: string, publicKey: KeyObject, now: number): LeafCertificate {
  const name = generalName(host)
  const notBefore = now - BACKDATED
  const notAfter = Math.min(notBefore + LIFETIME, signer.notAfter)
  const der = signCertificate(
    {
      issuer: signer.name,
      subject: null,
      notBefore,
      notAfter,
      publicKey,
      extensions: [
        extension('2.5.29.15', true, DIGITAL_SIGNATURE),
        extension('2.5.29.37', false, sequence(oid(SERVER_AUTH))),
        extension('2.5.29.17', true, sequence(name)),
        extension('2.5.29.14', false, octets(keyIdentifier(publicKey))),
        extension('2.5.29.35', false, sequence(taggedBytes(0, keyIdentifier(signer.publicKey)))),
      ],
    },
    signer.privateKey,
  )
  return { pem: pem('CERTIFICATE', der), notBefore, notAfter }
}

function generalName(host: string): Der {
  if (isCanonicalName(host)) return taggedBytes(DNS_NAME, Buffer.from(host, 'latin1'))
  const address = parseAddress(host)
  if (address === undefined || formatAddress(address) !== host) {
    throw new CoatcheckError(
      'invalid_host',
      'No certificate can be made for this host.',
      'Use a plain host name such as api.example.com, or an IP address in its standard form without brackets or zone.',
    )
  }
  const digits = address.family === 4 ? 8 : 32
  return taggedBytes(IP_ADDRESS, Buffer.from(address.value.toString(16).padStart(digits, '0'), 'hex'))
}
