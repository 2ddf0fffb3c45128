/**
 * Decides whether a secret may be released into one spot of one request. Reasons are tried in a fixed order, so that
 * the same request always gets the same answer, and each names the secret and the fix.
 *
 * A placeholder that is unknown, foreign or not mounted gets one and the same answer, before anything else.
 */
import type { ErrorCode } from './errors.ts'
import type { Spot } from './placement.ts'
import { allowsSpot, canTakeValue, formatPlacement, formatSpot } from './placement.ts'
import type { MountedSecret } from './secret.ts'

export type ReleaseDecision =
  | { readonly allow: true; readonly secret: MountedSecret }
  | { readonly allow: false; readonly reason: ErrorCode; readonly message: string; readonly hint: string }

export interface ReleaseContext {
  /** Canonical. */
  readonly host: string
  readonly scheme: 'http' | 'https'
  /** Milliseconds since the epoch. */
  readonly now: number
}

const HOSTS_SHOWN = 5

/** What the sandbox is told of a placeholder that it does not have, whatever the reason. */
export const UNKNOWN_PLACEHOLDER: ReleaseDecision = Object.freeze({
  allow: false,
  reason: 'unknown_placeholder',
  message: 'The request holds a placeholder that this sandbox does not have.',
  hint: 'Mount the secret in this sandbox and use the placeholder exactly as it was given, or leave it out.',
})

/** `undefined` stands for every placeholder that is not this sandbox's. */
export function decideRelease(secret: MountedSecret | undefined, spot: Spot, context: ReleaseContext): ReleaseDecision {
  if (secret === undefined) return UNKNOWN_PLACEHOLDER
  return refuseState(secret, context.now) ?? refuseDestination(secret, spot, context) ?? { allow: true, secret }
}

function refuseState(secret: MountedSecret, now: number): ReleaseDecision | undefined {
  const { name } = secret
  if (secret.state !== 'current') {
    const why = secret.state === 'disabled' ? 'is disabled' : 'is used up'
    return refuse(secret.state, `Secret "${name}" ${why}.`, `Store a new value: coatcheck secret rotate ${name}`)
  }
  if (secret.expiresAt !== null && now >= secret.expiresAt) {
    return refuse(
      'expired',
      `Secret "${name}" has expired.`,
      `Renew it: coatcheck secret update ${name} --expires WHEN`,
    )
  }
  return undefined
}

function refuseDestination(secret: MountedSecret, spot: Spot, context: ReleaseContext): ReleaseDecision | undefined {
  const { name } = secret
  if (!secret.hosts.allows(context.host)) {
    return refuse(
      'host_not_allowed',
      `Secret "${name}" may go to ${hostsShown(secret)}; this request goes to ${context.host}.`,
      `Add the host: coatcheck secret update ${name} --hosts …`,
    )
  }
  if (context.scheme !== 'https' && !secret.allowPlaintext) {
    return refuse(
      'plaintext',
      `Secret "${name}" is only sent over TLS; this request is plain HTTP.`,
      'Use https, or set allowPlaintext on the secret.',
    )
  }
  if (!allowsSpot(secret.placements, spot)) {
    const allowed = secret.placements.map(formatPlacement).join(', ') || 'nothing'
    return refuse(
      'placement_not_allowed',
      `Secret "${name}" may be put into ${allowed}; this request has it in ${formatSpot(spot)}.`,
      placementHint(name, spot),
    )
  }
  return undefined
}

function placementHint(name: string, spot: Spot): string {
  if (canTakeValue(spot)) return `Add the placement: coatcheck secret update ${name} --placement ${formatSpot(spot)}`
  if (spot.kind === 'encoded') return 'Send the placeholder as it was given, or inside canonical base64 for Basic.'
  return 'No secret is ever put there. Send the placeholder in a header such as Authorization.'
}

function hostsShown(secret: MountedSecret): string {
  const entries = secret.hosts.entries ?? []
  if (entries.length === 0) return 'no host'
  const shown = entries.slice(0, HOSTS_SHOWN).join(', ')
  return entries.length > HOSTS_SHOWN ? `${shown} and ${entries.length - HOSTS_SHOWN} more` : shown
}

function refuse(reason: ErrorCode, message: string, hint: string): ReleaseDecision {
  return { allow: false, reason, message, hint }
}
