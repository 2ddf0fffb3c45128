/** The shapes that calls take and answer, derived from the API's own schemas, so that they cannot differ from the server's. */
import type { Static } from 'typebox'
import type * as audit from '../api/contract/audit.ts'
import type * as sandboxes from '../api/contract/sandboxes.ts'
import type * as scopes from '../api/contract/scopes.ts'
import type * as reports from '../api/contract/secret-reports.ts'
import type * as secrets from '../api/contract/secrets.ts'
import type * as server from '../api/contract/server.ts'
import type * as tokens from '../api/contract/tokens.ts'
import type { PageOf } from '../api/contract.ts'

export type Page<T> = PageOf<T>
/** How many items are fetched at once: 1 to 200. */
export interface PageSize {
  readonly limit?: number
}

export type Secret = secrets.SecretDocument
export type CreateSecretParams = secrets.SecretCreate
/** Omitted = unchanged; null clears where null is allowed. A value makes a new version. */
export type UpdateSecretParams = secrets.SecretUpdate
export type GenerateSecretParams = secrets.SecretGenerate
export type SecretVersion = secrets.VersionDocument
/** `value` is read by name and is in no log, JSON or spread. */
export type RevealedSecret = secrets.RevealDocument
export type SecretPage = Static<typeof secrets.SecretPage>
type SecretQueryText = Static<typeof secrets.SecretQuery>
export type SecretQuery = Omit<SecretQueryText, 'cursor' | 'deleted' | 'total' | 'labels'> & {
  /** True: softly deleted ones too. */
  readonly deleted?: boolean
  /** True: every page tells how many match. */
  readonly total?: boolean
  /** All of these must match. */
  readonly labels?: Readonly<Record<string, string>>
}
export type EffectiveSecrets = reports.EffectiveDocument
export type UnusedSecret = reports.UnusedPage['items'][number]
export type ImportSecretsParams = reports.ImportRequest
export type ImportReport = reports.ImportReport
export type ExportSecretsParams = reports.ExportRequest
/** `text` holds values: it is read by name and is in no log, JSON or spread. */
export type ExportedSecrets = reports.ExportDocument

export type Sandbox = sandboxes.SandboxDocument
export type CreateSandboxParams = Static<typeof sandboxes.SandboxCreate>
/** Environment variable name -> secret. */
export type Mounts = Static<typeof sandboxes.MountsReplace>['mounts']
/** `token`, `proxyUrl` and `env` are read by name and are in no log, JSON or spread. */
export type SandboxCredentials = sandboxes.SandboxCredentials
export type SandboxEnvironment = sandboxes.SandboxEnvironment

export type Scope = scopes.ScopeDocument
export type CreateScopeParams = Static<typeof scopes.ScopeCreate>
export type WorkspaceSettings = scopes.SettingsDocument
/** Omitted = unchanged; null = as the server's settings say. */
export type UpdateWorkspaceSettingsParams = Static<typeof scopes.SettingsUpdate>
export type Policy = scopes.PolicyDocument
export type PolicyParams = Static<typeof scopes.PolicyWrite>

export type Token = tokens.TokenDocument
export type CreateTokenParams = tokens.TokenCreate
/** `token` is read by name and is in no log, JSON or spread. */
export type CreatedToken = tokens.TokenCreated
export type Principal = tokens.PrincipalDocument
export type CreatePrincipalParams = Static<typeof tokens.PrincipalCreate>
export type PrincipalQuery = Omit<Static<typeof tokens.PrincipalQuery>, 'cursor'>
export type Caller = tokens.CallerDocument

export type AuditEvent = audit.AuditEventDocument
export type AuditFilter = audit.AuditStreamQuery
export type AuditQuery = Omit<Static<typeof audit.AuditQuery>, 'cursor'>
export type AuditVerification = audit.VerifyDocument
export type AuditCheckpoint = audit.CheckpointDocument

export type AuthorityCertificate = server.AuthorityDocument
export type Readiness = server.ReadyDocument
