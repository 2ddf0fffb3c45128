/** Where secrets live: the account, its workspaces with their settings, and the vaults of a workspace. */
import { path } from './address.ts'
import type { CallOptions, Connection, CreateOptions } from './connection.ts'
import { creating } from './creating.ts'
import { Listing } from './listing.ts'
import type * as types from './types.ts'

/** What workspaces and vaults have in common. */
class Scopes {
  protected readonly collection: string
  readonly #connection: Connection

  constructor(connection: Connection, collection: string) {
    this.#connection = connection
    this.collection = collection
  }

  async create(params: types.CreateScopeParams, options: CreateOptions = {}): Promise<types.Scope> {
    return await this.#connection.call('POST', this.collection, creating(params, options), options)
  }

  /** By id, name or external key. */
  async get(idOrName: string, options: CallOptions = {}): Promise<types.Scope> {
    return await this.#connection.call('GET', path(this.collection, idOrName), {}, options)
  }

  list(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.Scope> {
    const query = (cursor: string | undefined) => ({ query: { ...page, cursor } })
    return new Listing((cursor) => this.#connection.call('GET', this.collection, query(cursor), options))
  }

  /** Destroys all that is in it. */
  async delete(idOrName: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call('DELETE', path(this.collection, idOrName), {}, options)
  }
}

export class Workspaces extends Scopes {
  readonly #connection: Connection

  constructor(connection: Connection) {
    super(connection, '/v1/workspaces')
    this.#connection = connection
  }

  /** The account that they are in. */
  async account(options: CallOptions = {}): Promise<types.Scope> {
    return await this.#connection.call('GET', '/v1/account', {}, options)
  }

  async settings(idOrName: string, options: CallOptions = {}): Promise<types.WorkspaceSettings> {
    return await this.#connection.call('GET', path(this.collection, idOrName, 'settings'), {}, options)
  }

  async updateSettings(
    idOrName: string,
    params: types.UpdateWorkspaceSettingsParams,
    options: CallOptions = {},
  ): Promise<types.WorkspaceSettings> {
    const sending = { body: params, repeatable: true }
    return await this.#connection.call('PATCH', path(this.collection, idOrName, 'settings'), sending, options)
  }
}

export class Vaults extends Scopes {
  constructor(connection: Connection) {
    super(connection, '/v1/vaults')
  }
}
