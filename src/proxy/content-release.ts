/**
 * Releases in content that streams by, a body or the messages of a WebSocket: which secrets may be put there at all, and
 * for each placeholder the decision, the value and, before that is handed out, the durable record of the release.
 */
import { decideInBody } from '../core/body-decision.ts'
import type { BodyOccurrence } from '../core/body-substitution.ts'
import { CoatcheckError } from '../core/errors.ts'
import type { Spot } from '../core/placement.ts'
import { decideRelease } from '../core/policy.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { MountedSecret } from '../core/secret.ts'
import type { Release } from '../core/substitution.ts'
import type { ExchangeRecord } from './exchange-log.ts'
import type { Destination } from './message.ts'
import { auditedSecret, type ReleasePorts } from './release.ts'
import type { InBody } from './request-body.ts'

export interface ContentPorts extends ReleasePorts {
  readonly inBody: InBody
}

/** Whose content it is and where it goes. */
export interface ContentContext {
  readonly sandbox: SandboxIdentity
  readonly destination: Destination
  readonly record: ExchangeRecord
  /** What the answer must not show; null when `secrets.masking` is off. */
  readonly released: ReleasedValues | null
}

/** The same ports, with what the sandbox's workspace says of placeholders in content, where it says anything. */
export async function inWorkspace<P extends ContentPorts>(ports: P, { workspaceId }: SandboxIdentity): Promise<P> {
  const { inBody } = await ports.workspaces.settingsOf(workspaceId)
  return { ...ports, inBody: inBody ?? ports.inBody }
}

/** Mounted secrets that some place in this content could take. */
export async function placeableSecrets(
  ports: ContentPorts,
  { sandbox, destination }: Pick<ContentContext, 'sandbox' | 'destination'>,
  kind: 'body' | 'websocket' | 'trailer',
): Promise<readonly MountedSecret[]> {
  const mounted = await ports.secrets.placeable(sandbox, kind)
  const now = ports.clock()
  return mounted.filter((secret) => decideRelease(secret, somewhere(secret, kind), { ...destination, now }).allow)
}

/**
 * Why one of these, which could be put into messages, no longer can; null while all can. A secret that is used up still can:
 * its last use must not end the connection that made it.
 */
export async function withdrawnFromMessages(
  ports: ContentPorts,
  { sandbox, destination }: Pick<ContentContext, 'sandbox' | 'destination'>,
  secrets: readonly MountedSecret[],
): Promise<CoatcheckError | null> {
  const now = ports.clock()
  for (const { token } of secrets) {
    const secret = await ports.secrets.find(sandbox, token)
    const decision = decideRelease(secret, { kind: 'websocket' }, { ...destination, now })
    if (decision.allow || decision.reason === 'exhausted') continue
    return new CoatcheckError(decision.reason, decision.message, decision.hint)
  }
  return null
}

/** A spot that the secret's placements of this kind cover. */
function somewhere(secret: MountedSecret, kind: 'body' | 'websocket' | 'trailer'): Spot {
  if (kind === 'websocket') return { kind }
  if (kind === 'trailer') return { kind, name: '', pair: -1 }
  return { kind, selector: secret.placements.find((placement) => placement.kind === 'body')?.selector ?? null }
}

/** The secret that may be put here; null to leave the placeholder. Throws the refusal when `inBody` is refuse. */
export async function releasableInContent(
  ports: ContentPorts,
  { sandbox, destination }: ContentContext,
  occurrence: BodyOccurrence,
): Promise<MountedSecret | null> {
  const secret = await ports.secrets.find(sandbox, occurrence.token)
  const decision = decideInBody(secret, occurrence, { ...destination, now: ports.clock() })
  if (decision.allow) return decision.secret
  if (ports.inBody === 'refuse') throw new CoatcheckError(decision.reason, decision.message, decision.hint)
  return null
}

/** Opens the value and records that it is released here; from then on the answer is searched for it. Throws `store_unavailable`, `audit_unavailable`. */
export async function releaseInContent(
  ports: ContentPorts,
  { record, released }: ContentContext,
  secret: MountedSecret,
  { spot }: BodyOccurrence,
): Promise<Release> {
  const release = { secret, value: await ports.secrets.open(secret) }
  await record.release([auditedSecret(secret, spot)])
  released?.add(release)
  return release
}

/** Placeholders where nothing is ever put are not asked about, but `refuse` means them too. */
export function requireNoneWithheld(inBody: InBody, withheld: number): void {
  if (inBody !== 'refuse' || withheld === 0) return
  throw new CoatcheckError(
    'placement_not_allowed',
    'The request holds a placeholder where no value may be put.',
    'Remove it, or set secrets.inBody to report.',
  )
}

/** How many bytes before a token may be the dress of one of these. */
export function longestDress(secrets: readonly MountedSecret[]): number {
  return Math.max(0, ...secrets.map((secret) => secret.placeholder.length - secret.token.length))
}
