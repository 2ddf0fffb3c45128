/**
 * The API without a network: the same routes, checks and audit, for a process that may open the data directory itself.
 * Who may open it owns it, so calls are made as the given principal; nothing listens.
 */
import { randomBytes } from 'node:crypto'
import type { Principal, TokenStore } from '../core/ports.ts'
import type { ApiDeps } from './dependencies.ts'
import { buildApi } from './server.ts'

const HOST = 'localhost'

export interface LocalAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface LocalApi {
  /** `path` with its query; `body` is sent as JSON. */
  request(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<LocalAnswer>
  close(): Promise<void>
}

export function localApi(deps: ApiDeps, principal: Principal): LocalApi {
  const token = randomBytes(32).toString('base64url')
  const api = buildApi({ ...deps, tokens: acceptingAlso(deps.tokens, token, principal), allowedHosts: () => [HOST] })
  return {
    request: async (method, path, body, headers = {}) => {
      const answer = await api.inject({
        method: method as 'GET',
        url: path,
        headers: { ...headers, host: HOST, authorization: `Bearer ${token}`, ...(body === undefined ? {} : JSON_BODY) },
        ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
      })
      const received = Object.entries(answer.headers).map(([name, value]) => [name, String(value)])
      return {
        status: answer.statusCode,
        headers: Object.fromEntries(received) as Record<string, string>,
        body: answer.body,
      }
    },
    close: () => api.close(),
  }
}

const JSON_BODY = { 'content-type': 'application/json' } as const

/** The token is known to this process alone and lives as long as it does. */
function acceptingAlso(tokens: TokenStore, token: string, principal: Principal): TokenStore {
  return {
    authenticate: async (sent, audience) => (sent === token ? principal : await tokens.authenticate(sent, audience)),
    create: (...given) => tokens.create(...given),
    list: (...given) => tokens.list(...given),
    revoke: (...given) => tokens.revoke(...given),
  }
}
