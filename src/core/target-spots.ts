/**
 * Finds placeholders in a request target and says which part of it each is in: the path, the value of one named
 * query parameter, or an encoded form that cannot be rewritten.
 *
 * A parameter has a name only where every server reads the same one; see `query` in placement.ts.
 */
import { findTokens, MARKER, TOKEN_LENGTH } from './placeholder.ts'
import type { Spot } from './placement.ts'
import { queryName } from './placement.ts'

/** `index` counts in the target; -1 in encoded form. */
export interface TargetToken {
  readonly token: string
  readonly index: number
  readonly spot: Spot
}

const NONE: readonly TargetToken[] = Object.freeze([])
/** A percent-escape that hides a character of a placeholder (0-9 _ a-z), or a `%` that hides another escape. */
const HIDING_ESCAPE = /%(?:3[0-9]|5f|6[1-9a-f]|7[0-9a]|25)/i
const ESCAPE = /%([0-9a-f]{2})/gi
const DECODE_ROUNDS = 3

/** Tokens of an origin-form target (latin1), in order, those in encoded form last. */
export function findInTarget(target: string): readonly TargetToken[] {
  if (target.length < TOKEN_LENGTH) return NONE
  const plain = target.includes(MARKER) ? findPlain(target) : NONE
  if (!target.includes('%') || !HIDING_ESCAPE.test(target)) return plain
  const encoded = findEncoded(target, plain)
  return encoded.length === 0 ? plain : [...plain, ...encoded]
}

function findPlain(target: string): readonly TargetToken[] {
  const query = target.indexOf('?')
  return findTokens(target).map(({ token, index }) => ({
    token,
    index,
    spot: query === -1 || index < query ? { kind: 'path' } : querySpot(target, query, index),
  }))
}

/** The parameter whose value holds `index`; without a name when it is not in a value, or servers may split otherwise. */
function querySpot(target: string, query: number, index: number): Spot {
  const start = Math.max(query, target.lastIndexOf('&', index)) + 1
  const before = target.slice(start, index)
  const equals = before.indexOf('=')
  // `;` separates parameters for some servers, and `#` ends the target for others.
  const ambiguous = before.includes(';') || target.lastIndexOf('#', index) !== -1
  return { kind: 'query', name: equals === -1 || ambiguous ? '' : queryName(before.slice(0, equals)) }
}

/** Tokens that only decoding shows, up to three layers of percent-encoding deep. */
function findEncoded(target: string, plain: readonly TargetToken[]): readonly TargetToken[] {
  const seen = new Map<string, number>()
  for (const { token } of plain) seen.set(token, (seen.get(token) ?? 0) + 1)
  const found: TargetToken[] = []
  let text = target
  for (let round = 0; round < DECODE_ROUNDS && HIDING_ESCAPE.test(text); round++) {
    text = text.replace(ESCAPE, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    const left = new Map(seen)
    for (const { token } of findTokens(text)) {
      const count = left.get(token) ?? 0
      left.set(token, count - 1)
      if (count > 0) continue
      seen.set(token, (seen.get(token) ?? 0) + 1)
      found.push({ token, index: -1, spot: { kind: 'encoded', within: 'target' } })
    }
  }
  return found
}
