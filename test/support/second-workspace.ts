/** A second workspace next to the default one, made in the database: no route creates workspaces yet. */
import { uuidv7 } from '../../src/core/id.ts'
import type { Principal } from '../../src/core/ports.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { ALLOWED, type Rig, type RigSandbox } from './rig.ts'

/** With a sandbox `other` in it that has a secret of its own for the allowed host. */
export class SecondWorkspace {
  readonly principal: Principal
  readonly sandbox: RigSandbox
  readonly placeholder: string

  private constructor(parts: Pick<SecondWorkspace, 'principal' | 'sandbox' | 'placeholder'>) {
    this.principal = parts.principal
    this.sandbox = parts.sandbox
    this.placeholder = parts.placeholder
  }

  static async create(rig: Rig, value: string): Promise<SecondWorkspace> {
    const { database, secrets, sandboxes, tokens } = rig.app.data
    const id = uuidv7(Date.now())
    await database.transaction(async (db) => {
      const fields = { kind: 'workspace' as const, parent_id: null, external_key: null, name: 'second' }
      const row = { id, ...fields, created_at: new Date().toISOString(), deleted_at: null }
      await db.insertInto('scopes').values(row).execute()
    })
    const principal = tokens.systemPrincipal(id)
    const input = { name: 'theirs', value: SecretValue.fromText(value), hosts: [ALLOWED] }
    const { secret } = await secrets.create(principal, input)
    const { sandbox, token } = await sandboxes.create(principal, { name: 'other', mounts: { THEIRS: 'theirs' } })
    const proxyUrl = rig.app.proxyUrl.replace('http://', `http://other:${token}@`)
    return new SecondWorkspace({
      principal,
      placeholder: secret.placeholder,
      sandbox: { name: 'other', token, proxyUrl, env: sandbox.env },
    })
  }
}
