/**
 * Who sent a request: name and token, as Basic credentials in `Proxy-Authorization` (so `http://name:token@host:port`
 * works in every client) or as another protocol has them, or the one sandbox a listener is bound to. Nothing else
 * happens before this is known.
 */
import { CoatcheckError } from '../core/errors.ts'
import { every } from '../core/fields.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import { single } from './headers.ts'

/** `proxy.identity`: every request proves itself, or all of them belong to one sandbox. */
export type IdentityRule = { readonly kind: 'required' } | { readonly kind: 'sandbox'; readonly name: string }

/** What a sandbox proves itself with. */
export interface Credentials {
  readonly name: string
  readonly token: string
}

const NO_IDENTITY = new CoatcheckError(
  'identity_required',
  'The proxy does not know which sandbox this is.',
  'Use the proxy URL that `coatcheck sandbox create` printed: http://NAME:TOKEN@HOST:PORT.',
)

/** Name and token from a Basic credential (RFC 7617); undefined when it is not one. */
function basicCredentials(field: string): Credentials | undefined {
  const match = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(field)
  if (match === null) return undefined
  const text = Buffer.from(match[1] as string, 'base64').toString('latin1')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { name: text.slice(0, colon), token: text.slice(colon + 1) }
}

/** Throws `identity_required`, alike for missing and wrong credentials. */
export async function identify(
  sandboxes: SandboxReader,
  rule: IdentityRule,
  headers: readonly string[],
): Promise<SandboxIdentity> {
  return await identifyBy(sandboxes, rule, rule.kind === 'sandbox' ? undefined : credentialsIn(headers))
}

/** The credentials in `Proxy-Authorization`; undefined when there are none that can be read. */
export function credentialsIn(headers: readonly string[]): Credentials | undefined {
  const field = single(headers, 'proxy-authorization')
  return field === undefined ? undefined : basicCredentials(field)
}

/** The same for credentials that came another way. A bound listener does not look at them. */
export async function identifyBy(
  sandboxes: SandboxReader,
  rule: IdentityRule,
  credentials: Credentials | undefined,
): Promise<SandboxIdentity> {
  const sandbox =
    rule.kind === 'sandbox'
      ? await sandboxes.byName(rule.name)
      : credentials && (await sandboxes.authenticate(credentials.name, credentials.token))
  if (sandbox === undefined) throw NO_IDENTITY
  return sandbox
}

/** True when the request tried to prove itself; a plain first request without credentials is no event. */
export function presentsCredentials(headers: readonly string[]): boolean {
  return every(headers, 'proxy-authorization').length > 0
}
