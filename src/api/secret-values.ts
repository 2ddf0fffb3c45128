/** Values on their way in, and the one way out: a reveal, which the store has recorded and counted before. */
import { CoatcheckError } from '../core/errors.ts'
import { SecretValue } from '../core/secret.ts'
import type { RevealedSecret } from '../core/secret-store.ts'
import { shownValue } from '../core/value-text.ts'
import type { RevealDocument } from './contract/secrets.ts'
import { MAX_VALUE_BYTES } from './contract.ts'

/** The contract counts characters; the limit is in bytes. */
export function valueFrom(text: string): SecretValue {
  const value = SecretValue.fromText(text)
  if (value.byteLength <= MAX_VALUE_BYTES) return value
  throw new CoatcheckError(
    'invalid_input',
    `value must have at most ${MAX_VALUE_BYTES} bytes.`,
    'Keep larger things in a file store and its key here.',
  )
}

/** With its value replaced by the opaque type. */
export function withValue<F extends { readonly value?: string }>(
  fields: F,
): Omit<F, 'value'> & { readonly value?: SecretValue } {
  const { value, ...rest } = fields
  return value === undefined ? rest : { ...rest, value: valueFrom(value) }
}

export function revealed({ secret, version, value }: RevealedSecret): RevealDocument {
  const { encoding, text } = shownValue(value)
  return {
    secretId: secret.id,
    name: secret.name,
    version: version.version,
    encoding,
    value: text,
    accessCount: version.accessCount,
    maxAccessCount: version.maxAccessCount,
  }
}
