/** The command line on the real API over in-memory stores: in this process, or over HTTP on a real socket. */
import { PassThrough, Readable } from 'node:stream'
import { localApi } from '../../../src/api/local.ts'
import type { CliDeps, CliInput, CliIo, RunOptions } from '../../../src/cli/io.ts'
import { runCli } from '../../../src/cli/main.ts'
import { clientEnvironment } from '../../../src/core/client-environment.ts'
import { ApiUnderTest, type InMemoryDeps, inMemoryDeps } from '../../api/support/api-under-test.ts'
import { ADMIN, ADMIN_TOKEN } from '../../api/support/in-memory-stores.ts'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Given {
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
  readonly isTty?: boolean
  readonly input?: CliInput
  readonly signal?: AbortSignal
  /** Thrown when the data directory is opened. */
  readonly openFailure?: Error
  readonly locations?: Partial<Awaited<ReturnType<CliDeps['locate']>>>
}

export class CliUnderTest {
  readonly deps: InMemoryDeps
  /** What `run` was asked to do. */
  readonly runs: RunOptions[] = []
  /** Local transports that are open now. */
  open = 0
  readonly #server: ApiUnderTest | undefined

  private constructor(deps: InMemoryDeps, server: ApiUnderTest | undefined) {
    this.deps = deps
    this.#server = server
  }

  static local(): CliUnderTest {
    return new CliUnderTest(inMemoryDeps(), undefined)
  }

  static async overHttp(): Promise<CliUnderTest> {
    const server = await ApiUnderTest.start()
    return new CliUnderTest(server.deps, server)
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
  }

  async cli(argv: readonly string[], given: Given = {}): Promise<Outcome> {
    const stdout = collected()
    const stderr = collected()
    const server = this.#server
    const remote = server === undefined ? {} : { COATCHECK_URL: server.url, COATCHECK_TOKEN: ADMIN_TOKEN }
    const io: CliIo = {
      stdin: given.input ?? Readable.from([Buffer.from(given.stdin ?? '')]),
      stdout: stdout.stream,
      stderr: stderr.stream,
      env: { ...remote, ...given.env },
      isTty: given.isTty ?? false,
      ...(given.signal === undefined ? {} : { signal: given.signal }),
    }
    const code = await runCli(argv, io, this.#cliDeps(given))
    return { code, stdout: stdout.text(), stderr: stderr.text() }
  }

  #cliDeps(given: Given): CliDeps {
    return {
      version: '1.2.3',
      openLocal: async () => {
        if (given.openFailure !== undefined) throw given.openFailure
        const api = localApi(this.deps, ADMIN)
        this.open += 1
        return {
          request: (method, path, body) => api.request(method, path, body),
          close: async () => {
            this.open -= 1
            await api.close()
          },
        }
      },
      locate: async () => ({
        dataDir: '/nonexistent/data',
        apiUrl: 'http://127.0.0.1:1',
        caFile: '/nonexistent/ca.pem',
        clientEnvironment: clientEnvironment({ ...this.deps.trust, proxyUrl: 'http://127.0.0.1:8080', noProxy: '' }),
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

function collected() {
  const chunks: Buffer[] = []
  const stream = new PassThrough()
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') }
}
