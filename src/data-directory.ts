/**
 * Everything behind one data directory, opened and checked in order: database, keyring, audit log, authority, stores.
 * The server and the commands that work without a server open the same.
 */
import { mkdir } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import tls from 'node:tls'
import type { ApiDeps, Gauge } from './api/dependencies.ts'
import { openIdLogin, type TokenVerifier } from './api/oidc.ts'
import { AuditLog } from './audit/audit-log.ts'
import { AuditRecords } from './audit/records.ts'
import { openSink } from './audit/sinks.ts'
import { Authority } from './authority/authority.ts'
import { writeTrustFiles } from './authority/trust-files.ts'
import { trustBundle } from './authority/trust-store.ts'
import { secretParts } from './core/aws-credentials.ts'
import type { ClientTrust } from './core/client-environment.ts'
import type { Clock, Log, SecretReader, SecretUsage } from './core/ports.ts'
import type { Principal } from './core/principal.ts'
import type { Scrubber } from './core/scrub.ts'
import type { MountedSecret, SecretValue } from './core/secret.ts'
import type { Settings } from './settings.ts'
import { type BackupReport, createBackup } from './vault/backup.ts'
import { changeEvent, momentOf } from './vault/change.ts'
import { type Database, openDatabase } from './vault/database.ts'
import { rotateKeyring } from './vault/key-rotation.ts'
import { openKeyring } from './vault/keyring.ts'
import { Policies } from './vault/policies.ts'
import { Principals } from './vault/principals.ts'
import { KeptRepetitions } from './vault/repetitions.ts'
import { RotationReminder } from './vault/rotation-reminder.ts'
import { Sandboxes } from './vault/sandboxes.ts'
import { Vaults, Workspaces } from './vault/scopes.ts'
import { Sealer } from './vault/seal.ts'
import { MountedSecrets } from './vault/secret-reader.ts'
import { Reports } from './vault/secret-reports.ts'
import { Reveals } from './vault/secret-reveals.ts'
import { UsageRecorder } from './vault/secret-usage.ts'
import { Secrets } from './vault/secrets.ts'
import { Tokens } from './vault/tokens.ts'
import { WorkspacesSettings } from './vault/workspace-settings.ts'

/** Of one principal. */
const REQUESTS_PER_MINUTE = 60_000

export interface OpenOptions {
  readonly settings: Settings
  readonly log: Log
  readonly scrub: Scrubber
  readonly clock: Clock
  /** Where the public certificate is exported for people; null = nowhere. */
  readonly exportDir: string | null
  /** False: no audit lines on standard output, which belongs to the command. */
  readonly ship: boolean
}

export class DataDirectory {
  readonly path: string
  readonly clock: Clock
  readonly database: Database
  readonly audit: AuditLog
  readonly records: AuditRecords
  readonly authority: Authority
  readonly trust: Required<ClientTrust>
  readonly secrets: Secrets
  readonly sandboxes: Sandboxes
  readonly tokens: Tokens
  readonly reveals: Reveals
  readonly reports: Reports
  readonly workspaces: Workspaces
  readonly vaults: Vaults
  readonly principals: Principals
  readonly policies: Policies
  readonly settings: WorkspacesSettings
  readonly repetitions: KeptRepetitions
  readonly usage: UsageRecorder
  readonly reminder: RotationReminder
  readonly mounted: SecretReader
  readonly oidc: TokenVerifier | null
  readonly adminToken: { readonly path: string; readonly created: boolean }
  /** Adds a key-encryption key, makes it current and wraps every data key anew. Recorded first. */
  readonly rotateKeyring: (principal: Principal) => ReturnType<typeof rotateKeyring>

  private constructor(parts: Omit<DataDirectory, 'close' | 'apiDeps' | 'backup'>) {
    this.path = parts.path
    this.clock = parts.clock
    this.database = parts.database
    this.audit = parts.audit
    this.records = parts.records
    this.authority = parts.authority
    this.trust = parts.trust
    this.secrets = parts.secrets
    this.sandboxes = parts.sandboxes
    this.tokens = parts.tokens
    this.reveals = parts.reveals
    this.reports = parts.reports
    this.workspaces = parts.workspaces
    this.vaults = parts.vaults
    this.principals = parts.principals
    this.policies = parts.policies
    this.settings = parts.settings
    this.repetitions = parts.repetitions
    this.usage = parts.usage
    this.reminder = parts.reminder
    this.mounted = parts.mounted
    this.oidc = parts.oidc
    this.adminToken = parts.adminToken
    this.rotateKeyring = parts.rotateKeyring
  }

  /** Throws `database_unusable`, `keyring_unusable`, `authority_unusable`; nothing found there is then changed. */
  static async open(options: OpenOptions): Promise<DataDirectory> {
    const { settings, log, clock } = options
    const path = resolve(settings.dataDir)
    await mkdir(path, { recursive: true, mode: 0o700 })
    // Whatever was opened is closed again when a later step refuses to start.
    await using opened = new AsyncDisposableStack()
    const database = opened.adopt(await openDatabase({ url: settings.database, dataDir: path, clock }), (each) =>
      each.close(),
    )
    const keyring = await openKeyring({ dir: path, source: settings.keyring.source, database, clock })
    const audit = opened.adopt(await openAudit(options, path, database.file), (each) => each.close())
    const authority = await Authority.open({ dir: path, exportDir: options.exportDir, clock })
    for (const warning of authority.warnings) log.warn({}, warning)
    const sealer = new Sealer(keyring)
    const stores = { database, audit, clock }
    const tokens = new Tokens(stores)
    const usage = new UsageRecorder(database, log)
    const reminder = new RotationReminder(stores)
    reminder.start()
    const directory = new DataDirectory({
      path,
      clock,
      database,
      audit,
      records: new AuditRecords({ databaseFile: database.file, dataDir: path }),
      authority,
      trust: await writeTrustFiles(join(path, 'trust'), authority.certificatePem, systemRoots()),
      ...storesOf(stores, { sealer, usage, tokens, settings, scrub: options.scrub }),
      usage,
      reminder,
      mounted: watched(new MountedSecrets({ database, sealer, clock }), { scrub: options.scrub, usage, clock }),
      oidc:
        settings.api.oidc === null
          ? null
          : await openIdLogin(settings.api.oidc, { principals: new Principals(stores), log }),
      adminToken: await tokens.ensureAdminToken(path),
      rotateKeyring: (principal) => rotateKeyring({ ...stores, keyring, sealer }, principal),
    })
    opened.move()
    return directory
  }

