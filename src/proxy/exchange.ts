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
import { type BodyPorts, type OutgoingBody, outgoingBody } from './body-release.ts'
import { DecodedSink } from './decoded-response.ts'
import { routeRequest } from './destination.ts'
import { type ExchangeLogPorts, ExchangeRecord } from './exchange-log.ts'
import { requestFields } from './headers.ts'
import type { LoopGuard } from './loop-guard.ts'
import { askInspectable, MaskedSink } from './masked-response.ts'
import type { ExchangeRequest, Forwarder, ResponseSink } from './message.ts'
import { reject } from './rejection.ts'
import { auditedSecrets, decideReleases, nothingReleased, releasedBy } from './release.ts'
import { signingOf } from './signing.ts'
import { outgoingUpgrade } from './websocket-release.ts'

export interface ExchangePorts extends ExchangeLogPorts, BodyPorts {
  readonly egress: EgressPolicy
  readonly loops: LoopGuard
  /** Null when `secrets.masking` is off. */
  readonly maskers: MaskerCache | null
  readonly forwarder: Forwarder
  readonly upgrader: Forwarder
}

/** Runs one exchange. Never rejects: whatever goes wrong is answered on the sink and recorded. */
export async function runExchange(ports: ExchangePorts, request: ExchangeRequest, client: ResponseSink): Promise<void> {
  const { method, sandbox } = request
  const record = new ExchangeRecord(ports, request.id, method, sandbox)
  let body: OutgoingBody | null = null
  let sink = client
  try {
    const { destination, path, hostField } = routeRequest(request)
    record.routed(destination, path)
    const egress = ports.egress.decide({ ...destination, method, path })
    if (!egress.allow) throw new CoatcheckError(egress.reason, egress.message, egress.hint)
    ports.loops.check(request.headers)

    const fields = ports.loops.mark(requestFields(request.headers, hostField), request.httpVersion)
    const head = { method, path, headers: fields }
    const found = findPlaceholders(head)
    const releases =
      found.length === 0 ? nothingReleased() : await decideReleases(ports, sandbox, destination, head, found)
    record.withheld(releases.withheld)
    const releasing = releases.occurrences.length > 0
    if (releasing) await record.release(auditedSecrets(releases))

    const swapped = releasing ? substitute(head, releases.occurrences, releases.byToken) : head
    const released = ports.maskers === null ? null : releasedBy(ports.maskers, releases, head, swapped)
    const signing = await signingOf(ports, request, { destination, path, record, client })
    if (signing.request.expectsContinue) client.informational(100, [])
    const { headers } = swapped
    const context = { destination, record, released, budget: releases.budget, headers, signed: signing.signed }
    body = await outgoingBody(ports, signing.request, context)

    const masked = released !== null && (released.masker !== null || body.mayRelease)
    sink = signing.answerTo(client)
    if (masked) sink = new DecodedSink(new MaskedSink(sink, released, method), method)
    const upgrade = request.upgrade && (await outgoingUpgrade(ports, sandbox, request.upgrade, context))
    const to = { workspaceId: sandbox.workspaceId, destination, upgrade }
    const outgoing = { ...swapped, ...to, body: body.stream, trailers: body.trailers, received: request }
    outgoing.headers = masked ? askInspectable(body.headers) : body.headers
    const forwarder = upgrade === null ? ports.forwarder : ports.upgrader
    await forwarder.forward(signing.outgoing(outgoing), sink, record)
    await sink.settled()
  } catch (thrown) {
    const error = sink.explain(thrown)
    record.failed(client.gone ? 'client_aborted' : error)
    reject(client, error, request.id)
  } finally {
    record.withheld(body?.withheld ?? 0)
    record.finish(client.status, body?.bytes ?? 0, client.bytes)
  }
}
