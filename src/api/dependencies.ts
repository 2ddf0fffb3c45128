/** What the API is built from, and the type its routes are registered on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ClientTrust } from '../core/client-environment.ts'
import type { AuditReader, Log, SandboxStore, SecretStore, TokenStore } from '../core/ports.ts'

export interface ApiDeps {
  readonly secrets: SecretStore
  readonly sandboxes: SandboxStore
  readonly tokens: TokenStore
  readonly audit: AuditReader
  readonly authority: {
    readonly certificatePem: string
    /** SHA-256, colon-separated hex. */
    readonly fingerprint: string
    readonly notAfter: Date
    /** The system's certificates and the authority's. */
    bundlePem(): string
  }
  /** Where sandboxes reach the proxy, without credentials: `http://127.0.0.1:8080`. */
  readonly proxyUrl: () => string
  /** Files as sandboxes see them; null when nothing was exported. */
  readonly trust: ClientTrust | null
  readonly ready: () => { readonly ok: boolean; readonly checks: Readonly<Record<string, boolean>> }
  readonly log: Log
  /** Names this API answers to, each `host` (any port) or `host:port`; compared with Host and Origin. */
  readonly allowedHosts: () => readonly string[]
}

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>
