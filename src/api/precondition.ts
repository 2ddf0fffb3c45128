/** If-Match on a secret's version (RFC 9110 section 13.1.1): the tag is the version in quotes, so it guards the value. */
import type { FastifyReply } from 'fastify'
import { CoatcheckError } from '../core/errors.ts'
import { refuse } from './respond.ts'

export function etagOf(version: number): string {
  return `"${version}"`
}

/** The one version that may be there; null = any. Throws `invalid_input` for other tags than ours. */
export function versionOf(ifMatch: string | undefined): number | null {
  if (ifMatch === undefined || ifMatch.trim() === '*') return null
  const [, digits] = /^\s*"(\d{1,9})"\s*$/.exec(ifMatch) ?? []
  if (digits !== undefined) return Number(digits)
  throw new CoatcheckError(
    'invalid_input',
    'If-Match is not as it must be.',
    'Send the version of the secret in quotes, such as "3", or * for any version.',
  )
}

export function preconditionFailed(reply: FastifyReply): FastifyReply {
  return refuse(
    reply,
    'precondition_failed',
    'The secret is at another version.',
    'Look at what changed, then send the version that is there now, in quotes, as If-Match.',
  )
}
