/** The file that holds the first API token: created when absent, 0600, and refused when others can read it. */
import { join } from 'node:path'
import { CoatcheckError } from '../core/errors.ts'
import { hasForm, mintCredential } from './credential.ts'
import { createPrivateFile, readPrivateFile, UnusableFile } from './private-file.ts'

/** Name of the token and of its principal. */
export const ADMIN = 'admin'

export interface AdminToken {
  readonly path: string
  readonly created: boolean
  readonly token: string
}

/** Throws `config_invalid` when the file is there but not private or not a token; it is then left as it is. */
export async function openAdminToken(dir: string): Promise<AdminToken> {
  const path = join(dir, 'admin-token')
  try {
    const created =
      (await readPrivateFile(path)) === null &&
      (await createPrivateFile(path, Buffer.from(`${mintCredential('cct_')}\n`)))
    const token = (await readPrivateFile(path))?.toString('utf8').trim() ?? ''
    if (!hasForm(token, 'cct_')) throw new UnusableFile('does not hold an API token')
    return { path, created, token }
  } catch (error) {
    throw new CoatcheckError(
      'config_invalid',
      `${path} ${error instanceof UnusableFile ? error.message : 'cannot be created'}.`,
      'Give it mode 0600 if nobody else has read it; else delete it, and the next start makes a new token.',
      { cause: error },
    )
  }
}
