/**
 * Audit events as they come, by server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): each event's id
 * is its place in the log, so a client that sends the last one it saw as Last-Event-ID misses nothing and sees nothing twice.
 *
 * Who asks is checked again every second: a stream ends when its token does. When the server stops, every stream ends whole.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuditFilter } from '../core/ports.ts'
import { callerOf, principalOf } from './authenticate.ts'
import { AuditStreamQuery } from './contract/audit.ts'
import type { Api, ApiDeps, PlacedEvent } from './dependencies.ts'

type StreamDeps = Pick<ApiDeps, 'trail' | 'tokens' | 'oidc'>

type Found = Awaited<ReturnType<StreamDeps['trail']['after']>>

const LOOK_MS = 1000
const ALIVE_EVERY = 15
const TYPE = 'text/event-stream'

export function auditStreamRoutes(api: Api, deps: StreamDeps): void {
  const stopping = new AbortController()
  const open = new Set<Readable>()
  api.addHook('preClose', async () => {
    stopping.abort()
    await Promise.all([...open].map(async (stream) => await ended(stream)))
  })

  const schema = {
    summary: 'Stream audit events as they come',
    description: 'Last-Event-ID goes on after that event; without it, the stream begins now.',
    produces: [TYPE],
    querystring: AuditStreamQuery,
  }
  // A HEAD would hold a stream open that nobody reads.
  const options = { schema, config: { permission: 'audit.view' }, exposeHeadRoute: false } as const
  api.get('/v1/audit/events/stream', options, async (request, reply) => {
    const first = await deps.trail.after(principalOf(request), placeOf(request, deps), request.query)
    const gone = new AbortController()
    request.raw.socket.once('close', () => gone.abort())
    const signal = AbortSignal.any([gone.signal, stopping.signal])
    const stream = Readable.from(lines(deps, request, first, request.query, signal), { objectMode: false })
    open.add(stream)
    stream.once('close', () => open.delete(stream))
    return begin(reply).send(stream)
  })
}

/** Buffering proxies are told not to. */
function begin(reply: FastifyReply): FastifyReply {
  return reply.code(200).header('x-accel-buffering', 'no').type(`${TYPE}; charset=utf-8`)
}

function placeOf(request: FastifyRequest, { trail }: StreamDeps): string {
  const sent = request.headers['last-event-id']
  return typeof sent === 'string' && sent !== '' ? sent : trail.latest()
}

/** `found` is the first look, made before the answer began so that a bad place is an error. */
async function* lines(
  deps: StreamDeps,
  request: FastifyRequest,
  first: Found,
  filter: AuditFilter,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const principal = principalOf(request)
  let found = first
  yield 'retry: 1000\n\n'
  for (let quiet = 0; !signal.aborted; ) {
    for (const each of found.events) yield messageOf(each)
    quiet = found.events.length > 0 ? 0 : quiet + 1
    if (quiet % ALIVE_EVERY === 1) yield `id: ${found.place}\n: alive\n\n`
    if (found.events.length === 0) {
      await pause(LOOK_MS, undefined, { signal }).catch(() => undefined)
      if ((await callerOf(request, deps))?.id !== principal.id) return
    }
    found = await deps.trail.after(principal, found.place, filter)
  }
  yield ': the server stops\n\n'
}

function messageOf({ place, event }: PlacedEvent): string {
  return `id: ${place}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`
}

async function ended(stream: Readable): Promise<void> {
  if (!stream.closed) await once(stream, 'close').catch(() => undefined)
}
