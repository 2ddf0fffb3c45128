/** A whole vault on a real database in a temporary directory, with a log that remembers and a clock that is set. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditEvent, ChangeEvent } from '../../src/core/audit-event.ts'
import { uuidv7 } from '../../src/core/id.ts'
import type { AuditAppender, Principal } from '../../src/core/ports.ts'
import type { SecretValue } from '../../src/core/secret.ts'
import { type Database, openDatabase } from '../../src/vault/database.ts'
import { openKeyring } from '../../src/vault/keyring.ts'
import { Policies } from '../../src/vault/policies.ts'
import { Principals } from '../../src/vault/principals.ts'
import { RotationReminder } from '../../src/vault/rotation-reminder.ts'
import { Sandboxes } from '../../src/vault/sandboxes.ts'
import { Vaults, Workspaces } from '../../src/vault/scopes.ts'
import { Sealer } from '../../src/vault/seal.ts'
import { MountedSecrets } from '../../src/vault/secret-reader.ts'
import { Reports } from '../../src/vault/secret-reports.ts'
import { Reveals } from '../../src/vault/secret-reveals.ts'
import { UsageRecorder } from '../../src/vault/secret-usage.ts'
import { type SecretPolicy, Secrets } from '../../src/vault/secrets.ts'
import { Tokens } from '../../src/vault/tokens.ts'
import { WorkspacesSettings } from '../../src/vault/workspace-settings.ts'

export class RememberedLog implements AuditAppender {
  readonly events: AuditEvent[] = []
  refusal: Error | null = null

  async append(events: readonly AuditEvent[]): Promise<void> {
    if (this.refusal !== null) throw this.refusal
    this.events.push(...events)
  }

  get actions(): readonly string[] {
    return this.events.map((event) => (event as ChangeEvent).action)
  }
}

export class SetClock {
  now = Date.parse('2030-01-01T00:00:00.000Z')
  readonly read = (): number => this.now
}

const POLICY: SecretPolicy = { requireHosts: false, defaultPlacements: ['credential-headers'] }

export async function temporaryDirectory(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'coatcheck-vault-'))
}

export async function openVault(options: { dir?: string; policy?: Partial<SecretPolicy>; clock?: SetClock } = {}) {
  const dir = options.dir ?? join(await temporaryDirectory(), 'data')
  const clock = options.clock ?? new SetClock()
  const audit = new RememberedLog()
  const database = await openDatabase({ url: 'sqlite', dataDir: dir, clock: clock.read })
  const keyring = await openKeyring({ dir, source: 'file', database, clock: clock.read })
  const sealer = new Sealer(keyring)
  const parts = { database, sealer, audit, clock: clock.read }
  const tokens = new Tokens(parts)
  const usage = new UsageRecorder(database)
  const watched: SecretValue[] = []
  return {
    ...parts,
    dir,
    time: clock,
    keyring,
    tokens,
    secrets: new Secrets({ ...parts, policy: { ...POLICY, ...options.policy } }),
    sandboxes: new Sandboxes(parts),
    usage,
    /** What the scrubber of log lines was told of. */
    watched,
    reveals: new Reveals({ ...parts, usage, watch: (value) => void watched.push(value) }),
    reports: new Reports(parts),
    reminder: new RotationReminder(parts),
    workspaces: new Workspaces(parts),
    vaults: new Vaults(parts),
    principals: new Principals(parts),
    policies: new Policies(parts),
    settings: new WorkspacesSettings(parts),
    reader: new MountedSecrets(parts),
    owner: tokens.systemPrincipal(),
    file: join(dir, 'coatcheck.db'),
    async close(): Promise<void> {
      await database.close()
    },
    async remove(): Promise<void> {
      await database.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

export type Vault = Awaited<ReturnType<typeof openVault>>

/** A second workspace beside the default one, and somebody in it. */
export async function foreignPrincipal(database: Database): Promise<Principal> {
  const id = uuidv7(Date.now())
  await database.transaction(async (trx) => {
    const { parent_id } = await trx
      .selectFrom('scopes')
      .select('parent_id')
      .where('id', '=', database.defaultWorkspaceId)
      .executeTakeFirstOrThrow()
    await trx
      .insertInto('scopes')
      .values({
        id,
        kind: 'workspace',
        parent_id,
        external_key: null,
        name: `other-${id}`,
        created_at: new Date().toISOString(),
        deleted_at: null,
      })
      .execute()
  })
  const scope = { workspaceId: id, scopeId: id, homeId: id, accountId: database.defaultAccountId, sandboxId: null }
  return { kind: 'user', id: 'stranger', name: 'stranger', role: 'admin', ...scope }
}
