/** One secret as a contract sees it: what its lists leave out, because it cannot spell the name, is missing by its id too. */
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import type { Secret } from '../../core/secret.ts'
import { NAME_FORMS, type NameForm } from '../../core/secret-name.ts'
import type { CompatDeps } from './compat-deps.ts'

/** By id or name; throws `not_found` for one that is missing or spelled otherwise. */
export async function spelledSecret(
  { secrets }: Pick<CompatDeps, 'secrets'>,
  principal: Principal,
  ref: string,
  form: NameForm,
): Promise<Secret> {
  return spelled(await secrets.get(principal, ref), form)
}

export function spelled(secret: Secret, form: NameForm): Secret {
  if (NAME_FORMS[form].test(secret.name)) return secret
  throw new CoatcheckError(
    'not_found',
    'There is no such secret.',
    'There is one whose name this contract cannot spell: the native API shows it.',
  )
}
