/** What 1Claw's routes are given, and how a route that the API has too is kept for the keys of that contract. */
import type { CompatDeps } from './compat-deps.ts'
import type { AccessTokens } from './oneclaw-tokens.ts'

export interface OneclawDeps extends CompatDeps {
  /** Who an exchanged token is. */
  readonly authenticate: AccessTokens['authenticate']
}

/** Constraints of a route: the beginnings of this contract's keys, the first also for exchanged tokens (../contract-of.ts). */
export const ONECLAW_KEYS = [{ contract: '1ck' }, { contract: 'ocv' }] as const
