/** What each workspace decides for itself; kept in memory until anything changes, so that the proxy asks without waiting. */
import type { Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import { CoatcheckError } from '../core/errors.ts'
import { formatPlacement, parsePlacement } from '../core/placement.ts'
import type { Principal } from '../core/principal.ts'
import { checkPlacementCount } from '../core/secret-rules.ts'
import {
  NO_WORKSPACE_SETTINGS,
  type WorkspacePolicyReader,
  type WorkspaceSettings,
  type WorkspaceSettingsStore,
} from '../core/workspace-settings.ts'
import { requireAbility } from './access.ts'
import { Changes, type ChangesOptions, notFound } from './change.ts'
import type { Database } from './database.ts'
import type { Schema, WorkspaceSettingsRow } from './schema.ts'

const MAX_WORKSPACES = 10_000
const ANSWERS = ['refuse', 'withhold', 'report'] as const

export class WorkspacesSettings implements WorkspaceSettingsStore, WorkspacePolicyReader {
  readonly #database: Database
  readonly #changes: Changes
  readonly #known = new LRUCache<string, WorkspaceSettings>({ max: MAX_WORKSPACES })
  #revision = 0

  constructor(options: ChangesOptions) {
    this.#database = options.database
    this.#changes = new Changes(options)
  }

  async get(principal: Principal): Promise<WorkspaceSettings> {
    requireAbility(principal, 'settings.view')
    return await this.#database.query(async (db) => await findSettings(db, principal.workspaceId))
  }

  async update(principal: Principal, patch: Partial<WorkspaceSettings>): Promise<WorkspaceSettings> {
    requireAbility(principal, 'settings.manage')
    // The account has no settings of its own: the server's are above those of a workspace.
    if (principal.workspaceId === principal.accountId) throw notFound('workspace')
    return await this.#changes.make(principal, async () => {
      const old = await this.#database.query(async (db) => await findSettings(db, principal.workspaceId))
      const settings = checkSettings({ ...old, ...patch })
      const row = rowOf(principal.workspaceId, settings)
      return {
        action: 'workspace.settings',
        target: { kind: 'workspace', id: principal.workspaceId, name: principal.workspaceId },
        fields: Object.keys(patch),
        apply: async (trx) => {
          const { workspace_id: _, ...columns } = row
          await trx
            .insertInto('workspace_settings')
            .values(row)
            .onConflict((conflict) => conflict.column('workspace_id').doUpdateSet(columns))
            .execute()
          return settings
        },
      }
    })
  }

  settingsOf(workspaceId: string): WorkspaceSettings | Promise<WorkspaceSettings> {
    const revision = this.#database.revision()
    if (revision !== this.#revision) {
      this.#revision = revision
      this.#known.clear()
    }
    return this.#known.get(workspaceId) ?? this.#load(workspaceId, revision)
  }

  async #load(workspaceId: string, revision: number): Promise<WorkspaceSettings> {
    const settings = await this.#database.query(async (db) => await findSettings(db, workspaceId))
    if (revision === this.#revision && revision === this.#database.revision()) this.#known.set(workspaceId, settings)
    return settings
  }
}

export async function findSettings(db: Kysely<Schema>, workspaceId: string): Promise<WorkspaceSettings> {
  const row = await db
    .selectFrom('workspace_settings')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .executeTakeFirst()
  if (row === undefined) return NO_WORKSPACE_SETTINGS
  return Object.freeze({
    requireHosts: row.require_hosts === null ? null : row.require_hosts === 1,
    onDenied: row.on_denied,
    inBody: row.in_body,
    placements: row.placements === null ? null : (JSON.parse(row.placements) as string[]),
  })
}

function checkSettings(settings: WorkspaceSettings): WorkspaceSettings {
  const { requireHosts, onDenied, inBody, placements } = settings
  for (const answer of [onDenied, inBody]) {
    if (answer !== null && !ANSWERS.includes(answer)) {
      throw new CoatcheckError('invalid_input', 'There is no such answer.', `Answers are: ${ANSWERS.join(', ')}.`)
    }
  }
  if (placements !== null) checkPlacementCount(placements.length)
  return {
    requireHosts,
    onDenied,
    inBody,
    placements: placements?.map((text) => formatPlacement(parsePlacement(text))) ?? null,
  }
}

function rowOf(workspace_id: string, settings: WorkspaceSettings): WorkspaceSettingsRow {
  const { requireHosts, onDenied, inBody, placements } = settings
  return {
    workspace_id,
    require_hosts: requireHosts === null ? null : Number(requireHosts),
    on_denied: onDenied,
    in_body: inBody,
    placements: placements === null ? null : JSON.stringify(placements),
  }
}
