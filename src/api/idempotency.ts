/**
 * Creates that can be sent again: within 24 hours, a second request with the same Idempotency-Key, by the same principal, to the same
 * place and with the same body gets the first one's answer, and one with another body is a 409. A restart changes nothing of it.
 *
 * Only answers without credentials are kept. Where an answer shows a token once, its repetition is a 409 that says so.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CoatcheckError } from '../core/errors.ts'
import type { Claim, Repeated } from '../core/repetition.ts'
import { principalOf } from './authenticate.ts'
import type { Api, ApiDeps } from './dependencies.ts'
import { routeOf } from './respond.ts'

const KEY = /^[\x21-\x7e]{1,255}$/

type RepeatDeps = Pick<ApiDeps, 'repetitions' | 'log'>

declare module 'fastify' {
  interface FastifyRequest {
    /** Under which its answer is to be kept; null = not at all. */
    claim: Claim | null
  }
}

/** Registers it for every route whose config says `idempotent`. */
export function acceptIdempotencyKeys(api: Api, deps: RepeatDeps): void {
  api.decorateRequest('claim', null)
  api.addHook('preHandler', async (request, reply) => {
    const { idempotent } = request.routeOptions.config
    const key = request.headers['idempotency-key']
    if (idempotent === undefined || key === undefined) return
    if (typeof key !== 'string' || !KEY.test(key)) throw malformed()
    const place = `${request.method} ${request.url}`
    const body = JSON.stringify(request.body ?? null)
    const claimed = await deps.repetitions.claim({ principal: principalOf(request), place, key, body })
    if ('what' in claimed) return replay(claimed, reply)
    request.claim = claimed
  })
  api.addHook('onSend', async (request, reply, payload) => {
    if (request.claim !== null) await keep(deps, request.claim, request, reply, payload)
    return payload
  })
}

function replay(before: Repeated, reply: FastifyReply): FastifyReply {
  switch (before.what) {
    case 'same': {
      const { status, type, body } = before.answer
      return reply.code(status).header('idempotency-replayed', 'true').type(type).send(body)
    }
    case 'other':
      throw refused('was used for another request', 'Use a new key for a new request.')
    case 'once':
      throw refused(
        'was answered with a token, which is shown once',
        'Look at what is there; make a new token if it is lost.',
      )
    case 'open':
      throw refused(
        'belongs to a request that is under way, or was broken off',
        'Wait and send it again; after a restart look at what is there, and use a new key if it was not made.',
      )
  }
}

/** What failed is forgotten, so that the key can be used to try again. What was made stays made, whether or not this can be written. */
async function keep(
  { repetitions, log }: RepeatDeps,
  claim: Claim,
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): Promise<void> {
  const body = reply.statusCode < 300 && typeof payload === 'string' ? payload : null
  const type = String(reply.getHeader('content-type') ?? 'application/json; charset=utf-8')
  const replayed = request.routeOptions.config.idempotent === 'replay'
  try {
    if (body === null) await repetitions.forget(claim)
    else await repetitions.answered(claim, replayed ? { status: reply.statusCode, type, body } : null)
  } catch (error) {
    log.error({ requestId: request.id, ...routeOf(request), error }, 'The answer to an Idempotency-Key was not kept.')
  }
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
