/**
 * The files that clients' trust variables point at, kept current in one folder: our certificate alone, a bundle of the
 * system's roots with ours, and the same for Java. All public; written whole or not at all.
 */
import { randomBytes } from 'node:crypto'
import { promises } from 'node:fs'
import { join } from 'node:path'
import { type ClientTrust, JAVA_TRUST_STORE_PASSWORD } from '../core/client-environment.ts'
import { javaTrustStore, trustBundle } from './trust-store.ts'

const { mkdir, readFile, rename, writeFile } = promises

/** Writes what is missing or outdated. @param systemPem the roots a client would otherwise trust. */
export async function writeTrustFiles(
  dir: string,
  authorityPem: string,
  systemPem: string,
): Promise<Required<ClientTrust>> {
  const caFile = join(dir, 'coatcheck-ca.pem')
  const bundleFile = join(dir, 'bundle.pem')
  const javaTrustStoreFile = join(dir, 'truststore.p12')
  await mkdir(dir, { recursive: true, mode: 0o755 })
  const bundle = trustBundle(authorityPem, systemPem)
  await replace(caFile, authorityPem)
  const changed = await replace(bundleFile, bundle)
  // The store holds a random salt, so it is made anew only when its content would change.
  if (changed || !(await exists(javaTrustStoreFile))) {
    await replace(javaTrustStoreFile, javaTrustStore([bundle], JAVA_TRUST_STORE_PASSWORD))
  }
  return { caFile, bundleFile, javaTrustStoreFile }
}

async function exists(path: string): Promise<boolean> {
  return (await readFile(path).catch(() => null)) !== null
}

/** True when the file was not there or different. */
async function replace(path: string, content: string | Buffer): Promise<boolean> {
  const wanted = Buffer.from(content)
  const present = await readFile(path).catch(() => null)
  if (present?.equals(wanted)) return false
  const staged = `${path}.${randomBytes(6).toString('hex')}.new`
  await writeFile(staged, wanted, { mode: 0o644, flag: 'wx' })
  await rename(staged, path)
  return true
}
