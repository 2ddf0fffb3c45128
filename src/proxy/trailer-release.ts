/**
 * Request trailers. They are dropped, unless a secret of the sandbox may be put into trailers of requests to this
 * destination; then those fields go on that may stand in a trailer, and are never merged into anything.
 *
 * A placeholder in one is decided on like any, once the whole body has gone and before the request is finished: the release
 * is recorded durably before its value is written, and a refusal leaves the request unfinished for ever.
 */
import { every } from '../core/fields.ts'
import type { OccurrenceBudget } from '../core/occurrence-budget.ts'
import { MARKER } from '../core/placeholder.ts'
import { canTakeValue } from '../core/placement.ts'
import { findInTrailers, substitute } from '../core/substitution.ts'
import { type ContentContext, type ContentPorts, placeableSecrets } from './content-release.ts'
import { nominatedIn } from './headers.ts'
import type { ExchangeRequest, OutgoingTrailers } from './message.ts'
import { auditedSecrets, decideReleases } from './release.ts'

export interface TrailerContext extends Omit<ContentContext, 'sandbox'> {
  /** Fields as they will be sent, without `Trailer`. */
  readonly headers: readonly string[]
  readonly budget: OccurrenceBudget
  /** A signature covers the request: nothing is put into it. */
  readonly signed: boolean
}

export interface TrailedHead {
  /** With the names that the sandbox announced (RFC 9110 6.6.2), of fields that may go on. */
  readonly headers: readonly string[]
  /** Null when trailers are dropped; else values may be put into them after the answer has begun. */
  readonly trailers: OutgoingTrailers | null
}

/** What becomes of the trailers of a request with a body. Reads no value. */
export async function outgoingTrailers(
  ports: ContentPorts,
  request: ExchangeRequest,
  context: TrailerContext,
): Promise<TrailedHead> {
  const { headers, signed } = context
  const { trailers, sandbox } = request
  const dropped = { headers, trailers: null }
  if (trailers === null || signed) return dropped
  const placeable = await placeableSecrets(ports, { sandbox, ...context }, 'trailer')
  if (placeable.length === 0) return dropped
  const nominated = nominatedIn(request.headers)
  const goesOn = (name: string) => mayGoOn(name) && nominated?.has(name) !== true
  const announced = announcedIn(request.headers).filter((name) => goesOn(name.toLowerCase()))
  return {
    headers: announced.length === 0 ? headers : [...headers, 'Trailer', announced.join(', ')],
    trailers: () => released(ports, request, context, fieldsThat(goesOn, trailers())),
  }
}

/** Takes the name in lower case. */
function mayGoOn(name: string): boolean {
  return canTakeValue({ kind: 'trailer', name, pair: 0 })
}

/** Only names: a placeholder in their place is nobody's. */
function announcedIn(headers: readonly string[]): readonly string[] {
  const names = every(headers, 'trailer').flatMap((list) => list.split(','))
  return names.map((name) => name.trim()).filter((name) => name !== '' && !name.includes(MARKER))
}

function fieldsThat(goesOn: (lowerName: string) => boolean, fields: readonly string[]): readonly string[] {
  const kept: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    if (goesOn(name.toLowerCase())) kept.push(name, fields[i + 1] as string)
  }
  return kept
}

/** Throws a release's refusal, `value_not_placeable`, `store_unavailable` and `audit_unavailable`. */
async function released(
  ports: ContentPorts,
  { method, sandbox }: ExchangeRequest,
  { destination, record, released: values, budget }: TrailerContext,
  headers: readonly string[],
): Promise<readonly string[]> {
  const found = findInTrailers(headers)
  if (found.length === 0) return headers
  const head = { method, path: '', headers }
  const releases = await decideReleases(ports, sandbox, destination, head, found, budget)
  record.withheld(releases.withheld)
  if (releases.occurrences.length === 0) return headers
  await record.release(auditedSecrets(releases))
  for (const release of releases.byToken.values()) values?.add(release)
  return substitute(head, releases.occurrences, releases.byToken).headers
}
