/** A value as an answer may show it, once it may be shown at all: as text where its bytes are UTF-8, else as base64. */
import type { SecretValue } from './secret.ts'

export interface ShownValue {
  readonly encoding: 'utf8' | 'base64'
  readonly text: string
}

/** Only for an answer to whom a reveal or a resolve allowed it. */
export function shownValue(value: SecretValue): ShownValue {
  const bytes = value.reveal()
  try {
    return { encoding: 'utf8', text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { encoding: 'base64', text: bytes.toString('base64') }
  }
}
