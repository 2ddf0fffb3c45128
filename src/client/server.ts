/** The server itself: whether it works, its figures, and the public side of its authority. */
import type { CallOptions, Connection } from './connection.ts'
import type * as types from './types.ts'

export class Server {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Resolves when the process answers. */
  async live(options: CallOptions = {}): Promise<void> {
    await this.#connection.call('GET', '/healthz', {}, options)
  }

  /** Whether exchanges can be made; a server that is not ready is an answer, and is not thrown. */
  async ready(options: CallOptions = {}): Promise<types.Readiness> {
    return await this.#connection.call('GET', '/readyz', { accepted: [503] }, options)
  }

  /** As Prometheus reads them. */
  async metrics(options: CallOptions = {}): Promise<string> {
    return await this.#connection.text('GET', '/metrics', {}, options)
  }

  /** The API as OpenAPI 3.1. */
  async openapi(options: CallOptions = {}): Promise<Readonly<Record<string, unknown>>> {
    return await this.#connection.call('GET', '/openapi.json', {}, options)
  }

  /** The API as a page for people (HTML). */
  async reference(options: CallOptions = {}): Promise<string> {
    return await this.#connection.text('GET', '/reference', {}, options)
  }
}

/** What sandboxes trust. A key is never here. */
export class Authority {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async get(options: CallOptions = {}): Promise<types.AuthorityCertificate> {
    return await this.#connection.call('GET', '/v1/authority', {}, options)
  }

  /** As PEM. */
  async certificate(options: CallOptions = {}): Promise<string> {
    return await this.#connection.text('GET', '/v1/authority/certificate', {}, options)
  }

  /** The system's certificates and the authority's as PEM. */
  async bundle(options: CallOptions = {}): Promise<string> {
    return await this.#connection.text('GET', '/v1/authority/bundle', {}, options)
  }
}
