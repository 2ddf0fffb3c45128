/**
 * DER building blocks (ITU-T X.690): the only importer of node-forge, which encodes here and neither parses nor verifies.
 *
 * A `Der` is a tree; `encode` turns it into bytes. Bytes go in and come out as Buffers.
 */
// The import rule knows whole packages; the whole of node-forge would bring ciphers, a TLS stack and a random generator.
// oxlint-disable-next-line no-restricted-imports
import asn1, { type Asn1 } from 'node-forge/lib/asn1.js'

export type Der = Asn1

const { Class, Type } = asn1

export function encode(tree: Der): Buffer {
  return Buffer.from(asn1.toDer(tree).getBytes(), 'latin1')
}

export function sequence(...parts: Der[]): Der {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts)
}

/** The caller puts several elements in DER order (X.690, 11.6); sets of one need none. */
export function set(...parts: Der[]): Der {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, parts)
}

export function oid(dotted: string): Der {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes())
}

/** Big-endian two's complement; the caller gives the minimal form. */
export function integer(bytes: Buffer): Der {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, bytes.toString('latin1'))
}

/** 0 to 2^31 - 1. */
export function smallInteger(value: number): Der {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(value).getBytes())
}

export function boolean(value: boolean): Der {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, value ? '\xff' : '\x00')
}

export function nothing(): Der {
  return asn1.create(Class.UNIVERSAL, Type.NULL, false, '')
}

export function octets(bytes: Buffer): Der {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes.toString('latin1'))
}

/** `unused`: how many of the last byte's low bits are padding. */
export function bits(bytes: Buffer, unused = 0): Der {
  return asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, String.fromCharCode(unused) + bytes.toString('latin1'))
}

export function utf8(text: string): Der {
  return asn1.create(Class.UNIVERSAL, Type.UTF8, false, Buffer.from(text, 'utf8').toString('latin1'))
}

/** UTF-16BE, as PKCS#12 wants its names. */
export function bmp(text: string): Der {
  return asn1.create(Class.UNIVERSAL, Type.BMPSTRING, false, text)
}

/** Milliseconds since the epoch, to the second: UTCTime through 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). */
export function time(at: number): Der {
  const date = new Date(at)
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date))
}

/** `[tag] EXPLICIT` around parts, or `[tag] IMPLICIT` in place of a sequence's own tag. */
export function tagged(tag: number, ...parts: Der[]): Der {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, true, parts)
}

/** `[tag] IMPLICIT` in place of a string's own tag. */
export function taggedBytes(tag: number, bytes: Buffer): Der {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, false, bytes.toString('latin1'))
}

/** RFC 7468 text, 64 columns, with its final newline. */
export function pem(label: string, der: Buffer): string {
  const body = der.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...body, `-----END ${label}-----`, ''].join('\n')
}
