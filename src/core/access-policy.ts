/**
 * An access policy: who may, or may not, do what with the secrets under some paths.
 *
 * A path pattern is a secret's name in which `*` stands for any part of one segment and `**` for any number of whole
 * segments: `prod/*` is `prod/a` and not `prod/a/b`; `prod/**` is both, and `prod` itself.
 */
import { CoatcheckError } from './errors.ts'
import type { Page, PageRequest } from './page.ts'
import type { Principal, PrincipalKind } from './principal.ts'
import { isSegment, MAX_NAME_LENGTH, nameKeyOf } from './secret-name.ts'

/** On a secret. `read` is to see the value; `use` is to mount it. */
export type Permission = 'list' | 'read' | 'write' | 'delete' | 'use'

export const PERMISSIONS: readonly Permission[] = ['list', 'read', 'write', 'delete', 'use']

export interface AccessPolicy {
  readonly id: string
  /** Where it holds: an account's policies hold in its workspaces too. */
  readonly scopeId: string
  readonly path: string
  readonly permissions: readonly Permission[]
  readonly effect: 'allow' | 'deny'
  /** The highest that matches decides; deny wins among equals. */
  readonly priority: number
  /** Whom it is about; null = all of that kind. */
  readonly principalId: string | null
  /** Null = every kind. */
  readonly principalKind: PrincipalKind | null
  readonly expiresAt: string | null
  /** Kept for a foreign contract, never evaluated. */
  readonly conditions: Readonly<Record<string, unknown>>
  readonly createdBy: string
  readonly createdAt: string
  readonly updatedAt: string
}

export interface NewAccessPolicy {
  readonly path: string
  readonly permissions: readonly Permission[]
  /** Default: allow. */
  readonly effect?: 'allow' | 'deny'
  /** -1000..1000; default 0. */
  readonly priority?: number
  readonly principalId?: string | null
  readonly principalKind?: PrincipalKind | null
  readonly expiresAt?: string | null
  readonly conditions?: Readonly<Record<string, unknown>>
}

/** Policies of the scope the principal acts on. Only `admin` changes them. */
export interface PolicyStore {
  create(principal: Principal, input: NewAccessPolicy): Promise<AccessPolicy>
  list(principal: Principal, page: PageRequest): Promise<Page<AccessPolicy>>
  get(principal: Principal, id: string): Promise<AccessPolicy>
  /** Replaces all of it but its id. */
  replace(principal: Principal, id: string, input: NewAccessPolicy): Promise<AccessPolicy>
  delete(principal: Principal, id: string): Promise<void>
}

/** The pattern as names are compared, or `invalid_input`. */
export function checkPathPattern(text: string): string {
  const pattern = text.length <= MAX_NAME_LENGTH ? nameKeyOf(text) : ''
  if (pattern.split('/').every(isPatternSegment)) return pattern
  throw new CoatcheckError(
    'invalid_input',
    'The path pattern is not allowed.',
    'Write a name of up to 256 characters in which * stands for a part of a segment and ** for whole segments: prod/**.',
  )
}

/** Whether a secret's name is under the pattern, as names are compared; linear in both lengths for each `**`. */
export function matchesPath(pattern: string, name: string): boolean {
  return matchesSegments(pattern.split('/'), nameKeyOf(name).split('/'))
}

/** `**`, or what a name's segment can be when each `*` is some letter. */
function isPatternSegment(segment: string): boolean {
  return segment === '**' || (!segment.includes('**') && isSegment(segment.replaceAll('*', 'x')))
}

/** Greedy with one place to come back to, as for `*` within a segment: never exponential. */
function matchesSegments(pattern: readonly string[], path: readonly string[]): boolean {
  return matchesGreedily(pattern.length, path.length, {
    isStar: (at) => pattern[at] === '**',
    fits: (at, to) => matchesSegment(pattern[at] ?? '', path[to] ?? ''),
  })
}

function matchesSegment(pattern: string, segment: string): boolean {
  return matchesGreedily(pattern.length, segment.length, {
    isStar: (at) => pattern[at] === '*',
    fits: (at, to) => pattern[at] === segment[to],
  })
}

interface Fitting {
  readonly isStar: (at: number) => boolean
  readonly fits: (at: number, to: number) => boolean
}

function matchesGreedily(patternLength: number, length: number, { isStar, fits }: Fitting): boolean {
  let at = 0
  let to = 0
  let back: { readonly at: number; to: number } | null = null
  while (to < length) {
    if (at < patternLength && isStar(at)) back = { at: at++, to }
    else if (at < patternLength && fits(at, to)) {
      at++
      to++
    } else if (back !== null) {
      at = back.at + 1
      to = ++back.to
    } else return false
  }
  while (at < patternLength && isStar(at)) at++
  return at === patternLength
}
