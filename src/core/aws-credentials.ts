/**
 * An AWS credential pair, as it is stored and as a sandbox holds it.
 *
 * Stored: `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`, or the JSON that AWS's own tools print
 * (`{"AccessKeyId": …, "SecretAccessKey": …, "SessionToken": …}`; other keys are ignored).
 *
 * Held: a placeholder pair in AWS's formats. The access key id is `XCOAT` and 15 characters of AWS's alphabet (A-Z 2-7),
 * 75 random bits, 20 characters in all: no key of AWS begins so (they begin with `AKIA`, `ASIA`, …), so one is never
 * taken for the other, and the whole of it is the token that is looked up. The secret access key is 40 random letters
 * and digits (238 bits). Neither is derived from the real pair or from the other.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { CoatcheckError } from './errors.ts'
import { type MountedSecret, SecretValue } from './secret.ts'
import type { Release } from './substitution.ts'

export const AWS_MARKER = 'XCOAT'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: SecretValue
  readonly sessionToken: SecretValue | null
}

/** What a sandbox holds. It opens nothing outside of that sandbox. */
export interface AwsPlaceholder {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const LETTERS_AND_DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const ID_RANDOM = 15
const SECRET_LENGTH = 40
const PLACEHOLDER = /^(XCOAT[A-Z2-7]{15}):([A-Za-z0-9]{40})$/

/** AWS documents 16 to 128 word characters; services that speak its protocol also have shorter ones, and dashes. */
const ACCESS_KEY_ID = /^[A-Za-z0-9_.-]{3,128}$/
const SECRET_ACCESS_KEY = /^[\x21-\x7e]{8,256}$/
const SESSION_TOKEN = /^[\x21-\x7e]{16,16384}$/

/** `ACCESS_KEY_ID:SECRET_ACCESS_KEY` of a fresh placeholder pair; the first half is its token. */
export function mintAwsPlaceholder(): string {
  let id = AWS_MARKER
  for (const byte of randomBytes(ID_RANDOM)) id += BASE32[byte & 31]
  let secret = ''
  while (secret.length < SECRET_LENGTH) secret += LETTERS_AND_DIGITS[randomInt(LETTERS_AND_DIGITS.length)]
  return `${id}:${secret}`
}

/** The halves of a placeholder pair; null for any other placeholder. */
export function readAwsPlaceholder(placeholder: string): AwsPlaceholder | null {
  const [, accessKeyId, secretAccessKey] = PLACEHOLDER.exec(placeholder) ?? []
  return accessKeyId === undefined || secretAccessKey === undefined ? null : { accessKeyId, secretAccessKey }
}

/** Throws `invalid_input`, which repeats nothing of the value. */
export function parseAwsCredentials(value: SecretValue): AwsCredentials {
  const text = value.reveal().toString('utf8').trim()
  const [id, secret, token, ...rest] = text.startsWith('{') ? fromJson(text) : text.split(':')
  const sound = ACCESS_KEY_ID.test(id ?? '') && SECRET_ACCESS_KEY.test(secret ?? '') && rest.length === 0
  if (!sound || (token !== undefined && !SESSION_TOKEN.test(token))) throw notAPair()
  if (id?.startsWith(AWS_MARKER) === true) {
    throw new CoatcheckError('invalid_input', 'The value is a placeholder pair.', 'Store the real pair.')
  }
  return {
    accessKeyId: id as string,
    secretAccessKey: SecretValue.fromText(secret as string),
    sessionToken: token === undefined ? null : SecretValue.fromText(token),
  }
}

/** Every text that is a secret in itself in the value of a secret: of a pair, also its secret halves alone. */
export function secretParts(
  { placeholder }: Pick<MountedSecret, 'placeholder'>,
  value: SecretValue,
): readonly SecretValue[] {
  if (readAwsPlaceholder(placeholder) === null) return [value]
  const { secretAccessKey, sessionToken } = parseAwsCredentials(value)
  return sessionToken === null ? [value, secretAccessKey] : [value, secretAccessKey, sessionToken]
}

/** What an answer must not show, each with what stands for it; a session token shows as the placeholder's access key id. */
export function awsReleases(secret: MountedSecret, held: AwsPlaceholder, real: AwsCredentials): readonly Release[] {
  const standing = (placeholder: string, value: SecretValue): Release => ({ secret: { ...secret, placeholder }, value })
  const releases = [
    standing(held.accessKeyId, SecretValue.fromText(real.accessKeyId)),
    standing(held.secretAccessKey, real.secretAccessKey),
  ]
  if (real.sessionToken !== null) releases.push(standing(held.accessKeyId, real.sessionToken))
  return releases
}

function fromJson(text: string): (string | undefined)[] {
  let parsed: Record<string, unknown>
  try {
    parsed = JSON.parse(text) as Record<string, unknown>
  } catch {
    // Not passed on as a cause: the parser's message quotes the text.
    throw notAPair()
  }
  const { AccessKeyId: id, SecretAccessKey: secret, SessionToken: token } = parsed
  if (typeof id !== 'string' || typeof secret !== 'string') throw notAPair()
  if (token === undefined || token === null || token === '') return [id, secret]
  return typeof token === 'string' ? [id, secret, token] : []
}

function notAPair(): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    'The value is not an AWS credential pair.',
    'Write ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN for temporary credentials, or the JSON that aws sts prints.',
  )
}
