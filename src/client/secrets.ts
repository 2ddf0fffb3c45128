/** Secrets: values go in, and come out only by `reveal` and `export`, which the server records and counts first. */
import { path } from './address.ts'
import { concealed } from './concealed.ts'
import type { CallOptions, Connection, CreateOptions } from './connection.ts'
import { creating } from './creating.ts'
import { Listing } from './listing.ts'
import type * as types from './types.ts'

const SECRETS = '/v1/secrets'

export interface UpdateOptions extends CallOptions {
  /** Throws `precondition_failed` when the secret is at another version. */
  readonly ifVersion?: number
}

export interface DeleteOptions extends CallOptions {
  /** True keeps the values for `revive`; otherwise they are destroyed. */
  readonly soft?: boolean
}

export interface RevealOptions extends CallOptions {
  /** Default: the current one. */
  readonly version?: number
}

export class Secrets {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Throws `conflict` when there is one of that name. */
  async create(params: types.CreateSecretParams, options: CreateOptions = {}): Promise<types.Secret> {
    return await this.#connection.call('POST', SECRETS, creating(params, options), options)
  }

  /** By id or name, as everywhere here. Throws `not_found`; what belongs to others is not found either. */
  async get(idOrName: string, options: CallOptions = {}): Promise<types.Secret> {
    return await this.#connection.call('GET', path(SECRETS, idOrName), {}, options)
  }

  list(query: types.SecretQuery = {}, options: CallOptions = {}): Listing<types.Secret, types.SecretPage> {
    return new Listing((cursor) => this.#connection.call('GET', SECRETS, { query: { ...query, cursor } }, options))
  }

  /** A value makes a new version; the placeholder stays. */
  async update(idOrName: string, params: types.UpdateSecretParams, options: UpdateOptions = {}): Promise<types.Secret> {
    const { ifVersion } = options
    const headers = ifVersion === undefined ? {} : { 'if-match': `"${ifVersion}"` }
    return await this.#connection.call('PATCH', path(SECRETS, idOrName), { body: params, headers }, options)
  }

  /** Stores a new value. */
  async rotate(idOrName: string, value: string, options: UpdateOptions = {}): Promise<types.Secret> {
    return await this.update(idOrName, { value }, options)
  }

  /** Destroys the values, or keeps them for `revive`. */
  async delete(idOrName: string, options: DeleteOptions = {}): Promise<void> {
    const query = { soft: options.soft }
    await this.#connection.call('DELETE', path(SECRETS, idOrName), { query }, options)
  }

  /** Brings back what was deleted softly. */
  async revive(idOrName: string, options: CallOptions = {}): Promise<types.Secret> {
    return await this.#connection.call('POST', path(SECRETS, idOrName, 'revive'), {}, options)
  }

  /** Stores a random value that nobody sees; makes the secret when there is none. */
  async generate(
    idOrName: string,
    params: types.GenerateSecretParams = {},
    options: CreateOptions = {},
  ): Promise<types.Secret> {
    const sending = creating(params, options)
    return await this.#connection.call('POST', path(SECRETS, idOrName, 'generate'), sending, options)
  }

  /** Throws `forbidden` where the read policy or the caller's permissions do not allow it. Recorded, counted, never repeated. */
  async reveal(idOrName: string, options: RevealOptions = {}): Promise<types.RevealedSecret> {
    const version = options.version === undefined ? [] : ['versions', options.version]
    const target = path(SECRETS, idOrName, ...version, 'value')
    const document = await this.#connection.call<types.RevealedSecret>('POST', target, {}, options)
    return concealed(document, ['value'])
  }

  versions(idOrName: string, options: CallOptions = {}): Listing<types.SecretVersion> {
    const target = path(SECRETS, idOrName, 'versions')
    return new Listing((cursor) => this.#connection.call('GET', target, { query: { cursor } }, options))
  }

  async version(idOrName: string, version: number, options: CallOptions = {}): Promise<types.SecretVersion> {
    return await this.#connection.call('GET', path(SECRETS, idOrName, 'versions', version), {}, options)
  }

  /** Never released or read until it is enabled. */
  async disableVersion(idOrName: string, version: number, options: CallOptions = {}): Promise<types.SecretVersion> {
    return await this.#switch(idOrName, version, 'disable', options)
  }

  async enableVersion(idOrName: string, version: number, options: CallOptions = {}): Promise<types.SecretVersion> {
    return await this.#switch(idOrName, version, 'enable', options)
  }

  /** Which secret each mount of a sandbox means, where it may go, and why not another. */
  async effective(sandbox: string, options: CallOptions = {}): Promise<types.EffectiveSecrets> {
    return await this.#connection.call('GET', `${SECRETS}/effective`, { query: { sandbox } }, options)
  }

  /** Not used since that time (ISO 8601), the longest first. */
  unused(since: string, page: types.PageSize = {}, options: CallOptions = {}): Listing<types.UnusedSecret> {
    const target = `${SECRETS}/unused`
    return new Listing((cursor) => this.#connection.call('GET', target, { query: { ...page, since, cursor } }, options))
  }

  /** Due for rotation, the longest first. */
  rotationDue(page: types.PageSize = {}, options: CallOptions = {}): Listing<types.Secret> {
    const target = `${SECRETS}/rotation-due`
    return new Listing((cursor) => this.#connection.call('GET', target, { query: { ...page, cursor } }, options))
  }

  /** Writes each secret of a dotenv or JSON text by itself, and reports on each. */
  async import(params: types.ImportSecretsParams, options: CallOptions = {}): Promise<types.ImportReport> {
    return await this.#connection.call('POST', `${SECRETS}/import`, { body: params }, options)
  }

  /** Reads every value that may be read, each as `reveal` does. */
  async export(params: types.ExportSecretsParams, options: CallOptions = {}): Promise<types.ExportedSecrets> {
    const sending = { body: params }
    const document = await this.#connection.call<types.ExportedSecrets>('POST', `${SECRETS}/export`, sending, options)
    return concealed(document, ['text'])
  }

  async #switch(
    idOrName: string,
    version: number,
    verb: 'disable' | 'enable',
    options: CallOptions,
  ): Promise<types.SecretVersion> {
    const target = path(SECRETS, idOrName, 'versions', version, verb)
    return await this.#connection.call('POST', target, { repeatable: true }, options)
  }
}
