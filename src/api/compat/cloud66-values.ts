/** Shows a value in a Cloud 66 answer when the caller may read it; null otherwise. Each value shown was recorded and counted first. */
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import type { Secret } from '../../core/secret.ts'
import { shownValue } from '../../core/value-text.ts'
import type { CompatDeps } from './compat-deps.ts'

type Reveals = Pick<CompatDeps, 'reveals'>

/** Of one secret that was asked for. */
export async function rawValue({ reveals }: Reveals, principal: Principal, secret: Secret): Promise<string | null> {
  if (secret.state !== 'current' || secret.readPolicy === 'never') return null
  if (!(await reveals.mayReveal(principal, secret.id))) return null
  try {
    return shownValue((await reveals.reveal(principal, secret.id)).value).text
  } catch (error) {
    // Used up or changed between the question and the read.
    if (error instanceof CoatcheckError && (error.code === 'gone' || error.code === 'forbidden')) return null
    throw error
  }
}

/** Of one secret in a list: a list never uses up a counted read. */
export async function listedValue(deps: Reveals, principal: Principal, secret: Secret): Promise<string | null> {
  return secret.maxAccessCount === null ? await rawValue(deps, principal, secret) : null
}
