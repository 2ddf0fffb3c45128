/**
 * From placeholders found to values opened: every occurrence is decided on before the first secret is read, and a
 * refusal names the reason and the fix.
 */
import type { AuditedSecret } from '../core/audit-event.ts'
import { tooOften } from '../core/body-decision.ts'
import { CoatcheckError } from '../core/errors.ts'
import { flatText } from '../core/flat-text.ts'
import type { MaskerCache } from '../core/masking.ts'
import { OccurrenceBudget } from '../core/occurrence-budget.ts'
import { formatSpot, type Spot } from '../core/placement.ts'
import { decideRelease, type ReleaseDecision } from '../core/policy.ts'
import type { Clock, SecretReader } from '../core/ports.ts'
import { ReleasedValues } from '../core/released-values.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { MountedSecret } from '../core/secret.ts'
import { matchesDress, type Occurrence, type Release, type RequestHead } from '../core/substitution.ts'
import { swappedTexts } from '../core/swapped-text.ts'
import type { WorkspacePolicyReader } from '../core/workspace-settings.ts'
import type { Destination } from './message.ts'

/** What `secrets.onDenied` says: refuse the request, or send the placeholder on as it is. */
export type OnDenied = 'refuse' | 'withhold' | 'report'

/** Each may become a value of 64 KiB, costs a look-up and is named in the audit; no client needs as many. */
const MOST_OCCURRENCES = 64

/** What is released on one exchange: the occurrences to swap, and the value behind each token. */
export interface Releases {
  readonly occurrences: readonly Occurrence[]
  readonly byToken: ReadonlyMap<string, Release>
  /** Placeholders left as they were. */
  readonly withheld: number
  /** How often each secret may still be put outside of headers. */
  readonly budget: OccurrenceBudget
}

export function nothingReleased(): Releases {
  return { occurrences: [], byToken: NO_RELEASES, withheld: 0, budget: new OccurrenceBudget() }
}

const NO_RELEASES: ReadonlyMap<string, Release> = new Map()

export interface ReleasePorts {
  readonly secrets: SecretReader
  readonly clock: Clock
  /** Of workspaces that do not say it themselves. */
  readonly onDenied: OnDenied
  readonly workspaces: WorkspacePolicyReader
}

/** Throws the refusal's code when a placeholder may not be released here and the settings say refuse. */
export async function decideReleases(
  ports: ReleasePorts,
  sandbox: SandboxIdentity,
  destination: Destination,
  head: RequestHead,
  found: readonly Occurrence[],
  budget = new OccurrenceBudget(),
): Promise<Releases> {
  if (found.length > MOST_OCCURRENCES) {
    throw new CoatcheckError(
      'headers_too_large',
      `The request holds ${found.length} placeholders in its fields and target.`,
      `Send at most ${MOST_OCCURRENCES} in the head of one request, and as many in its trailers.`,
    )
  }
  const allowed: { occurrence: Occurrence; secret: MountedSecret }[] = []
  const context = { host: destination.host, scheme: destination.scheme, now: ports.clock() }
  for (const occurrence of found) {
    const known = ports.secrets.find(sandbox, occurrence.token)
    const secret = known instanceof Promise ? await known : known
    const whole = secret !== undefined && matchesDress(head, occurrence, secret)
    const decision = withinLimit(
      decideRelease(whole ? secret : undefined, occurrence.spot, context),
      occurrence,
      budget,
    )
    if (decision.allow) allowed.push({ occurrence, secret: decision.secret })
    else if ((await onDenied(ports, sandbox)) === 'refuse')
      throw new CoatcheckError(decision.reason, decision.message, decision.hint)
  }
  const byToken = new Map<string, Release>()
  for (const { occurrence, secret } of allowed) {
    if (byToken.has(occurrence.token)) continue
    const opened = ports.secrets.open(secret)
    byToken.set(occurrence.token, { secret, value: opened instanceof Promise ? await opened : opened })
  }
  return {
    occurrences: allowed.map((each) => each.occurrence),
    byToken,
    withheld: found.length - allowed.length,
    budget,
  }
}

/** What the workspace says, else the settings. */
export async function onDenied(ports: ReleasePorts, { workspaceId }: SandboxIdentity): Promise<OnDenied> {
  return (await ports.workspaces.settingsOf(workspaceId)).onDenied ?? ports.onDenied
}

/** Outside of headers a secret is put only so often, lest one placeholder be multiplied. */
function withinLimit(decision: ReleaseDecision, { spot }: Occurrence, budget: OccurrenceBudget): ReleaseDecision {
  if (!decision.allow || spot.kind === 'header' || budget.take(decision.secret)) return decision
  return tooOften(decision.secret)
}

/** What an answer must not show: what was released so far, and the texts that `sent` has where they were `received`. */
export function releasedBy(
  maskers: MaskerCache,
  releases: Releases,
  received: RequestHead,
  sent: RequestHead,
): ReleasedValues {
  const { occurrences, byToken } = releases
  return new ReleasedValues(maskers, [...byToken.values()], swappedTexts(received, sent, occurrences, byToken))
}

/** The released secrets as the audit names them, one for each place a value is put. */
export function auditedSecrets(releases: Releases): readonly AuditedSecret[] {
  return releases.occurrences.map((occurrence) => {
    const { secret } = releases.byToken.get(occurrence.token) as Release
    return auditedSecret(secret, occurrence.spot)
  })
}

export function auditedSecret({ id, name, version }: MountedSecret, spot: Spot): AuditedSecret {
  return { id, name, version, placement: placeText(spot) }
}

/** Of headers, the last few hundred that were named. */
const headerPlaces = new Map<string, string>()
const MOST_HEADER_PLACES = 500

function placeText(spot: Spot): string {
  if (spot.kind !== 'header' || spot.basic) return flatText(formatSpot(spot))
  const known = headerPlaces.get(spot.name)
  if (known !== undefined) return known
  const text = flatText(formatSpot(spot))
  if (headerPlaces.size >= MOST_HEADER_PLACES) headerPlaces.clear()
  headerPlaces.set(flatText(spot.name), text)
  return text
}
