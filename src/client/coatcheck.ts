/**
 * `coatcheck/client`: the control plane from TypeScript, with nothing but `fetch`, so it runs in Node, Bun, Deno and the like.
 *
 *   const coatcheck = new Coatcheck({ url: 'http://127.0.0.1:8081', token })
 *   const secret = await coatcheck.secrets.create({ name: 'openai', value, hosts: ['api.openai.com'] })
 *   for await (const each of coatcheck.secrets.list()) console.log(each.name, each.placeholder)
 */
import { Policies, Principals, Tokens } from './access.ts'
import type { ActingScope } from './address.ts'
import { Audit } from './audit.ts'
import { type CoatcheckOptions, Connection } from './connection.ts'
import { Sandboxes } from './sandboxes.ts'
import { Vaults, Workspaces } from './scopes.ts'
import { Secrets } from './secrets.ts'
import { Authority, Server } from './server.ts'

export type { ActingScope } from './address.ts'
export type { CallOptions, CoatcheckOptions, CreateOptions } from './connection.ts'
export { type ClientCode, CoatcheckError, type CoatcheckErrorCode, type ServerCode } from './error.ts'
export type { Listing } from './listing.ts'
// oxlint-disable-next-line oxc/no-barrel-file -- types: nothing is loaded
export type * from './types.ts'

export class Coatcheck {
  readonly secrets: Secrets
  readonly sandboxes: Sandboxes
  readonly workspaces: Workspaces
  readonly vaults: Vaults
  readonly policies: Policies
  readonly principals: Principals
  readonly tokens: Tokens
  readonly audit: Audit
  readonly authority: Authority
  readonly server: Server
  readonly #connection: Connection

  /** Sends nothing yet. Throws `usage` for options that cannot work. */
  constructor(options: CoatcheckOptions) {
    const connection = new Connection(options)
    this.#connection = connection
    this.secrets = new Secrets(connection)
    this.sandboxes = new Sandboxes(connection)
    this.workspaces = new Workspaces(connection)
    this.vaults = new Vaults(connection)
    this.policies = new Policies(connection)
    this.principals = new Principals(connection)
    this.tokens = new Tokens(connection)
    this.audit = new Audit(connection)
    this.authority = new Authority(connection)
    this.server = new Server(connection)
  }

  /** The same client, acting in another scope that its token reaches: `coatcheck.within({ workspace: 'prod', vault: 'payments' })`. */
  within(scope: ActingScope): Coatcheck {
    return new Coatcheck(this.#connection.options(scope))
  }
}
