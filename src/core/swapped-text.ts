/**
 * Texts of a request that have values in them in a form of their own: the encoded credentials of `Basic`. An upstream that
 * gives them back whole thereby gives back what the sandbox sent, and not a placeholder amid base64.
 */
import { SecretValue } from './secret.ts'
import { credentialsIn, type Occurrence, type Release, type RequestHead } from './substitution.ts'

export interface SwappedText {
  readonly sent: SecretValue
  readonly received: string
  /** Bytes of the longest value in it. */
  readonly valueBytes: number
}

const NONE: readonly SwappedText[] = Object.freeze([])

/** Those in the head that `substitute` made of the one received, with these releases. */
export function swappedTexts(
  received: RequestHead,
  sent: RequestHead,
  occurrences: readonly Occurrence[],
  releases: ReadonlyMap<string, Release>,
): readonly SwappedText[] {
  let valueBytes: Map<number, number> | null = null
  for (const { token, spot } of occurrences) {
    if (spot.kind !== 'header' || !spot.basic) continue
    const bytes = releases.get(token)?.value.byteLength ?? 0
    valueBytes ??= new Map()
    valueBytes.set(spot.pair, Math.max(bytes, valueBytes.get(spot.pair) ?? 0))
  }
  if (valueBytes === null) return NONE
  return Array.from(valueBytes, ([pair, bytes]) => ({
    sent: SecretValue.fromText(credentialsIn(sent.headers[pair + 1] as string)),
    received: credentialsIn(received.headers[pair + 1] as string),
    valueBytes: bytes,
  }))
}
