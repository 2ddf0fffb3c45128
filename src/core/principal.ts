/**
 * Who calls the API, in what role, and on which scope.
 *
 * A credential is for one audience: the control plane, or a runner that resolves mounts for a platform. Sandbox tokens are
 * neither (they identify a sandbox to the proxy), so no credential is ever accepted where another belongs.
 */
import type { Page, PageRequest } from './page.ts'

export type PrincipalKind = 'user' | 'api_key' | 'agent' | 'system'

/** What a principal may do unless a policy says otherwise; see core/permission.ts. */
export type Role = 'admin' | 'member' | 'viewer' | 'agent' | 'runner'

export const ROLES: readonly Role[] = ['admin', 'member', 'viewer', 'agent', 'runner']

export type Audience = 'control' | 'runner'

export interface Principal {
  readonly kind: PrincipalKind
  readonly id: string
  readonly name: string
  /** The workspace it acts in; the account's id while it acts on the account itself. */
  readonly workspaceId: string
  readonly role: Role
  readonly accountId: string
  /** Whose secrets it acts on: the workspace, its account, or a vault in it. */
  readonly scopeId: string
  /** The scope its credential is limited to: it may enter that one and those below (`ScopeStore.enter`). */
  readonly homeId: string
  /** A runner's credential may be for one sandbox only; null = every sandbox of its home. */
  readonly sandboxId: string | null
}

/** A principal as others see it. */
export interface Profile {
  readonly id: string
  readonly accountId: string
  readonly kind: PrincipalKind
  readonly name: string
  readonly email: string | null
  readonly role: Role
  /** Who it is to an identity provider, such as `issuer|subject`; null for those made here. */
  readonly externalId: string | null
  readonly createdAt: string
}

export interface NewPrincipal {
  readonly kind: 'user' | 'agent'
  readonly name: string
  readonly email?: string | null
  readonly role: Role
  readonly externalId?: string | null
}

/** Users and agents of the principal's account. Only `admin` changes them. */
export interface PrincipalStore {
  /** Throws `conflict` when a live one has the external id. */
  create(principal: Principal, input: NewPrincipal): Promise<Profile>
  /** `not_found` for missing and foreign alike. */
  get(principal: Principal, id: string): Promise<Profile>
  list(principal: Principal, page: PageRequest & { readonly kind?: PrincipalKind }): Promise<Page<Profile>>
  /** Its tokens stop working at once. */
  delete(principal: Principal, id: string): Promise<void>
  /** For a login by an identity provider: who has this external id, acting in its account's first workspace; or undefined. */
  byExternalId(externalId: string): Promise<Principal | undefined>
}