  /** What the API serves of this directory. */
  apiDeps(server: Pick<ApiDeps, 'proxyUrl' | 'ready' | 'log' | 'allowedHosts'>): ApiDeps {
    const { certificatePem, fingerprint, notAfter } = this.authority
    const { secrets, reveals, reports, sandboxes, tokens, workspaces, vaults, principals, policies, settings } = this
    const stores = { secrets, reveals, reports, sandboxes, tokens, workspaces, vaults, principals, policies, settings }
    return {
      ...stores,
      repetitions: this.repetitions,
      audit: this.records,
      trail: this.records,
      gauges: () => this.#gauges(),
      oidc: this.oidc,
      requestsPerMinute: REQUESTS_PER_MINUTE,
      authority: {
        certificatePem,
        fingerprint,
        notAfter,
        bundlePem: () => trustBundle(certificatePem, systemRoots()),
      },
      trust: this.trust,
      ...server,
    }
  }

  #gauges(): readonly Gauge[] {
    const { commits, events } = this.audit.written
    return [
      { name: 'coatcheck_audit_healthy', help: 'Whether events can be written.', value: this.audit.healthy ? 1 : 0 },
      { name: 'coatcheck_audit_commits_total', help: 'Transactions of events written.', value: commits },
      { name: 'coatcheck_audit_events_total', help: 'Events written.', value: events },
      { name: 'coatcheck_memory_bytes', help: 'Resident memory of the process.', value: process.memoryUsage.rss() },
    ]
  }

  /** Writes all of it into one encrypted file, which must not be there yet; `restoreBackup` is the way back. Recorded first. */
  async backup(principal: Principal, file: string, passphrase: string): Promise<BackupReport> {
    const target = { kind: 'backup', id: this.database.defaultAccountId, name: basename(file) }
    await this.audit.append([changeEvent(principal, target, 'backup.create', [], momentOf(this.clock))])
    return await createBackup({ database: this.database, dataDir: this.path, passphrase, file, clock: this.clock })
  }

  async close(): Promise<void> {
    this.reminder.stop()
    await this.usage.flush()
    await this.audit.close()
    this.records.close()
    await this.database.close()
  }
}

interface StoreParts {
  readonly database: Database
  readonly audit: AuditLog
  readonly clock: Clock
}

interface StoreOptions {
  readonly sealer: Sealer
  readonly usage: UsageRecorder
  readonly tokens: Tokens
  readonly settings: Settings
  readonly scrub: Scrubber
}

/** The stores of the control plane, over one database and one log. */
function storesOf(parts: StoreParts, { sealer, usage, tokens, settings, scrub }: StoreOptions) {
  const policy = { requireHosts: settings.secrets.requireHosts, defaultPlacements: settings.secrets.placements }
  return {
    secrets: new Secrets({ ...parts, sealer, policy }),
    sandboxes: new Sandboxes(parts),
    tokens,
    reveals: new Reveals({ ...parts, sealer, usage, watch: (value) => scrub.watch(value) }),
    reports: new Reports(parts),
    workspaces: new Workspaces(parts),
    vaults: new Vaults(parts),
    principals: new Principals(parts),
    policies: new Policies(parts),
    settings: new WorkspacesSettings(parts),
    repetitions: new KeptRepetitions({ ...parts, sealer }),
  }
}

async function openAudit(options: OpenOptions, dataDir: string, databaseFile: string): Promise<AuditLog> {
  const { settings, log, clock, scrub } = options
  const specs = options.ship ? settings.audit.sinks : settings.audit.sinks.filter((spec) => spec !== 'stdout')
  const sinks = specs.map((spec) => openSink(spec, { scrub, log })).filter((sink) => sink !== undefined)
  return await AuditLog.open({ databaseFile, dataDir, durability: settings.audit.durability, sinks, clock, log })
}

/** The roots a client has without us: the system's, and Node's own where the system has none. */
function systemRoots(): string {
  const system = tls.getCACertificates('system')
  return (system.length > 0 ? system : tls.getCACertificates('bundled')).join('\n')
}

interface Watching {
  readonly scrub: Scrubber
  readonly usage: SecretUsage
  readonly clock: Clock
}

/** Every value that is opened is known to the scrubber before it can reach a line, and counts as used. */
function watched(reader: SecretReader, { scrub, usage, clock }: Watching): SecretReader {
  const opened = (secret: MountedSecret, value: SecretValue): SecretValue => {
    for (const each of secretParts(secret, value)) scrub.watch(each)
    usage.used(secret.id, clock())
    return value
  }
  return {
    find: (sandbox, token) => reader.find(sandbox, token),
    placeable: (sandbox, kind) => reader.placeable(sandbox, kind),
    anyMountedAllows: (sandbox, host) => reader.anyMountedAllows(sandbox, host),
    open: (secret) => {
      const value = reader.open(secret)
      return value instanceof Promise ? value.then((each) => opened(secret, each)) : opened(secret, value)
    },
  }
}
