/** The control-plane ports kept in maps: enough of the vault's behaviour to test the API and the command line alone. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { StoredAuditEvent } from '../../../src/core/audit-event.ts'
import { CoatcheckError } from '../../../src/core/errors.ts'
import type {
  ApiToken,
  AuditReader,
  NewSecret,
  Page,
  PageRequest,
  Principal,
  SandboxStore,
  SecretStore,
  TokenStore,
} from '../../../src/core/ports.ts'
import type { Sandbox } from '../../../src/core/sandbox.ts'
import type { Secret, SecretValue, SecretVersion } from '../../../src/core/secret.ts'

export const ADMIN: Principal = { kind: 'system', id: 'p-1', name: 'admin', workspaceId: 'ws-1' }
export const ADMIN_TOKEN = 'test-admin-token-0123456789abcdef'
const NOW = '2030-01-01T00:00:00.000Z'

export class InMemorySecrets implements SecretStore {
  readonly rows = new Map<string, Secret>()
  readonly values = new Map<string, SecretValue[]>()

  async create(principal: Principal, input: NewSecret): Promise<{ secret: Secret; warnings: readonly string[] }> {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(input.name)) throw invalid('name', 'Use letters, digits and _ . / -')
    if (this.#find(input.name) !== undefined) throw conflict('A secret of this name exists.')
    if (input.hosts?.includes('*.com')) throw invalid('hosts', 'A wildcard may not cover a public suffix.')
    const secret: Secret = {
      id: randomUUID(),
      workspaceId: principal.workspaceId,
      name: input.name,
      placeholder: `${input.dress ?? ''}xcoat_${crockford()}`,
      description: input.description ?? null,
      type: input.type ?? 'generic',
      hosts: input.hosts ?? null,
      placements: input.placements ?? ['credential-headers'],
      allowPlaintext: input.allowPlaintext ?? false,
      labels: input.labels ?? {},
      hint: null,
      version: 1,
      expiresAt: input.expiresAt ?? null,
      createdBy: principal.name,
      createdAt: NOW,
      updatedAt: NOW,
    }
    this.rows.set(secret.id, secret)
    this.values.set(secret.id, [input.value])
    return { secret, warnings: input.value.byteLength < 16 ? ['The value is too short to be masked.'] : [] }
  }

  async list(_: Principal, page: PageRequest & { name?: string; label?: string }): Promise<Page<Secret>> {
    return pageOf(
      [...this.rows.values()].filter((row) => row.name.includes(page.name ?? '')),
      page,
    )
  }

  async get(_: Principal, idOrName: string): Promise<Secret> {
    return this.#find(idOrName) ?? missing('secret')
  }

  async update(principal: Principal, idOrName: string, patch: Parameters<SecretStore['update']>[2]) {
    const { value, ...fields } = patch
    const before = await this.get(principal, idOrName)
    const version = before.version + (value === undefined ? 0 : 1)
    const secret: Secret = { ...before, ...fields, version }
    this.rows.set(secret.id, secret)
    if (value !== undefined) this.values.get(secret.id)?.push(value)
    return { secret, warnings: [] }
  }

  async delete(principal: Principal, idOrName: string): Promise<void> {
    this.rows.delete((await this.get(principal, idOrName)).id)
  }

  async versions(principal: Principal, idOrName: string): Promise<readonly SecretVersion[]> {
    const { version } = await this.get(principal, idOrName)
    return Array.from({ length: version }, (_, index) => ({
      version: index + 1,
      createdAt: NOW,
      createdBy: principal.name,
      disabledAt: null,
    }))
  }

  #find(idOrName: string): Secret | undefined {
    return this.rows.get(idOrName) ?? [...this.rows.values()].find((row) => row.name === idOrName)
  }
}

export class InMemorySandboxes implements SandboxStore {
  readonly rows = new Map<string, Sandbox>()
  readonly #secrets: InMemorySecrets

  constructor(secrets: InMemorySecrets) {
    this.#secrets = secrets
  }

  async create(principal: Principal, input: { name: string; mounts: Readonly<Record<string, string>> }) {
    if ([...this.rows.values()].some((row) => row.name === input.name)) throw conflict('A sandbox of this name exists.')
    const row = {
      id: randomUUID(),
      workspaceId: principal.workspaceId,
      name: input.name,
      createdAt: NOW,
      updatedAt: NOW,
    }
    const sandbox = { ...row, mounts: input.mounts, env: await this.#env(principal, input.mounts) }
    this.rows.set(sandbox.id, sandbox)
    return { sandbox, token: `tok-${randomBytes(16).toString('hex')}` }
  }

  async list(_: Principal, page: PageRequest): Promise<Page<Sandbox>> {
    return pageOf([...this.rows.values()], page)
  }

  async get(_: Principal, idOrName: string): Promise<Sandbox> {
    const found = this.rows.get(idOrName) ?? [...this.rows.values()].find((row) => row.name === idOrName)
    return found ?? missing('sandbox')
  }

  async setMounts(principal: Principal, idOrName: string, mounts: Readonly<Record<string, string>>): Promise<Sandbox> {
    const sandbox = {
      ...(await this.get(principal, idOrName)),
      mounts,
      env: await this.#env(principal, mounts),
    }
    this.rows.set(sandbox.id, sandbox)
    return sandbox
  }

  async rotateToken(principal: Principal, idOrName: string) {
    return { sandbox: await this.get(principal, idOrName), token: `tok-${randomBytes(16).toString('hex')}` }
  }

  async delete(principal: Principal, idOrName: string): Promise<void> {
    this.rows.delete((await this.get(principal, idOrName)).id)
  }

  async #env(principal: Principal, mounts: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const env: Record<string, string> = {}
    for (const [name, secret] of Object.entries(mounts)) {
      env[name] = (await this.#secrets.get(principal, secret)).placeholder
    }
    return env
  }
}

export class InMemoryTokens implements TokenStore {
  readonly rows = new Map<string, { token: ApiToken; secret: string }>()

  async authenticate(sent: string): Promise<Principal | undefined> {
    if (sent === ADMIN_TOKEN) return ADMIN
    const found = [...this.rows.values()].find(({ secret }) => secret === sent)
    return found === undefined ? undefined : { ...ADMIN, kind: 'api_key', id: found.token.id, name: found.token.name }
  }

  async create(_: Principal, input: { name: string; expiresAt?: string | null }) {
    const dates = { createdAt: NOW, expiresAt: input.expiresAt ?? null, lastUsedAt: null }
    const created = { token: { id: randomUUID(), name: input.name, ...dates }, secret: randomBytes(24).toString('hex') }
    this.rows.set(created.token.id, created)
    return created
  }

  async list(_: Principal, page: PageRequest): Promise<Page<ApiToken>> {
    return pageOf(
      [...this.rows.values()].map(({ token }) => token),
      page,
    )
  }

  async revoke(_: Principal, idOrName: string): Promise<void> {
    const found = [...this.rows.values()].find(({ token }) => token.id === idOrName || token.name === idOrName)
    this.rows.delete(found?.token.id ?? missing('token'))
  }
}

export class InMemoryAudit implements AuditReader {
  /** Newest first. */
  events: StoredAuditEvent[] = []
  firstBad: { writer: string; seq: number; reason: string } | null = null

  async list(_: Principal, page: Parameters<AuditReader['list']>[1]): Promise<Page<StoredAuditEvent>> {
    const wanted = this.events.filter(
      (event) =>
        (page.host === undefined || ('host' in event && event.host === page.host)) &&
        (page.decision === undefined || ('decision' in event && event.decision === page.decision)),
    )
    return pageOf(wanted, page)
  }

  async verify() {
    const ok = this.firstBad === null
    return { ok, events: this.events.length, writers: 1, checkpoints: 1, firstBad: this.firstBad }
  }
}

function pageOf<T>(all: readonly T[], { limit, cursor }: PageRequest): Page<T> {
  const start = Number(cursor ?? 0)
  const next = start + limit
  return { items: all.slice(start, next), nextCursor: next < all.length ? String(next) : null }
}

function crockford(): string {
  return randomBytes(26)
    .toString('hex')
    .replace(/[^0-9a-f]/g, '')
    .slice(0, 26)
}

function missing(what: string): never {
  throw new CoatcheckError('not_found', `There is no such ${what}.`, 'Check its name or id.')
}

function conflict(message: string): CoatcheckError {
  return new CoatcheckError('conflict', message, 'Choose another name, or update the existing one.')
}

function invalid(field: string, fix: string): CoatcheckError {
  return new CoatcheckError('invalid_input', `${field} is not as it must be.`, fix)
}
