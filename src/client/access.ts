/** Who may do what: access policies, principals, and API tokens, each of which is shown once. */
import { path } from './address.ts'
import { concealed } from './concealed.ts'
import type { CallOptions, Connection, CreateOptions } from './connection.ts'
import { creating } from './creating.ts'
import { Listing } from './listing.ts'
import type * as types from './types.ts'

const POLICIES = '/v1/policies'
const PRINCIPALS = '/v1/principals'
const TOKENS = '/v1/tokens'

/** Of the scope at hand: who may, or may not, do what with the secrets under some paths. */
export class Policies {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async create(params: types.PolicyParams, options: CreateOptions = {}): Promise<types.Policy> {
    return await this.#connection.call('POST', POLICIES, creating(params, options), options)
  }

  async get(id: string, options: CallOptions = {}): Promise<types.Policy> {
    return await this.#connection.call('GET', path(POLICIES, id), {}, options)
  }

  /** Oldest first. */
  list(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.Policy> {
    return new Listing((cursor) => this.#connection.call('GET', POLICIES, { query: { ...page, cursor } }, options))
  }

  /** All of it: what is not given is as in a new one. */
  async replace(id: string, params: types.PolicyParams, options: CallOptions = {}): Promise<types.Policy> {
    return await this.#connection.call('PUT', path(POLICIES, id), { body: params }, options)
  }

  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call('DELETE', path(POLICIES, id), {}, options)
  }
}

/** Users and agents of the account. */
export class Principals {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Who the token speaks for, and where it acts. */
  async self(options: CallOptions = {}): Promise<types.Caller> {
    return await this.#connection.call('GET', `${PRINCIPALS}/self`, {}, options)
  }

  async create(params: types.CreatePrincipalParams, options: CreateOptions = {}): Promise<types.Principal> {
    return await this.#connection.call('POST', PRINCIPALS, creating(params, options), options)
  }

  async get(id: string, options: CallOptions = {}): Promise<types.Principal> {
    return await this.#connection.call('GET', path(PRINCIPALS, id), {}, options)
  }

  /** Oldest first. */
  list(query: types.PrincipalQuery = {}, options: CallOptions = {}): Listing<types.Principal> {
    return new Listing((cursor) => this.#connection.call('GET', PRINCIPALS, { query: { ...query, cursor } }, options))
  }

  /** Its tokens stop at once. */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call('DELETE', path(PRINCIPALS, id), {}, options)
  }
}

export class Tokens {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** The one answer that shows the token. */
  async create(params: types.CreateTokenParams, options: CreateOptions = {}): Promise<types.CreatedToken> {
    const sending = creating(params, options)
    return concealed(await this.#connection.call<types.CreatedToken>('POST', TOKENS, sending, options), ['token'])
  }

  list(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.Token> {
    return new Listing((cursor) => this.#connection.call('GET', TOKENS, { query: { ...page, cursor } }, options))
  }

  /** It stops at once. */
  async revoke(idOrName: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call('DELETE', path(TOKENS, idOrName), {}, options)
  }
}
