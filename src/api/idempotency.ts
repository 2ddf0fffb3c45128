/**
 * Creates that can be sent again: within an hour, a second request with the same Idempotency-Key, by the same principal, to the same
 * place and with the same body gets the first one's answer, and one with another body is a 409.
 *
 * Only answers without credentials are kept, in memory, by this process; of a body only a keyed digest is. Where an answer shows a
 * token once, its repetition is a 409 that says so.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import { CoatcheckError } from '../core/errors.ts'
import { principalOf } from './authenticate.ts'
import type { Api } from './dependencies.ts'

const MAX_KEPT = 10_000
const MAX_KEPT_CHARACTERS = 32 * 1024 * 1024
const KEPT_MS = 3_600_000
const KEY = /^[\x21-\x7e]{1,255}$/

interface Kept {
  readonly digest: string
  /** Null while the first one is under way, or when its answer is not kept. */
  readonly answer: { readonly status: number; readonly type: string; readonly body: string } | null
  readonly done: boolean
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Under which its answer is to be kept; null = not at all. */
    idempotency: { readonly key: string; readonly digest: string } | null
  }
}

/** Registers it for every route whose config says `idempotent`. */
export function acceptIdempotencyKeys(api: Api): void {
  const secret = randomBytes(32)
  const kept = new LRUCache<string, Kept>({
    max: MAX_KEPT,
    maxSize: MAX_KEPT_CHARACTERS,
    sizeCalculation: ({ answer }) => 512 + (answer?.body.length ?? 0),
    ttl: KEPT_MS,
  })
  api.decorateRequest('idempotency', null)
  api.addHook('preHandler', async (request, reply) => {
    const { idempotent } = request.routeOptions.config
    const sent = request.headers['idempotency-key']
    if (idempotent === undefined || sent === undefined) return
    if (typeof sent !== 'string' || !KEY.test(sent)) throw malformed()
    const { id, scopeId } = principalOf(request)
    const key = [id, scopeId, request.method, request.url, sent].join('\n')
    const digest = createHmac('sha256', secret)
      .update(JSON.stringify(request.body ?? null))
      .digest('base64')
    const before = kept.get(key)
    if (before !== undefined) return replay(before, digest, reply)
    kept.set(key, { digest, answer: null, done: false })
    request.idempotency = { key, digest }
  })
  api.addHook('onSend', async (request, reply, payload) => {
    if (request.idempotency !== null) keep(kept, request, reply, payload)
    return payload
  })
}

function replay(before: Kept, digest: string, reply: FastifyReply): FastifyReply {
  if (before.digest !== digest) throw refused('was used for another request', 'Use a new key for a new request.')
  if (!before.done) throw refused('belongs to a request that is under way', 'Wait for its answer, then try again.')
  if (before.answer === null) {
    throw refused(
      'was answered with a token, which is shown once',
      'Look at what is there; make a new token if it is lost.',
    )
  }
  const { status, type, body } = before.answer
  return reply.code(status).header('idempotency-replayed', 'true').type(type).send(body)
}

/** What failed is forgotten, so that the key can be used to try again. */
function keep(kept: LRUCache<string, Kept>, request: FastifyRequest, reply: FastifyReply, payload: unknown): void {
  const { idempotency } = request
  if (idempotency === null) return
  const { key, digest } = idempotency
  if (reply.statusCode >= 300 || typeof payload !== 'string') {
    kept.delete(key)
    return
  }
  const type = String(reply.getHeader('content-type') ?? 'application/json; charset=utf-8')
  const replayed = request.routeOptions.config.idempotent === 'replay'
  kept.set(key, { digest, done: true, answer: replayed ? { status: reply.statusCode, type, body: payload } : null })
}

function refused(why: string, hint: string): CoatcheckError {
  return new CoatcheckError('conflict', `This Idempotency-Key ${why}.`, hint)
}

function malformed(): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    'The Idempotency-Key is not as it must be.',
    'Send 1 to 255 printable ASCII characters, such as a UUID.',
  )
}
