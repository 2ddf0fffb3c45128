/** The real program on a real socket and vault, and calls to its API as the clients of a foreign contract make them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from '../../../../src/app.ts'
import { loadSettings } from '../../../../src/config.ts'
import type { NewToken, Principal } from '../../../../src/core/ports.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Document
}

/** Every field of every answer, read as the test at hand expects it to be there. */
export interface Document {
  readonly id: string
  readonly workspaceId: string
  readonly profileId: string
  readonly name: string
  readonly placeholder: string
  readonly hosts: readonly string[]
  readonly createdAt: string
  readonly message: string
  readonly code: number
  readonly state: string
  readonly total: number
  readonly count: number
  readonly nextCursor: string
  readonly next_cursor: string
  readonly items: readonly Document[]
  readonly length: number
  readonly env: Readonly<Record<string, string>>
  readonly metadata: Document
  readonly labels: Readonly<Record<string, string>>
  readonly info: { readonly createdBy: Document }
  readonly pagination: Document
  readonly access_token: string
  readonly agent_id: string
  readonly created_by: string
  readonly path: string
  readonly type: string
  readonly version: number
  readonly value: string
  readonly valid: boolean
  readonly is_disabled: boolean
  readonly secrets: readonly Document[]
  readonly versions: readonly Document[]
  readonly policies: readonly Document[]
  /** One or many. */
  readonly response: Document & readonly Document[]
  readonly key: string
  readonly raw_value: string | null
  readonly inherited: boolean
  readonly action: string
  readonly uid: string
  readonly contents: string
}

export class CompatApp {
  readonly app: App
  readonly token: string
  readonly #dir: string
  #named = 0

  private constructor(app: App, token: string, dir: string) {
    this.app = app
    this.token = token
    this.#dir = dir
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<CompatApp> {
    const dir = await mkdtemp(join(tmpdir(), 'coatcheck-compat-'))
    const own = {
      COATCHECK_DATADIR: dir,
      COATCHECK_PROXY_LISTEN: '127.0.0.1:0',
      COATCHECK_API_LISTEN: '127.0.0.1:0',
      COATCHECK_AUDIT_SINKS: '["none"]',
    }
    const app = await App.start({
      settings: loadSettings({ file: null, env: { ...own, ...env } }),
      env: {},
      exportDir: null,
      ship: false,
      listen: { proxy: false, api: true },
      logTo: { write: () => undefined },
    })
    const { secret } = await app.data.tokens.create(app.data.tokens.systemPrincipal(), {
      name: 'tests',
      role: 'admin',
      scopeId: app.data.database.defaultAccountId,
    })
    return new CompatApp(app, secret, dir)
  }

  get owner(): Principal {
    return this.app.data.tokens.systemPrincipal()
  }

  /** A token of that kind, on the account unless said otherwise. */
  async mint(input: Partial<NewToken>): Promise<string> {
    this.#named += 1
    const scopeId = input.scopeId ?? this.app.data.database.defaultAccountId
    const { secret } = await this.app.data.tokens.create(this.owner, { name: `t${this.#named}`, ...input, scopeId })
    return secret
  }

  /** As the administrator, unless the headers say otherwise; an empty header is left out. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const sent = {
      authorization: `Bearer ${this.token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    }
    const answer = await fetch(`${this.app.apiUrl}${path}`, {
      method,
      headers: Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== '')),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await answer.text()
    const isJson = (answer.headers.get('content-type') ?? '').includes('json') && text !== ''
    const json = (isJson ? JSON.parse(text) : undefined) as Document
    return { status: answer.status, headers: answer.headers, text, json }
  }

  /** As a caller with that token. */
  as(token: string): Caller {
    return (method, path, body) => this.call(method, path, body, { authorization: `Bearer ${token}` })
  }

  async stop(): Promise<void> {
    await this.app.close(0)
    await rm(this.#dir, { recursive: true, force: true })
  }
}

export type Caller = (method: string, path: string, body?: unknown) => Promise<Answer>
