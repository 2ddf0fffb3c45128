/** The real API on a real socket, over a real data directory with a set clock, with everything it logged kept for inspection. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { expect } from 'vitest'
import type { AuditEventDocument, CheckpointDocument, VerifyDocument } from '../../../src/api/contract/audit.ts'
import type { SandboxCredentials } from '../../../src/api/contract/sandboxes.ts'
import type { PolicyDocument, ScopeDocument, SettingsDocument } from '../../../src/api/contract/scopes.ts'
import type { EffectiveDocument, ExportDocument, ImportReport } from '../../../src/api/contract/secret-reports.ts'
import type { RevealDocument, SecretDocument, VersionDocument } from '../../../src/api/contract/secrets.ts'
import type { AuthorityDocument, ReadyDocument } from '../../../src/api/contract/server.ts'
import type { PrincipalDocument, TokenCreated } from '../../../src/api/contract/tokens.ts'
import type { ErrorDocument } from '../../../src/api/contract.ts'
import type { Api, ApiDeps } from '../../../src/api/dependencies.ts'
import { buildApi } from '../../../src/api/server.ts'
import { defaultSettings } from '../../../src/config.ts'
import type { Log } from '../../../src/core/ports.ts'
import { Scrubber } from '../../../src/core/scrub.ts'
import { DataDirectory } from '../../../src/data-directory.ts'
import { Documented, type OpenApiDocument } from './documented.ts'

/** Longer than every limit of display and long enough to be masked; looked for in everything that comes out. */
export const CANARY = 'canary-5b1f0e7a9d3c4c6e8f21'

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly text: string
  readonly json: AnyDocument
}

type Documents = SecretDocument &
  VersionDocument &
  RevealDocument &
  SandboxCredentials &
  TokenCreated &
  ScopeDocument &
  SettingsDocument &
  PolicyDocument &
  EffectiveDocument &
  ImportReport &
  ExportDocument &
  AuthorityDocument &
  CheckpointDocument &
  ErrorDocument
type Items = {
  readonly items: readonly (Omit<Documents, 'kind'> & Omit<PrincipalDocument, 'kind'> & AuditEventDocument)[]
  readonly nextCursor: string | null
  readonly total?: number
}
/** Every field of every answer, read as the test at hand expects it to be there. */
export type AnyDocument = Omit<Documents, 'kind'> &
  Items &
  Omit<ReadyDocument, 'status'> &
  VerifyDocument & { readonly status: string; readonly kind: string }

export class RecordingLog implements Log {
  readonly lines: string[] = []
  debug = (fields: object, message: string): void => this.#keep(fields, message)
  info = (fields: object, message: string): void => this.#keep(fields, message)
  warn = (fields: object, message: string): void => this.#keep(fields, message)
  error = (fields: object, message: string): void => this.#keep(fields, message)

  #keep(fields: object, message: string): void {
    this.lines.push(
      `${message} ${JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? `${value.stack}` : value))}`,
    )
  }
}

interface Parts extends Pick<ApiUnderTest, 'url' | 'deps' | 'data' | 'log' | 'clock' | 'adminToken'> {
  readonly documented: Documented
  readonly close: () => Promise<void>
}

export class SetClock {
  now = Date.parse('2030-01-01T00:00:00.000Z')
  readonly read = (): number => this.now
}

/** Made once: every API under test has the same routes. */
const judge: { documented?: Promise<Documented> } = {}

async function documented(api: Api): Promise<Documented> {
  const { body } = await api.inject({ url: '/openapi.json', headers: { host: 'localhost' } })
  return new Documented(JSON.parse(body) as OpenApiDocument)
}

export class ApiUnderTest {
  readonly url: string
  readonly deps: ApiDeps
  readonly data: DataDirectory
  readonly log: RecordingLog
  readonly clock: SetClock
  /** Of the account: what `admin-token` holds. */
  readonly adminToken: string
  readonly #documented: Documented
  readonly #close: () => Promise<void>

  private constructor(parts: Parts) {
    this.#documented = parts.documented
    this.url = parts.url
    this.deps = parts.deps
    this.data = parts.data
    this.log = parts.log
    this.clock = parts.clock
    this.adminToken = parts.adminToken
    this.#close = parts.close
  }

  /** The overrides may be made from what there is otherwise. */
  static async start(overrides: Partial<ApiDeps> | ((deps: ApiDeps) => Partial<ApiDeps>) = {}): Promise<ApiUnderTest> {
    const dir = await mkdtemp(join(tmpdir(), 'coatcheck-api-'))
    const log = new RecordingLog()
    const clock = new SetClock()
    const settings = { ...defaultSettings(), dataDir: join(dir, 'data') }
    const opening = { settings, log, clock: clock.read, scrub: new Scrubber(), exportDir: null, ship: false }
    const data = await DataDirectory.open(opening)
    const real: ApiDeps = {
      ...data.apiDeps({
        proxyUrl: () => 'http://127.0.0.1:8080',
        ready: () => ({ ok: true, checks: { database: true } }),
        log,
        allowedHosts: () => ['127.0.0.1', 'localhost'],
      }),
      trust: { caFile: '/trust/ca.pem', bundleFile: '/trust/bundle.pem' },
    }
    const deps = { ...real, ...(typeof overrides === 'function' ? overrides(real) : overrides) }
    const api = buildApi(deps)
    const url = await api.listen({ host: '127.0.0.1', port: 0 })
    const adminToken = (await readFile(data.adminToken.path, 'utf8')).trim()
    judge.documented ??= documented(api)
    const close = async () => {
      await api.close()
      await data.close()
      await rm(dir, { recursive: true, force: true })
    }
    return new ApiUnderTest({ url, deps, data, log, clock, adminToken, documented: await judge.documented, close })
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  stop(): Promise<void> {
    return this.#close()
  }

  /** Every JSON answer is held to the OpenAPI document. As an administrator, unless the headers say otherwise; a string body goes out as it is. */
  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const payload =
      body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const sent = {
      authorization: `Bearer ${this.adminToken}`,
      ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    }
    const answer = await request(`${this.url}${path}`, {
      method: method as 'GET',
      headers: Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== '')),
      ...(payload === undefined ? {} : { body: payload }),
    })
    const text = await answer.body.text()
    const isJson = String(answer.headers['content-type'] ?? '').includes('json')
    const json: unknown = isJson && text !== '' ? JSON.parse(text) : undefined
    expect(this.#documented.mistakes(method, path, answer.statusCode, json)).toEqual([])
    return {
      status: answer.statusCode,
      headers: Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])),
      text,
      json: json as AnyDocument,
    }
  }
}
