/** Mounted secrets as the vectors describe them. */
import { compileHosts } from '../../src/core/host-pattern.ts'
import { TOKEN_LENGTH } from '../../src/core/placeholder.ts'
import { DEFAULT_PLACEMENTS, parsePlacement } from '../../src/core/placement.ts'
import { type MountedSecret, SecretValue } from '../../src/core/secret.ts'
import type { Release } from '../../src/core/substitution.ts'

export interface SecretRow {
  readonly name: string
  readonly placeholder: string
  readonly value: string
  readonly placements?: readonly string[]
}

export function mounted(row: Omit<SecretRow, 'value'>, changes: Partial<MountedSecret> = {}): MountedSecret {
  return {
    id: row.name,
    workspaceId: 'w',
    name: row.name,
    placeholder: row.placeholder,
    token: row.placeholder.slice(-TOKEN_LENGTH),
    version: 1,
    hosts: compileHosts(null),
    placements: row.placements?.map(parsePlacement) ?? DEFAULT_PLACEMENTS,
    allowPlaintext: false,
    expiresAt: null,
    state: 'current',
    ...changes,
  }
}

export function releaseOf(row: SecretRow): Release {
  return { secret: mounted(row), value: SecretValue.fromText(row.value) }
}
