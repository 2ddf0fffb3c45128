/**
 * A leaf names exactly one host, in its subjectAltName and nowhere else, and that name has been checked again here:
 * nothing a sandbox chose is signed as it came.
 *
 * The subject is empty, so the subjectAltName is critical (RFC 5280, 4.2.1.6).
 */
import type { KeyObject } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { CoatcheckError } from '../core/errors.ts'
import { BACKDATED, extension, keyIdentifier, signCertificate } from './certificate.ts'
import { bits, type Der, octets, oid, pem, sequence, taggedBytes } from './der.ts'

const DAY = 86_400_000

/** Below the 200 days that public clients accept from March 2026 on; milliseconds, with the backdated hour. */
const LIFETIME = 199 * DAY

const DNS_NAME = 2
const IP_ADDRESS = 7
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const DIGITAL_SIGNATURE = bits(Buffer.from([0x80]), 7)

/** Underscores are no part of LDH, but hosts with them exist and every client checks them as any other character. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/
/** A last label that URL parsers take for a number makes the whole an IPv4 address in disguise. */
const NUMERIC = /^([0-9]+|0x[0-9a-f]*)$/

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

/** Throws `invalid_host` for all but a lower-case hostname or a bare IP address. `now` in milliseconds. */
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

/** True for a lower-case hostname in A-label form, without wildcard or trailing dot, of at most 253 characters. */
export function isHostname(host: string): boolean {
  const labels = host.split('.')
  return host.length <= 253 && labels.every((label) => LABEL.test(label)) && !NUMERIC.test(labels.at(-1) ?? '')
}

function generalName(host: string): Der {
  if (isIPv4(host)) return taggedBytes(IP_ADDRESS, ipv4Bytes(host))
  if (isIPv6(host) && !host.includes('%')) return taggedBytes(IP_ADDRESS, ipv6Bytes(host))
  if (isHostname(host)) return taggedBytes(DNS_NAME, Buffer.from(host, 'latin1'))
  throw new CoatcheckError(
    'invalid_host',
    'No certificate can be made for this host.',
    'Use a hostname of letters, digits and hyphens, or an IP address without zone or brackets.',
  )
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

/** Sixteen bytes of a valid RFC 4291 text, with `::` and a trailing dotted quad in any of their places. */
function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::')
  const before = ipv6Groups(head)
  const after = ipv6Groups(tail ?? '')
  const gap = Buffer.alloc(16 - before.length - after.length)
  return Buffer.concat([before, gap, after])
}

function ipv6Groups(text: string): Buffer {
  const groups = text === '' ? [] : text.split(':')
  return Buffer.concat(
    groups.map((group) => (group.includes('.') ? ipv4Bytes(group) : Buffer.from(group.padStart(4, '0'), 'hex'))),
  )
}
