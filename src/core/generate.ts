/** New values from the system's randomness, every character equally likely. */
import { randomBytes } from 'node:crypto'
import { CoatcheckError } from './errors.ts'
import { SecretValue } from './secret.ts'

export type Charset = 'hex' | 'base64' | 'alphanumeric' | 'ascii'

export interface GenerateSpec {
  /** Characters, 8..1024; default 32. */
  readonly length?: number
  /** Default hex. */
  readonly charset?: Charset
}

export const GENERATED_LENGTH = { min: 8, max: 1024, default: 32 } as const

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'

/** `base64` is of the URL-safe alphabet without padding; `ascii` is every printable character but the space. */
export const CHARSETS: Readonly<Record<Charset, string>> = {
  hex: '0123456789abcdef',
  base64: `${LETTERS}${DIGITS}-_`,
  alphanumeric: `${LETTERS}${DIGITS}`,
  ascii: Array.from({ length: 0x7f - 0x21 }, (_, at) => String.fromCharCode(0x21 + at)).join(''),
}

/** Throws `invalid_input` for a length or charset that is not offered. */
export function generateValue(spec: GenerateSpec): SecretValue {
  const { length = GENERATED_LENGTH.default, charset = 'hex' } = spec
  if (!Number.isInteger(length) || length < GENERATED_LENGTH.min || length > GENERATED_LENGTH.max) {
    throw new CoatcheckError('invalid_input', 'The length is not allowed.', 'Use a whole number from 8 to 1024.')
  }
  if (!Object.hasOwn(CHARSETS, charset)) {
    throw new CoatcheckError(
      'invalid_input',
      'There is no such charset.',
      `Charsets are: ${Object.keys(CHARSETS).join(', ')}.`,
    )
  }
  const value = Buffer.alloc(length)
  fill(value, Buffer.from(CHARSETS[charset], 'latin1'))
  const generated = new SecretValue(value)
  value.fill(0)
  return generated
}

/** Bytes above the last whole multiple of the alphabet are drawn again: a remainder would favour its first characters. */
function fill(value: Buffer, alphabet: Buffer): void {
  const limit = 256 - (256 % alphabet.length)
  let at = 0
  while (at < value.length) {
    const random = randomBytes(value.length - at + 16)
    for (const byte of random) {
      if (byte >= limit || at === value.length) continue
      value[at++] = alphabet[byte % alphabet.length] ?? 0
    }
    random.fill(0)
  }
}
