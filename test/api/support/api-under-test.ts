/** The real API on a real socket, over in-memory stores, with everything it logged kept for inspection. */
import { request } from 'undici'
import type {
  AuditEventDocument,
  AuthorityDocument,
  ErrorDocument,
  ReadyDocument,
  SandboxCredentials,
  SecretDocument,
  TokenCreated,
  VerifyDocument,
} from '../../../src/api/contract.ts'
import type { ApiDeps } from '../../../src/api/dependencies.ts'
import { buildApi } from '../../../src/api/server.ts'
import type { Log } from '../../../src/core/ports.ts'
import { ADMIN_TOKEN, InMemoryAudit, InMemorySandboxes, InMemorySecrets, InMemoryTokens } from './in-memory-stores.ts'

/** Longer than every limit of display and long enough to be masked; looked for in everything that comes out. */
export const CANARY = 'canary-5b1f0e7a9d3c4c6e8f21'

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly text: string
  readonly json: AnyDocument
}

type Documents = SecretDocument & SandboxCredentials & TokenCreated & AuthorityDocument & ErrorDocument
type Items = { readonly items: readonly (Documents & AuditEventDocument)[]; readonly nextCursor: string | null }
/** Every field of every answer, read as the test at hand expects it to be there. */
export type AnyDocument = Documents &
  Items &
  Omit<ReadyDocument, 'status'> &
  VerifyDocument & { readonly status: string }

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

export function inMemoryDeps() {
  const secrets = new InMemorySecrets()
  const log = new RecordingLog()
  const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  return {
    secrets,
    sandboxes: new InMemorySandboxes(secrets),
    tokens: new InMemoryTokens(),
    audit: new InMemoryAudit(),
    authority: {
      certificatePem: pem,
      fingerprint: 'AA:BB',
      notAfter: new Date('2040-01-01T00:00:00Z'),
      bundlePem: () => `${pem}${pem}`,
    },
    proxyUrl: () => 'http://127.0.0.1:8080',
    trust: { caFile: '/trust/ca.pem', bundleFile: '/trust/bundle.pem' },
    ready: () => ({ ok: true, checks: { database: true } }),
    log,
    allowedHosts: () => ['127.0.0.1', 'localhost'],
  } satisfies ApiDeps
}

export type InMemoryDeps = ReturnType<typeof inMemoryDeps>

export class ApiUnderTest {
  readonly url: string
  readonly deps: InMemoryDeps
  readonly #close: () => Promise<void>

  private constructor(url: string, deps: InMemoryDeps, close: () => Promise<void>) {
    this.url = url
    this.deps = deps
    this.#close = close
  }

  static async start(overrides: Partial<ApiDeps> = {}): Promise<ApiUnderTest> {
    const deps = inMemoryDeps()
    const api = buildApi({ ...deps, ...overrides })
    const url = await api.listen({ host: '127.0.0.1', port: 0 })
    return new ApiUnderTest(url, deps, () => api.close())
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  stop(): Promise<void> {
    return this.#close()
  }

  /** As an administrator, unless the headers say otherwise; a string body goes out as it is. */
  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const payload =
      body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const sent = {
      authorization: `Bearer ${ADMIN_TOKEN}`,
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
    return {
      status: answer.statusCode,
      headers: Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])),
      text,
      json: (isJson && text !== '' ? JSON.parse(text) : undefined) as AnyDocument,
    }
  }
}
