/**
 * Scopes: account > workspace > vault. A workspace sees its account's secrets too, unless it has one of the same name;
 * a vault has its own and no others.
 */
import type { Page, PageRequest } from './page.ts'
import type { Principal } from './principal.ts'

export type ScopeKind = 'account' | 'workspace' | 'vault'

export interface Scope {
  readonly id: string
  readonly kind: ScopeKind
  readonly parentId: string | null
  /** Unique among its siblings. */
  readonly name: string
  readonly description: string | null
  /** A foreign system's key for it, such as a stack uid or a slug; unique within the account. */
  readonly externalKey: string | null
  readonly createdBy: string
  readonly createdAt: string
}

export interface NewScope {
  /** 1 to 128 printable characters; never the form of an id. */
  readonly name: string
  readonly description?: string | null
  readonly externalKey?: string | null
}

/** Workspaces of the principal's account, or vaults of its workspace. `ref` is an id, a name or an external key. */
export interface ScopeStore {
  /** Throws `conflict` on a taken name or external key. */
  create(principal: Principal, input: NewScope): Promise<Scope>
  /** Those the principal's credential reaches, by name. */
  list(principal: Principal, page: PageRequest): Promise<Page<Scope>>
  /** `not_found` for missing, foreign and out of reach alike. */
  get(principal: Principal, ref: string): Promise<Scope>
  /** Destroys every secret and sandbox in it and revokes its tokens. The workspace `default` is refused (`conflict`). */
  delete(principal: Principal, ref: string): Promise<void>
  /** The principal acting on that scope. `not_found` as `get`. */
  enter(principal: Principal, ref: string): Promise<Principal>
}

export type WorkspaceStore = ScopeStore & {
  /** The principal acting on its account itself. `not_found` when its credential is limited to less. */
  enterAccount(principal: Principal): Promise<Principal>
  /** The account, for those who see any of its workspaces. */
  account(principal: Principal): Promise<Scope>
}

export type VaultStore = ScopeStore
