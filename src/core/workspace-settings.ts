/** What one workspace decides for itself, over the server's settings. Null = as the server says. */
import type { Principal } from './principal.ts'

export type DeniedAnswer = 'refuse' | 'withhold' | 'report'

export interface WorkspaceSettings {
  /** Refuse secrets without hosts. */
  readonly requireHosts: boolean | null
  /** What becomes of a request whose placeholder may not be released. */
  readonly onDenied: DeniedAnswer | null
  /** What becomes of a placeholder in a body. */
  readonly inBody: DeniedAnswer | null
  /** Placement texts of a secret that names none. */
  readonly placements: readonly string[] | null
}

export const NO_WORKSPACE_SETTINGS: WorkspaceSettings = Object.freeze({
  requireHosts: null,
  onDenied: null,
  inBody: null,
  placements: null,
})

export interface WorkspaceSettingsStore {
  get(principal: Principal): Promise<WorkspaceSettings>
  /** Omitted = unchanged; null = as the server says. */
  update(principal: Principal, patch: Partial<WorkspaceSettings>): Promise<WorkspaceSettings>
}

/** For the proxy: without a promise when nothing changed since it was last asked. */
export interface WorkspacePolicyReader {
  settingsOf(workspaceId: string): WorkspaceSettings | Promise<WorkspaceSettings>
}
