/**
 * Where a call acts: in the scope its token is for, or in another one within reach that the header `coatcheck-scope` names.
 *
 * `account`; `workspace=REF`; `vault=REF` (in the workspace at hand); `workspace=REF; vault=REF`. A REF is an id, a name or an
 * external key, percent-encoded. What the token does not reach is `not_found`, as if it were not there.
 */
import { CoatcheckError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import type { ApiDeps } from './dependencies.ts'

export const SCOPE_HEADER = 'coatcheck-scope'
const FORM = /^(?:(account)|(?:workspace=([^;\s]{1,768}))?(?:; ?|(?<!.)|$)(?:vault=([^;\s]{1,768}))?)$/

export async function enterScope(
  principal: Principal,
  header: string | readonly string[] | undefined,
  { workspaces, vaults }: Pick<ApiDeps, 'workspaces' | 'vaults'>,
): Promise<Principal> {
  if (header === undefined) return principal
  const match = typeof header === 'string' && header !== '' ? FORM.exec(header) : null
  if (match === null) throw malformed()
  const [, account, workspace, vault] = match
  if (account !== undefined) return await workspaces.enterAccount(principal)
  const inWorkspace = workspace === undefined ? principal : await workspaces.enter(principal, decode(workspace))
  return vault === undefined ? inWorkspace : await vaults.enter(inWorkspace, decode(vault))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw malformed()
  }
}

function malformed(): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    `The header ${SCOPE_HEADER} is not as it must be.`,
    'Send account, workspace=REF, vault=REF, or workspace=REF; vault=REF, each REF percent-encoded.',
  )
}
