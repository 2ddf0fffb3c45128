/** Sandboxes: a token is in the answer that makes it and in no other. */
import { path } from './address.ts'
import { concealed } from './concealed.ts'
import type { CallOptions, Connection, CreateOptions } from './connection.ts'
import { creating } from './creating.ts'
import { Listing } from './listing.ts'
import type * as types from './types.ts'

const SANDBOXES = '/v1/sandboxes'
/** Each of them holds the token. */
const OPENING = ['token', 'proxyUrl', 'env'] as const

export class Sandboxes {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** `env` is what the workload gets: placeholders, proxy and trust variables. */
  async create(params: types.CreateSandboxParams, options: CreateOptions = {}): Promise<types.SandboxCredentials> {
    return opening(await this.#connection.call('POST', SANDBOXES, creating(params, options), options))
  }

  async get(idOrName: string, options: CallOptions = {}): Promise<types.Sandbox> {
    return await this.#connection.call('GET', path(SANDBOXES, idOrName), {}, options)
  }

  list(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.Sandbox> {
    return new Listing((cursor) => this.#connection.call('GET', SANDBOXES, { query: { ...page, cursor } }, options))
  }

  /** Replaces all mounts. */
  async setMounts(idOrName: string, mounts: types.Mounts, options: CallOptions = {}): Promise<types.Sandbox> {
    return await this.#connection.call('PUT', path(SANDBOXES, idOrName, 'mounts'), { body: { mounts } }, options)
  }

  /** All of its environment but the token. */
  async environment(idOrName: string, options: CallOptions = {}): Promise<types.SandboxEnvironment> {
    return await this.#connection.call('GET', path(SANDBOXES, idOrName, 'env'), {}, options)
  }

  /** A new token; the old one stops at once. */
  async rotateToken(idOrName: string, options: CallOptions = {}): Promise<types.SandboxCredentials> {
    return opening(await this.#connection.call('POST', path(SANDBOXES, idOrName, 'token'), {}, options))
  }

  /** Its token stops at once. */
  async delete(idOrName: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call('DELETE', path(SANDBOXES, idOrName), {}, options)
  }
}

function opening(document: types.SandboxCredentials): types.SandboxCredentials {
  return concealed(document, OPENING)
}
