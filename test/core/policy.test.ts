import { describe, expect, it } from 'vitest'
import { compileHosts } from '../../src/core/host-pattern.ts'
import type { Spot } from '../../src/core/placement.ts'
import { decideRelease } from '../../src/core/policy.ts'
import type { MountedSecret } from '../../src/core/secret.ts'
import { mounted } from './mounted.ts'
import { vectorRows } from './vector-rows.ts'

interface Row {
  readonly why: string
  readonly reason: string | null
  readonly says: readonly string[]
  readonly unknown?: boolean
  readonly state?: MountedSecret['state']
  readonly expiresAt?: number
  readonly allowPlaintext?: boolean
  readonly hosts?: readonly string[] | null
  readonly host?: string
  readonly scheme?: 'http' | 'https'
  readonly spot?: 'path' | 'cookie'
}

const SPOTS: Readonly<Record<string, Spot>> = {
  authorization: { kind: 'header', name: 'authorization', pair: 0, basic: false },
  cookie: { kind: 'header', name: 'cookie', pair: 0, basic: false },
  path: { kind: 'path' },
}
const PLACEHOLDER = `xcoat_${'a'.repeat(26)}`

function secretOf(row: Row): MountedSecret {
  return mounted(
    { name: 'openai', placeholder: PLACEHOLDER },
    {
      hosts: compileHosts(row.hosts === undefined ? ['api.openai.com'] : row.hosts),
      state: row.state ?? 'current',
      expiresAt: row.expiresAt ?? null,
      allowPlaintext: row.allowPlaintext ?? false,
    },
  )
}

function decide(row: Row) {
  return decideRelease(row.unknown ? undefined : secretOf(row), SPOTS[row.spot ?? 'authorization'] as Spot, {
    host: row.host ?? 'api.openai.com',
    scheme: row.scheme ?? 'https',
    now: 1000,
  })
}

describe('a release', () => {
  it.each(vectorRows('policy/decisions.json') as readonly Row[])('$why -> $reason', (row) => {
    const decision = decide(row)
    expect(decision.allow ? null : decision.reason).toBe(row.reason)
    if (decision.allow) return
    for (const text of row.says) expect(`${decision.message} ${decision.hint}`).toContain(text)
    expect(`${decision.message} ${decision.hint}`).not.toContain('xcoat_')
  })

  it('is answered alike for every placeholder that is not this sandbox’s, wherever it was going', () => {
    const answers = ['api.openai.com', 'evil.test'].flatMap((host) =>
      Object.values(SPOTS).map((spot) => decideRelease(undefined, spot, { host, scheme: 'http', now: 0 })),
    )
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1)
  })

  it.each([
    { spot: { kind: 'header-name', pair: 0 } },
    { spot: { kind: 'header', name: 'host', pair: 0, basic: false } },
    { spot: { kind: 'encoded', within: 'basic' } },
  ] as const)('gets no hint to add a placement that does not exist: $spot.kind', ({ spot }) => {
    const decision = decideRelease(mounted({ name: 'a', placeholder: PLACEHOLDER, placements: ['header:*'] }), spot, {
      host: 'a.test',
      scheme: 'https',
      now: 0,
    })
    expect(decision).toMatchObject({ allow: false, reason: 'placement_not_allowed' })
    expect(decision).toMatchObject({ hint: expect.not.stringContaining('--placement') as string })
  })
})
