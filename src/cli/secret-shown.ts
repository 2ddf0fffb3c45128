/** A secret as people see it: its placeholder, and everything about its value but the value. */
import type { SecretDocument } from '../api/contract/secrets.ts'
import type { CommonOptions, Context } from './command.ts'
import { note, printFields, printJson } from './output.ts'

/** The secret on standard output; warnings beside it, and in the JSON document as the API sends them. */
export async function showSecret({ io }: Context, options: CommonOptions, secret: SecretDocument): Promise<void> {
  if (options.json === true) return await printJson(io, secret)
  await printFields(io, fieldsShown(secret))
  for (const warning of secret.warnings ?? []) await note(io, `warning: ${warning}`)
}

export const SECRET_HEADINGS = ['NAME', 'HOSTS', 'PLACEHOLDER', 'VERSION', 'EXPIRES'] as const

/** As many cells as there are headings; a secret that cannot be used says why after its name. */
export function secretRow(secret: SecretDocument): readonly string[] {
  const name = secret.inherited ? `${secret.name} (inherited)` : secret.name
  return [
    secret.state === 'current' ? name : `${name} (${secret.state})`,
    hostsText(secret),
    secret.placeholder,
    String(secret.version),
    secret.expiresAt ?? 'never',
  ]
}

/** What most secrets do not have is shown only where it is. */
function fieldsShown(secret: SecretDocument): (readonly [string, string | null])[] {
  const reads = secret.maxAccessCount === null ? '' : ` of ${secret.maxAccessCount}`
  const rare: readonly (readonly [string, string | null])[] = [
    ['state', secret.state === 'current' ? null : secret.state],
    ['inherited', secret.inherited ? 'from the account' : null],
    ['external id', secret.externalId],
    ['metadata', Object.keys(secret.metadata).length === 0 ? null : JSON.stringify(secret.metadata)],
    ['value', secret.readPolicy === 'permission' ? 'may be read with the permission' : null],
    ['accesses', reads === '' && secret.accessCount === 0 ? null : `${secret.accessCount}${reads}`],
    ['counted', secret.countUses ? 'reads and releases' : null],
    ['occurrences', secret.maxOccurrences === 1 ? null : `at most ${secret.maxOccurrences} in one request`],
    ['rotation', secret.rotationPolicy === null ? null : JSON.stringify(secret.rotationPolicy)],
    ['rotate at', secret.rotateAt],
    ['last used', secret.lastUsedAt],
  ]
  return [
    ['name', secret.name],
    ['id', secret.id],
    ['placeholder', secret.placeholder],
    ['hosts', hostsText(secret)],
    ['placements', secret.placements.join(', ')],
    ['type', secret.type],
    ['version', String(secret.version)],
    ['expires', secret.expiresAt ?? 'never'],
    ['labels', labelsText(secret)],
    ['description', secret.description],
    ['plain HTTP', secret.allowPlaintext ? 'allowed' : 'refused'],
    ...rare.filter(([, value]) => value !== null),
    ['updated', secret.updatedAt],
  ]
}

export function hostsText(secret: Pick<SecretDocument, 'hosts'>): string {
  return secret.hosts === null ? 'any' : secret.hosts.join(', ')
}

function labelsText({ labels }: SecretDocument): string | null {
  const pairs = Object.entries(labels).map((label) => label.join('='))
  return pairs.join(', ') || null
}
