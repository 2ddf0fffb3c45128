/** Who may do what follows from role, policies and path alone; deny wins, and who may not list learns nothing. */
import { array, assert, property, stringMatching } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AccessPolicy, checkPathPattern, matchesPath, PERMISSIONS } from '../../src/core/access-policy.ts'
import { decideAccess } from '../../src/core/permission.ts'
import type { Role } from '../../src/core/principal.ts'
import decisions from '../vectors/access/decisions.json' with { type: 'json' }
import paths from '../vectors/access/paths.json' with { type: 'json' }

const NOW = Date.parse('2030-01-01T00:00:00Z')
const BLANK: AccessPolicy = {
  id: 'policy',
  scopeId: 'w',
  path: '**',
  permissions: [],
  effect: 'allow',
  priority: 0,
  principalId: null,
  principalKind: null,
  expiresAt: null,
  conditions: {},
  createdBy: 'admin',
  createdAt: '2029-01-01T00:00:00.000Z',
  updatedAt: '2029-01-01T00:00:00.000Z',
}

describe('a path pattern', () => {
  it.each(paths)('$pattern on $path: $matches', ({ pattern, path, matches }) => {
    expect(matchesPath(checkPathPattern(pattern), path)).toBe(matches)
  })

  it.each(['', '/a', 'a/', 'a//b', 'a**', '**b/c', '{a,b}', '[a]', ' a', 'a  b', '?', 'a\u200b', 'x'.repeat(257)])(
    'is refused when it is %j',
    (pattern) => {
      expect(() => checkPathPattern(pattern)).toThrow(/path pattern/)
    },
  )

  it('takes time in proportion, whatever it is', () => {
    const pattern = `${'**/'.repeat(60)}a*a*a*a*a*a*a*a*b`.slice(0, 256)
    expect(matchesPath(pattern, `${'a/'.repeat(100)}${'a'.repeat(56)}`)).toBe(false)
  })

  it('matches every name as itself, and every name under ** and its own first segment', () => {
    const segment = stringMatching(/^[A-Za-z0-9_.-]{1,8}$/)
    const name = array(segment, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
    assert(
      property(name, (path) => {
        const [first = ''] = path.split('/')
        return matchesPath(path, path) && matchesPath('**', path) && matchesPath(`${first}/**`, path)
      }),
    )
  })
})

describe('a decision', () => {
  it.each(decisions)('$name', ({ role, permission, path, policies, answer }) => {
    const full = policies.map((policy, at) => ({ ...BLANK, id: `policy-${at}`, ...policy }) as AccessPolicy)
    const wanted = PERMISSIONS.find((each) => each === permission) ?? 'list'
    const decision = decideAccess({ id: 'p', kind: 'agent', role: role as Role }, wanted, path, full, NOW)
    expect(decision.allow ? decision.by : decision.reason).toBe(answer)
  })
})
