/**
 * The real program on port 0, with a recording TLS upstream, a sandbox and a secret whose value is a canary; after each
 * test the leak check looks for the canary everywhere it must not be.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from '../../src/app.ts'
import { loadSettings } from '../../src/config.ts'
import type { Clock, Principal } from '../../src/core/ports.ts'
import type { Secret } from '../../src/core/secret.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { assertNoLeak, canary } from './leak-check.ts'
import { RecordingUpstream } from './recording-upstream.ts'
import { TestAuthority } from './test-authority.ts'

export interface RigOptions {
  /** Settings by environment variable, over the rig's own. */
  readonly env?: Readonly<Record<string, string>>
  /** The same, for settings that name a port of an upstream. */
  readonly envFor?: (ports: { readonly tls: number; readonly plain: number }) => Readonly<Record<string, string>>
  /** Further names that resolve to the upstream's address. */
  readonly names?: readonly string[]
  readonly ports?: readonly number[]
  /** Ports for the upstreams, where a test needs certain ones. */
  readonly listenOn?: { readonly tls: number; readonly plain: number }
  /** The program's clock, instead of the machine's. */
  readonly clock?: Clock
}

export interface RigSandbox {
  readonly name: string
  readonly token: string
  /** `http://name:token@host:port`. */
  readonly proxyUrl: string
  readonly env: Readonly<Record<string, string>>
}

/** Hosts every rig knows: what the secret may go to, and what it may not. */
export const ALLOWED = 'api.test'
export const OTHER = 'evil.test'

export class Rig {
  readonly app: App
  readonly authority: TestAuthority
  /** Serves both names over TLS; `plain` serves them without. */
  readonly upstream: RecordingUpstream
  readonly plain: RecordingUpstream
  readonly dataDir: string
  readonly value: string
  readonly secret: Secret
  readonly sandbox: RigSandbox
  /** Everything a sandbox saw: tests add what their clients received. */
  readonly seen: Buffer[] = []
  readonly logLines: string[]

  private constructor(
    parts: Pick<
      Rig,
      'app' | 'authority' | 'upstream' | 'plain' | 'dataDir' | 'value' | 'secret' | 'sandbox' | 'logLines'
    >,
  ) {
    this.app = parts.app
    this.authority = parts.authority
    this.upstream = parts.upstream
    this.plain = parts.plain
    this.dataDir = parts.dataDir
    this.value = parts.value
    this.secret = parts.secret
    this.sandbox = parts.sandbox
    this.logLines = parts.logLines
  }

  static async start(options: RigOptions = {}): Promise<Rig> {
    const authority = await TestAuthority.create()
    const upstream = await RecordingUpstream.start({ authority, host: ALLOWED, port: options.listenOn?.tls ?? 0 })
    const plain = await RecordingUpstream.start({ port: options.listenOn?.plain ?? 0 })
    const dataDir = await mkdtemp(join(tmpdir(), 'coatcheck-rig-'))
    const logLines: string[] = []
    const settings = loadSettings({
      file: null,
      env: rigEnvironment(options, authority, dataDir, [upstream.port, plain.port]),
    })
    const app = await App.start({
      settings,
      env: {},
      exportDir: null,
      ship: false,
      listen: { proxy: true, api: true },
      logTo: { write: (line) => logLines.push(line) },
      ...(options.clock && { clock: options.clock }),
    })
    const value = canary('rig')
    const { secret } = await app.data.secrets.create(principalOf(app), {
      name: 'openai',
      value: SecretValue.fromText(value),
      hosts: [ALLOWED],
    })
    const sandbox = await createSandbox(app, 'box', { OPENAI_API_KEY: 'openai' })
    return new Rig({ app, authority, upstream, plain, dataDir, value, secret, sandbox, logLines })
  }

  get principal(): Principal {
    return principalOf(this.app)
  }

  /** `https://api.test:port`. */
  url(host: string = ALLOWED): string {
    return `https://${host}:${this.upstream.port}`
  }

  sandboxWith(name: string, mounts: Readonly<Record<string, string>>): Promise<RigSandbox> {
    return createSandbox(this.app, name, mounts)
  }

  /** The audit, oldest first. */
  async events() {
    await this.app.data.audit.flush()
    const page = await this.app.data.records.list(this.principal, { limit: 200, cursor: null })
    return [...page.items].reverse()
  }

  /** Stops the program, so that everything is written, and looks for the canary. */
  async stop(options: { readonly elsewhere?: Readonly<Record<string, Buffer | string>> } = {}): Promise<void> {
    await this.app.close(1_000)
    await Promise.all([this.upstream.stop(), this.plain.stop()])
    const files = await readDirectory(this.dataDir)
    await rm(this.dataDir, { recursive: true, force: true })
    await this.authority.remove()
    assertNoLeak(this.value, {
      'what the sandbox saw': Buffer.concat(this.seen),
      'the plain upstream': this.plain.received,
      'the log': this.logLines.join(''),
      ...files,
      ...options.elsewhere,
    })
  }
}

function principalOf(app: App): Principal {
  return app.data.tokens.systemPrincipal()
}

async function createSandbox(app: App, name: string, mounts: Readonly<Record<string, string>>): Promise<RigSandbox> {
  const { sandbox, token } = await app.data.sandboxes.create(principalOf(app), { name, mounts })
  const proxyUrl = app.proxyUrl.replace('http://', `http://${name}:${token}@`)
  return { name, token, proxyUrl, env: sandbox.env }
}

function rigEnvironment(
  options: RigOptions,
  authority: TestAuthority,
  dataDir: string,
  [tls, plain]: readonly [number, number],
): Record<string, string> {
  const names = [ALLOWED, OTHER, ...(options.names ?? [])]
  return {
    COATCHECK_DATADIR: dataDir,
    COATCHECK_PROXY_LISTEN: '127.0.0.1:0',
    COATCHECK_API_LISTEN: '127.0.0.1:0',
    COATCHECK_UPSTREAM_EXTRACA: authority.caFile,
    COATCHECK_UPSTREAM_RESOLVE: JSON.stringify(Object.fromEntries(names.map((name) => [name, '127.0.0.1']))),
    COATCHECK_EGRESS_PRIVATEADDRESSES: '["127.0.0.0/8"]',
    COATCHECK_EGRESS_PORTS: JSON.stringify([...new Set([80, 443, tls, plain, ...(options.ports ?? [])])]),
    COATCHECK_AUDIT_SINKS: '["none"]',
    ...options.envFor?.({ tls, plain }),
    ...options.env,
  }
}

async function readDirectory(dir: string): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files[entry.name] = await readFile(join(entry.parentPath, entry.name))
  }
  return files
}
