/**
 * Decides whether a secret may be released into one place of a body: the policy for any spot, the dress, and the limit
 * on occurrences, in that order. A placeholder with another dress is answered like an unknown one.
 */
import type { BodyOccurrence } from './body-substitution.ts'
import { maxOccurrencesOf } from './occurrence-budget.ts'
import type { ReleaseContext, ReleaseDecision } from './policy.ts'
import { decideRelease } from './policy.ts'
import type { MountedSecret } from './secret.ts'

/** `undefined` stands for every placeholder that is not this sandbox's. */
export function decideInBody(
  secret: MountedSecret | undefined,
  occurrence: BodyOccurrence,
  context: ReleaseContext,
): ReleaseDecision {
  const whole = secret !== undefined && occurrence.isOf(secret)
  const decision = decideRelease(whole ? secret : undefined, occurrence.spot, context)
  if (!decision.allow || occurrence.withinLimit(decision.secret)) return decision
  return tooOften(decision.secret)
}

/** The refusal of a secret that the request has put outside of headers as often as it may. */
export function tooOften(secret: MountedSecret): ReleaseDecision {
  const { name } = secret
  const limit = maxOccurrencesOf(secret)
  return {
    allow: false,
    reason: 'placement_not_allowed',
    message: `Secret "${name}" may be put outside of headers ${limit === 1 ? 'once' : `${limit} times`} in a request; this one has it more often.`,
    hint: 'Send the placeholder no more often than that, or raise maxOccurrences of the secret.',
  }
}
