/** A certificate authority for upstreams under test, unknown to the system and different from the proxy's own. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SecureContext } from 'node:tls'
import { Authority } from '../../src/authority/authority.ts'
import { LeafCache } from '../../src/authority/leaf-cache.ts'

export class TestAuthority {
  readonly dir: string
  /** PEM file for `upstream.extraCa`. */
  readonly caFile: string
  readonly certificatePem: string
  readonly #leaves: LeafCache

  private constructor(dir: string, caFile: string, authority: Authority) {
    this.dir = dir
    this.caFile = caFile
    this.certificatePem = authority.certificatePem
    this.#leaves = new LeafCache({ authority, clock: Date.now })
  }

  static async create(): Promise<TestAuthority> {
    const dir = await mkdtemp(join(tmpdir(), 'coatcheck-test-ca-'))
    const authority = await Authority.open({ dir, clock: Date.now })
    const caFile = join(dir, 'ca.pem')
    await writeFile(caFile, authority.certificatePem)
    return new TestAuthority(dir, caFile, authority)
  }

  contextFor(host: string): Promise<SecureContext> {
    return this.#leaves.contextFor(host)
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }
}
