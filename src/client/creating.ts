/** Creates that may be sent again: each has an idempotency key, so the server makes one thing however often it is asked. */
import type { CreateOptions, Sending } from './connection.ts'
import { misused } from './error.ts'

/** The body of a create, with the caller's key or one of its own. */
export function creating(body: unknown, { idempotencyKey }: CreateOptions): Sending {
  const key = idempotencyKey ?? crypto.randomUUID()
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw misused('idempotencyKey is not as it must be.', 'Give 1 to 255 printable ASCII characters, such as a UUID.')
  }
  return { body, headers: { 'idempotency-key': key }, repeatable: true }
}
