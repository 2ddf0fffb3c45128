/**
 * The real program in a process of its own that can be killed, with a recording TLS upstream, a sandbox and a secret whose
 * value is a canary. Nothing of it is started before `server.start()`.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { assertNoLeak, canary } from './leak-check.ts'
import { RecordingUpstream } from './recording-upstream.ts'
import { ServerProcess } from './server-process.ts'
import { TestAuthority } from './test-authority.ts'

/** Where the secret may go. */
export const HOST = 'api.test'

interface Created {
  readonly placeholder: string
  readonly name: string
  readonly token: string
}

interface Parts {
  readonly value: string
  readonly authority: TestAuthority
  readonly upstream: RecordingUpstream
  readonly server: ServerProcess
  readonly placeholder: string
  readonly sandbox: Pick<Created, 'name' | 'token'>
  /** PEM of the authority that sandboxes trust. */
  readonly ca: string
}

export class ProcessRig {
  readonly parts: Parts
  /** Everything the sandbox saw: tests add what their clients received. */
  readonly seen: Buffer[] = []

  private constructor(parts: Parts) {
    this.parts = parts
  }

  static async prepare(test: string): Promise<ProcessRig> {
    const value = canary(test)
    const authority = await TestAuthority.create()
    const upstream = await RecordingUpstream.start({ authority, host: HOST })
    const server = await ServerProcess.prepare({
      COATCHECK_UPSTREAM_EXTRACA: authority.caFile,
      COATCHECK_UPSTREAM_RESOLVE: JSON.stringify({ [HOST]: '127.0.0.1' }),
      COATCHECK_EGRESS_PRIVATEADDRESSES: '["127.0.0.0/8"]',
      COATCHECK_EGRESS_PORTS: JSON.stringify([upstream.port]),
    })
    const secret = await server.command(['secret', 'create', 'key', '--hosts', HOST, '--value-stdin'], value)
    const sandbox = (await server.command(['sandbox', 'create', 'box', '--mount', 'KEY=key'])) as Created
    const ca = await readFile(join(server.folder, 'data', 'authority.cert.pem'), 'utf8')
    const { placeholder } = secret as Created
    return new ProcessRig({ value, authority, upstream, server, placeholder, sandbox, ca })
  }

  /** Kills what runs, removes what was written, and looks for the value everywhere. */
  async stop(): Promise<void> {
    const { value, authority, upstream, server } = this.parts
    await server.kill()
    const files = await server.files()
    await Promise.all([server.remove(), upstream.stop(), authority.remove()])
    const saw = Buffer.concat(this.seen)
    assertNoLeak(value, { 'what the sandbox saw': saw, 'what it printed': server.printed, ...files })
  }

  /** Paths of all release events on disk. */
  released(): ReadonlySet<string> {
    const database = new DatabaseSync(this.parts.server.databaseFile)
    const rows = database.prepare('SELECT body FROM audit_events').all() as { body: string }[]
    database.close()
    const events = rows.map(({ body }) => JSON.parse(body) as { kind: string; path: string })
    return new Set(events.filter(({ kind }) => kind === 'release').map(({ path }) => path))
  }
}
