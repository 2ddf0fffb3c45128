/**
 * One exchange, start to finish: this function is the policy. Everything it calls returns to it.
 *
 * Order is the guarantee: destination and egress before placeholders, placeholders before any secret is read, the
 * release recorded durably before a value is put into bytes, and one event written whatever happens.
 */
import type { EgressPolicy } from '../core/egress.ts'
import { CoatcheckError } from '../core/errors.ts'
import type { MaskerCache } from '../core/masking.ts'
import { findPlaceholders, substitute } from '../core/substitution.ts'
import { routeRequest } from './destination.ts'
import { type ExchangeLogPorts, ExchangeRecord } from './exchange-log.ts'
import { requestFields } from './headers.ts'
import type { LoopGuard } from './loop-guard.ts'
import { askInspectable, MaskedSink } from './masked-response.ts'
import type { ExchangeRequest, Forwarder, ResponseSink } from './message.ts'
import { reject } from './rejection.ts'
import { auditedSecrets, decideReleases, NOTHING_RELEASED, type ReleasePorts } from './release.ts'
import { type InBody, RequestBody } from './request-body.ts'

export interface ExchangePorts extends ExchangeLogPorts, ReleasePorts {
  readonly egress: EgressPolicy
  readonly loops: LoopGuard
  readonly inBody: InBody
  /** Null when `secrets.masking` is off. */
  readonly maskers: MaskerCache | null
  readonly forwarder: Forwarder
  readonly upgrader: Forwarder
}

/** Runs one exchange. Never rejects: whatever goes wrong is answered on the sink and recorded. */
export async function runExchange(ports: ExchangePorts, request: ExchangeRequest, client: ResponseSink): Promise<void> {
  const record = new ExchangeRecord(ports, request.id, request.method, request.sandbox)
  let body: RequestBody | null = null
  try {
    const { destination, path, hostField } = routeRequest(request)
    record.routed(destination, path)
    const egress = ports.egress.decide({ ...destination, method: request.method, path })
    if (!egress.allow) throw new CoatcheckError(egress.reason, egress.message, egress.hint)
    ports.loops.check(request.headers)

    const head = { method: request.method, path, headers: ports.loops.mark(requestFields(request.headers, hostField)) }
    const found = findPlaceholders(head)
    const releases =
      found.length === 0 ? NOTHING_RELEASED : await decideReleases(ports, request.sandbox, destination, head, found)
    record.withheld(releases.withheld)
    const released = releases.occurrences.length > 0
    if (released) await record.release(auditedSecrets(releases))

    const swapped = released ? substitute(head, releases.occurrences, releases.byToken) : head
    const masker = released ? (ports.maskers?.of([...releases.byToken.values()]) ?? null) : null
    const sink = masker === null ? client : new MaskedSink(client, masker, request.method)
    if (request.expectsContinue) client.informational(100, [])
    body = request.body === null ? null : new RequestBody(request.body, ports.inBody)
    const { sandbox, upgrade } = request
    const outgoing = { workspaceId: sandbox.workspaceId, destination, ...swapped, body, upgrade, received: request }
    if (masker !== null) outgoing.headers = askInspectable(swapped.headers)
    await (upgrade === null ? ports.forwarder : ports.upgrader).forward(outgoing, sink, record)
  } catch (error) {
    record.failed(client.gone ? 'client_aborted' : error)
    reject(client, error, request.id)
  } finally {
    record.withheld(body?.placeholders ?? 0)
    record.finish(client.status, body?.bytes ?? 0, client.bytes)
  }
}
