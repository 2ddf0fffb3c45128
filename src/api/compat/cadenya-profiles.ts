/** Who made a secret, as a Cadenya profile: looked up once for each answer, and told by its label alone where that is all there is. */
import { isUuid, ulidOf } from '../../core/id.ts'
import type { Principal } from '../../core/ports.ts'
import type { PrincipalKind } from '../../core/principal.ts'
import type { Secret } from '../../core/secret.ts'
import type { CompatDeps } from './compat-deps.ts'

export interface Author {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly type: 'PROFILE_TYPE_USER' | 'PROFILE_TYPE_API_KEY' | 'PROFILE_TYPE_SYSTEM'
  readonly externalId: string
  readonly createdAt: string | null
}

const TYPES: Readonly<Record<PrincipalKind, Author['type']>> = {
  user: 'PROFILE_TYPE_USER',
  api_key: 'PROFILE_TYPE_API_KEY',
  agent: 'PROFILE_TYPE_API_KEY',
  system: 'PROFILE_TYPE_SYSTEM',
}

export function authorOf(principal: Principal, { principals }: CompatDeps): (secret: Secret) => Promise<Author> {
  const known = new Map<string, Promise<Author>>()
  const look = async (secret: Secret): Promise<Author> => {
    const shown = {
      id: profileId(secret.createdById),
      name: secret.createdBy,
      email: '',
      type: TYPES[secret.createdByKind],
      externalId: '',
      createdAt: null,
    }
    if (secret.createdByKind === 'system') return shown
    // One who is gone, or whom the caller may not see, keeps the name that the secret has.
    const profile = await principals.get(principal, secret.createdById).catch(() => null)
    if (profile === null) return shown
    const { name, email, externalId, createdAt } = profile
    return { ...shown, name, email: email ?? '', externalId: externalId ?? '', createdAt }
  }
  return (secret) => {
    const author = known.get(secret.createdById) ?? look(secret)
    known.set(secret.createdById, author)
    return author
  }
}

export function profileId(id: string): string {
  return isUuid(id) ? `profile_${ulidOf(id)}` : `profile_${id}`
}
