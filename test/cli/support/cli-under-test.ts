/** The command line on the real API over a real data directory: in this process, or over HTTP on a real socket. */
import { PassThrough, Readable } from 'node:stream'
import { onTestFinished } from 'vitest'
import type { ApiDeps } from '../../../src/api/dependencies.ts'
import { localApi } from '../../../src/api/local.ts'
import type { CliDeps, CliInput, CliIo, RunOptions } from '../../../src/cli/io.ts'
import { runCli } from '../../../src/cli/main.ts'
import { clientEnvironment } from '../../../src/core/client-environment.ts'
import type { Sandbox } from '../../../src/core/sandbox.ts'
import type { Secret, SecretValue } from '../../../src/core/secret.ts'
import { restoreBackup } from '../../../src/vault/backup.ts'
import { ApiUnderTest } from '../../api/support/api-under-test.ts'
import { ScriptedAudit } from '../../api/support/scripted-audit.ts'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly stdoutBytes: Buffer
}

export interface Given {
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
  readonly isTty?: boolean
  readonly input?: CliInput
  readonly signal?: AbortSignal
  /** Thrown when the data directory is opened. */
  readonly openFailure?: Error
  /** Told all of standard output so far, whenever there is more; the other of standard error. */
  readonly onOutput?: (text: string) => void
  readonly onError?: (text: string) => void
  /** Where a backup is restored. */
  readonly restoreTo?: string
  readonly locations?: Partial<Awaited<ReturnType<CliDeps['locate']>>>
}

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
const TRUST = { caFile: '/trust/ca.pem', bundleFile: '/trust/bundle.pem' }

export class CliUnderTest {
  readonly audit = new ScriptedAudit()
  readonly authority: ApiDeps['authority'] = {
    certificatePem: PEM,
    fingerprint: 'AA:BB',
    notAfter: new Date('2040-01-01T00:00:00Z'),
    bundlePem: () => `${PEM}${PEM}`,
  }
  /** What the stores are made to say instead of what they hold. */
  readonly altered: { secret: Partial<Secret>; sandbox: Partial<Sandbox> } = { secret: {}, sandbox: {} }
  /** Values that were given to the store, in order. */
  readonly stored: SecretValue[] = []
  /** What `run` was asked to do. */
  readonly runs: RunOptions[] = []
  /** Local transports that are open now. */
  open = 0
  readonly #overHttp: boolean
  #server: Promise<ApiUnderTest> | undefined

  private constructor(overHttp: boolean) {
    this.#overHttp = overHttp
    onTestFinished(async () => await this.stop())
  }

  static local(): CliUnderTest {
    return new CliUnderTest(false)
  }

  static async overHttp(): Promise<CliUnderTest> {
    return new CliUnderTest(true)
  }

  async stop(): Promise<void> {
    const server = await this.#server
    this.#server = undefined
    await server?.stop()
  }

  async cli(argv: readonly string[], given: Given = {}): Promise<Outcome> {
    const stdout = collected(given.onOutput)
    const stderr = collected(given.onError)
    const remote = this.#overHttp ? await this.#remote() : {}
    const io: CliIo = {
      stdin: given.input ?? Readable.from([Buffer.from(given.stdin ?? '')]),
      stdout: stdout.stream,
      stderr: stderr.stream,
      env: { ...remote, ...given.env },
      isTty: given.isTty ?? false,
      ...(given.signal === undefined ? {} : { signal: given.signal }),
    }
    const code = await runCli(argv, io, this.#cliDeps(given))
    return { code, stdout: stdout.text(), stderr: stderr.text(), stdoutBytes: stdout.bytes() }
  }

  /** Everything the server has logged so far. */
  async logged(): Promise<readonly string[]> {
    return (await this.#start()).log.lines
  }

  /** What stands behind the API. */
  async deps() {
    const { deps, data } = await this.#start()
    return { ...deps, system: data.tokens.systemPrincipal() }
  }

  async #remote(): Promise<Record<string, string>> {
    const { url, adminToken } = await this.#start()
    return { COATCHECK_URL: url, COATCHECK_TOKEN: adminToken }
  }

  #start(): Promise<ApiUnderTest> {
    this.#server ??= ApiUnderTest.start((deps) => ({
      audit: this.audit,
      authority: this.authority,
      trust: TRUST,
      secrets: this.#recording(saying(deps.secrets, () => this.altered.secret)),
      sandboxes: saying(deps.sandboxes, () => this.altered.sandbox),
    }))
    return this.#server
  }

  #recording(secrets: ApiDeps['secrets']): ApiDeps['secrets'] {
    return instead(secrets, {
      create: async (principal, input) => {
        this.stored.push(input.value)
        return await secrets.create(principal, input)
      },
    })
  }

  #cliDeps(given: Given): CliDeps {
    return {
      version: '1.2.3',
      openLocal: async () => {
        if (given.openFailure !== undefined) throw given.openFailure
        const { deps, data } = await this.#start()
        const api = localApi(deps, { ...data.tokens.systemPrincipal(), name: 'admin' })
        this.open += 1
        return {
          request: (...given) => api.request(...given),
          backup: (file, passphrase) => data.backup(data.tokens.systemPrincipal(), file, passphrase),
          rotateKeyring: () => data.rotateKeyring(data.tokens.systemPrincipal()),
          close: async () => {
            this.open -= 1
            await api.close()
          },
        }
      },
      restore: async (_options, file, passphrase) => {
        const dataDir = given.restoreTo ?? ''
        return await restoreBackup({ file, passphrase, dataDir })
      },
      locate: async () => ({
        dataDir: '/nonexistent/data',
        apiUrl: 'http://127.0.0.1:1',
        caFile: '/nonexistent/ca.pem',
        clientEnvironment: clientEnvironment({ ...TRUST, proxyUrl: 'http://127.0.0.1:8080', noProxy: '' }),
        ...given.locations,
      }),
      serve: async () => 0,
      demo: async () => 0,
      run: async (options) => {
        this.runs.push(options)
        return 7
      },
    }
  }
}

interface ShowingStore<T> {
  get(...given: never[]): Promise<T>
  list(...given: never[]): Promise<{ readonly items: readonly T[]; readonly nextCursor: string | null }>
}

/** The store, with these fields in whatever it shows. */
function saying<T, S extends ShowingStore<T>>(store: S, fields: () => Partial<T>): S {
  const get = store.get.bind(store)
  const list = store.list.bind(store)
  return instead(store, {
    get: async (...given: never[]) => ({ ...(await get(...given)), ...fields() }),
    list: async (...given: never[]) => {
      const page = await list(...given)
      return { ...page, items: page.items.map((item) => ({ ...item, ...fields() })) }
    },
  } as unknown as Partial<S>)
}

/** The store with some of its verbs replaced; it keeps private fields, so the others stay bound to it. */
function instead<S extends object>(store: S, replaced: Partial<S>): S {
  return new Proxy(store, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in replaced ? replaced : target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function collected(onOutput?: (text: string) => void) {
  const chunks: Buffer[] = []
  const stream = new PassThrough()
  const bytes = (): Buffer => Buffer.concat(chunks)
  const text = (): string => bytes().toString('utf8')
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    onOutput?.(text())
  })
  return { stream, text, bytes }
}
