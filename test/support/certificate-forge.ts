/**
 * A root of its own and whatever certificates a test wants below it, sound or not: what an upstream may present. The DER
 * comes from the authority's encoder; the keys are P-256, made here and now.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { extension, keyIdentifier, signCertificate } from '../../src/authority/certificate.ts'
import { bits, boolean, type Der, octets, oid, pem, sequence, taggedBytes } from '../../src/authority/der.ts'

const DAY = 86_400_000
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/** GeneralName tags (RFC 5280 4.2.1.6). */
const NAME_TAGS = { email: 1, dns: 2, uri: 6, ip: 7 } as const
export type AltName = readonly [kind: keyof typeof NAME_TAGS, value: string]

/** Who signs, or what a server presents: a key, its certificate and the issuers' certificates after it. */
export interface Holder {
  readonly commonName: string | null
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
  /** PEM, leaf first, without the root. */
  readonly chain: string
}

export interface Wanted {
  readonly issuer?: Holder
  readonly commonName?: string | null
  /** Null = no subjectAltName. */
  readonly names?: readonly AltName[] | null
  /** Days from now. */
  readonly from?: number
  readonly until?: number
  /** Extended key usages; null = no such extension. */
  readonly usages?: readonly string[] | null
  readonly ca?: boolean
  readonly digest?: 'sha256' | 'sha1'
  /** False: the issuer's certificate is not presented along. */
  readonly complete?: boolean
}

export class CertificateForge {
  /** PEM file of the root, for `upstream.extraCa`. */
  readonly caFile: string
  readonly root: Holder
  readonly #dir: string

  private constructor(dir: string, root: Holder) {
    this.#dir = dir
    this.caFile = join(dir, 'root.pem')
    this.root = { ...root, chain: '' }
  }

  static async create(): Promise<CertificateForge> {
    const dir = await mkdtemp(join(tmpdir(), 'coatcheck-forge-'))
    const root = selfSigned('test root')
    await writeFile(join(dir, 'root.pem'), root.chain)
    return new CertificateForge(dir, root)
  }

  /** A certificate under the root unless another issuer is given. */
  issue(wanted: Wanted): Holder {
    return issue(this.root, wanted)
  }

  async remove(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true })
  }
}

/** A root that nobody trusts, or, with names, a self-signed leaf. */
export function selfSigned(commonName: string, names: readonly AltName[] | null = null): Holder {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const self: Holder = { commonName, ...keys, chain: '' }
  return certified(self, self, { commonName, names, ca: names === null, usages: null })
}

/** The proxy's own authority as an issuer, taken from its data directory as a thief would. */
export async function ownAuthority(dataDir: string): Promise<Holder> {
  const certificate = new X509Certificate(await readFile(join(dataDir, 'authority.cert.pem')))
  const privateKey = createPrivateKey(await readFile(join(dataDir, 'authority.key.pem')))
  const commonName = certificate.subject.replace(/^CN=/, '')
  return { commonName, privateKey, publicKey: certificate.publicKey, chain: pem('CERTIFICATE', certificate.raw) }
}

function issue(root: Holder, wanted: Wanted): Holder {
  const issuer = wanted.issuer ?? root
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return certified(issuer, { commonName: wanted.commonName ?? null, ...keys, chain: '' }, wanted)
}

function certified(issuer: Holder, subject: Holder, wanted: Wanted): Holder {
  const { names = null, from = -1, until = 30, usages = [SERVER_AUTH], ca = false, complete = true } = wanted
  const extensions: Der[] = [
    ...(ca ? [extension('2.5.29.19', true, sequence(boolean(true)))] : []),
    ...(names === null ? [] : [extension('2.5.29.17', false, sequence(...names.map(generalName)))]),
    ...(usages === null || ca ? [] : [extension('2.5.29.37', false, sequence(...usages.map(oid)))]),
    extension('2.5.29.15', true, ca ? bits(Buffer.from([0x06]), 1) : bits(Buffer.from([0x80]), 7)),
    extension('2.5.29.14', false, octets(keyIdentifier(subject.publicKey))),
    extension('2.5.29.35', false, sequence(taggedBytes(0, keyIdentifier(issuer.publicKey)))),
  ]
  const now = Date.now()
  const period = { notBefore: now + from * DAY, notAfter: now + until * DAY }
  const fields = { issuer: issuer.commonName, subject: subject.commonName, publicKey: subject.publicKey, extensions }
  const der = signCertificate({ ...fields, ...period }, issuer.privateKey)
  const signed = wanted.digest === 'sha1' ? signedWithSha1(der, issuer.privateKey) : der
  return { ...subject, chain: pem('CERTIFICATE', signed) + (complete ? issuer.chain : '') }
}

function generalName([kind, value]: AltName): Der {
  return taggedBytes(
    NAME_TAGS[kind],
    kind === 'ip' ? Buffer.from(value.split('.').map(Number)) : Buffer.from(value, 'latin1'),
  )
}

/** AlgorithmIdentifier of ecdsa-with-SHA1 (1.2.840.10045.4.1). */
const ECDSA_SHA1 = Buffer.from('300906072a8648ce3d0401', 'hex')

/** The same certificate, saying and being signed with SHA-1. */
function signedWithSha1(der: Buffer, key: KeyObject): Buffer {
  const [toBeSigned] = elements(der)
  const fields = elements(toBeSigned as Buffer)
  fields[2] = ECDSA_SHA1
  const changed = element(0x30, ...fields)
  return element(0x30, changed, ECDSA_SHA1, element(0x03, Buffer.from([0]), sign('sha1', changed, key)))
}

function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

/** The elements inside a constructed one, each with its tag and length. */
function elements(der: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = start(der, 0); at < der.length; ) {
    const end = start(der, at) + lengthOf(der, at)
    found.push(der.subarray(at, end))
    at = end
  }
  return found
}

function start(der: Buffer, at: number): number {
  const first = der.readUInt8(at + 1)
  return at + 2 + (first < 0x80 ? 0 : first & 0x7f)
}

function lengthOf(der: Buffer, at: number): number {
  const first = der.readUInt8(at + 1)
  return first < 0x80 ? first : der.readUIntBE(at + 2, first & 0x7f)
}
