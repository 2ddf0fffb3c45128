/** Certificates of the origins: an authority of the bench's own, and one leaf for every name that is used. */
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Authority } from '../src/authority/authority.ts'

/** The one host of the bench, on several ports; it resolves to 127.0.0.1 without anybody asking DNS. */
export const HOST = 'api.bench.test'

/** PEM files. */
export interface CertificateFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export async function writeCertificates(dir: string): Promise<CertificateFiles> {
  const authority = await Authority.open({ dir: join(dir, 'origin-authority'), clock: Date.now })
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const files = { ca: join(dir, 'ca.pem'), cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') }
  await writeFile(files.ca, authority.certificatePem)
  await writeFile(files.cert, authority.issue(HOST, publicKey).pem)
  await writeFile(files.key, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
  return files
}
