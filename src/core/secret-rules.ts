/**
 * What sandboxes and tokens may be called, and what secrets may hold (their names are in secret-name.ts). Each check returns the accepted form or throws
 * `invalid_input`; no message repeats a value, or a name that was not accepted.
 */
import { CoatcheckError } from './errors.ts'
import { isUuid } from './id.ts'
import { SHORTEST_MASKED } from './masking.ts'
import { containsMarker } from './placeholder.ts'
import type { Placement } from './placement.ts'
import type { ReadPolicy, RotationPolicy, SecretType, SecretValue } from './secret.ts'
import { checkHeaderSafe } from './substitution.ts'

export const MAX_VALUE_BYTES = 65_536
const MAX_OCCURRENCES = 1000
const MAX_DESCRIPTION_LENGTH = 2_000
const MAX_LABELS = 64
const MAX_PLACEMENTS = 50
const MAX_MOUNTS = 256
const MAX_SCOPE_NAME = 128
const MAX_METADATA_BYTES = 16_384
const MAX_METADATA_DEPTH = 32
const MAX_ACCESS_COUNT = 1_000_000_000
const MAX_ROTATION_DAYS = 3_650
const DAY_MS = 86_400_000

const SANDBOX_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$/
const EXTERNAL_ID = /^(?! )[^\p{C}\p{Zl}\p{Zp}]{1,256}(?<! )$/u
const SCOPE_NAME = EXTERNAL_ID
const LABEL_VALUE = /^[^\p{C}\p{Zl}\p{Zp}]{0,256}$/u
// oxlint-disable-next-line no-control-regex -- every control character but tab and line feed
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/

/** Whether the end of such a value may be shown. */
const TYPES: Readonly<Record<SecretType, { readonly hint: boolean }>> = {
  generic: { hint: true },
  password: { hint: true },
  api_key: { hint: true },
  env: { hint: true },
  private_key: { hint: false },
  certificate: { hint: false },
  ssh_key: { hint: false },
  file: { hint: false },
  note: { hint: false },
  env_bundle: { hint: false },
  aws: { hint: false },
}

export function checkSandboxName(name: string): string {
  if (SANDBOX_NAME.test(name)) return notAnId(name)
  throw invalid(
    'The name of the sandbox is not allowed.',
    'Use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit.',
  )
}

export function checkTokenName(name: string): string {
  if (SANDBOX_NAME.test(name)) return notAnId(name)
  throw invalid(
    'The name of the token is not allowed.',
    'Use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit.',
  )
}

/** Of a workspace or a vault. */
export function checkScopeName(name: string): string {
  if (name.length <= MAX_SCOPE_NAME && SCOPE_NAME.test(name)) return notAnId(name)
  throw invalid('The name is not allowed.', `Use 1 to ${MAX_SCOPE_NAME} printable characters.`)
}

/** Names and ids are looked up by the same parameter, so a name never looks like an id. */
function notAnId(name: string): string {
  if (!isUuid(name.toLowerCase())) return name
  throw invalid('The name has the form of an id.', 'Choose a name that is not a UUID.')
}

/** Environment variable name -> secret name or id, as `[env, secret]` pairs in the order of the variables' names. */
export function checkMounts(mounts: Readonly<Record<string, string>>): readonly (readonly [string, string])[] {
  const entries = Object.entries(mounts)
  if (entries.length > MAX_MOUNTS) throw invalid(`There are ${entries.length} mounts.`, `Mount at most ${MAX_MOUNTS}.`)
  for (const [env] of entries) checkEnvName(env)
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

export function checkEnvName(name: string): string {
  if (ENV_NAME.test(name)) return name
  throw invalid(
    'The name of an environment variable is not allowed.',
    'Use 1 to 128 of A-Z a-z 0-9 _ and do not begin with a digit.',
  )
}

export function checkType(type: string): SecretType {
  if (Object.hasOwn(TYPES, type)) return type as SecretType
  throw invalid('There is no such type of secret.', `Types are: ${Object.keys(TYPES).join(', ')}.`)
}

export function checkDescription(text: string | null): string | null {
  if (text === null || (text.length <= MAX_DESCRIPTION_LENGTH && !CONTROL.test(text))) return text
  throw invalid(
    'The description is not allowed.',
    `Use up to ${MAX_DESCRIPTION_LENGTH} characters without control characters.`,
  )
}

export function checkLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(labels)
  if (entries.length > MAX_LABELS) throw invalid(`There are ${entries.length} labels.`, `Use at most ${MAX_LABELS}.`)
  for (const [key, value] of entries) {
    if (LABEL_KEY.test(key) && LABEL_VALUE.test(value)) continue
    throw invalid(
      'A label is not allowed.',
      'Keys are 1 to 253 of A-Z a-z 0-9 . _ / - and begin and end with a letter or digit; values are up to 256 printable characters.',
    )
  }
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** A JSON object in its stored form. */
export function checkMetadata(metadata: Readonly<Record<string, unknown>>): string {
  const text = isPlainObject(metadata) && depthOf(metadata) <= MAX_METADATA_DEPTH ? JSON.stringify(metadata) : null
  if (text !== null && Buffer.byteLength(text) <= MAX_METADATA_BYTES) return text
  throw invalid(
    'The metadata is not allowed.',
    `Use a JSON object of at most ${MAX_METADATA_BYTES} bytes, nested at most ${MAX_METADATA_DEPTH} deep.`,
  )
}

/** 1 to 1000. */
export function checkMaxOccurrences(count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= MAX_OCCURRENCES) return count
  throw new CoatcheckError(
    'invalid_input',
    'maxOccurrences is not a whole number from 1 to 1000.',
    'Most requests hold a credential once: leave it out, or give the number they need.',
  )
}

/** Nothing that is shown may hold the value. Values too short to be told from other text are not looked for. */
export function refuseValueInText(value: SecretValue, shown: readonly (string | null)[]): void {
  if (value.byteLength < SHORTEST_MASKED) return
  const bytes = value.reveal()
  if (!shown.some((text) => text !== null && Buffer.from(text, 'utf8').includes(bytes))) return
  throw invalid(
    'The value is also in the description, the labels or the metadata, which are shown.',
    'Write it as the value alone.',
  )
}

export function checkExternalId(externalId: string | null): string | null {
  if (externalId === null || EXTERNAL_ID.test(externalId)) return externalId
  throw invalid('The external id is not allowed.', 'Use 1 to 256 printable characters without spaces at the ends.')
}

export function checkMaxAccessCount(count: number | null): number | null {
  if (count === null || (Number.isInteger(count) && count >= 1 && count <= MAX_ACCESS_COUNT)) return count
  throw invalid('The max access count is not allowed.', `Use a whole number from 1 to ${MAX_ACCESS_COUNT}, or null.`)
}

export function checkReadPolicy(policy: string): ReadPolicy {
  if (policy === 'never' || policy === 'permission') return policy
  throw invalid('There is no such read policy.', 'Use never or permission.')
}

/** The read policy that follows: `never` stays. Throws `conflict` on an attempt to loosen it. */
export function tightenReadPolicy(old: ReadPolicy, wanted: ReadPolicy): ReadPolicy {
  if (checkReadPolicy(wanted) === 'never' || old === 'permission') return wanted
  throw new CoatcheckError(
    'conflict',
    'The read policy never is not loosened.',
    'Create another secret whose read policy is permission, if its value must be read.',
  )
}

/** In stored form. */
export function checkRotationPolicy(policy: RotationPolicy | null): string | null {
  if (policy === null) return null
  const { everyDays } = policy
  if (everyDays === undefined || (Number.isInteger(everyDays) && everyDays >= 1 && everyDays <= MAX_ROTATION_DAYS)) {
    return checkMetadata(policy)
  }
  throw invalid('The rotation policy is not allowed.', `everyDays is a whole number from 1 to ${MAX_ROTATION_DAYS}.`)
}

/** When a version made at `createdAt` is due, both ISO 8601; null = never. */
export function rotationDueAt(policy: RotationPolicy | null, createdAt: string): string | null {
  if (policy?.everyDays === undefined) return null
  return new Date(Date.parse(createdAt) + policy.everyDays * DAY_MS).toISOString()
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Of arrays and objects; stops where it is too deep, so that depth costs nothing. */
function depthOf(value: unknown, above = 0): number {
  if (typeof value !== 'object' || value === null || above > MAX_METADATA_DEPTH) return above
  let deepest = above + 1
  for (const inner of Object.values(value)) deepest = Math.max(deepest, depthOf(inner, above + 1))
  return deepest
}

/** The instant in its stored form (UTC, milliseconds). `now` in milliseconds since the epoch. */
export function checkExpiry(text: string | null, now: number): string | null {
  if (text === null) return null
  const instant = checkInstant(text)
  if (Date.parse(instant) > now) return instant
  throw invalid('The expiry is in the past.', 'Choose a later one, or null for none.')
}

/** A point in time in its stored form. */
export function checkInstant(text: string): string {
  const time = INSTANT.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(time)) return new Date(time).toISOString()
  throw invalid('That is not a point in time.', 'Write it as ISO 8601 with a zone, such as 2030-01-31T12:00:00Z.')
}

export function checkPlacementCount(count: number): void {
  if (count >= 1 && count <= MAX_PLACEMENTS) return
  throw invalid(`There are ${count} placements.`, `Name 1 to ${MAX_PLACEMENTS}, or leave them out for the default.`)
}

/** A value that can be placed where its placements say, and never be taken for a placeholder. */
export function checkValue(value: SecretValue, placements: readonly Placement[]): void {
  if (value.byteLength < 1 || value.byteLength > MAX_VALUE_BYTES) {
    throw invalid(`The value has ${value.byteLength} bytes.`, `Use 1 to ${MAX_VALUE_BYTES} bytes.`)
  }
  if (containsMarker(value.reveal())) {
    throw invalid('The value contains the marker of a placeholder.', 'Store the real value, not a placeholder.')
  }
  if (!placements.some((placement) => placement.kind === 'credential-headers' || placement.kind === 'header')) return
  const safety = checkHeaderSafe(value)
  if (safety.ok) return
  throw invalid(
    `The value cannot be put into a header: ${safety.why}.`,
    'Remove what a header cannot carry (often a line break at the end), or choose placements that are not headers.',
  )
}

/** What the person who wrote this value or these hosts should know. */
export function secretWarnings(value: SecretValue | null, hosts: readonly string[] | null): string[] {
  const warnings: string[] = []
  if (value !== null && value.byteLength < SHORTEST_MASKED) {
    warnings.push(`The value is shorter than ${SHORTEST_MASKED} bytes, so it is not masked in responses.`)
  }
  if (hosts === null) warnings.push('The secret has no hosts, so it may go to any host.')
  return warnings
}

/** The last four characters, for people to tell values apart; null when showing them would say too much. */
export function hintOf(value: SecretValue, type: SecretType): string | null {
  if (!TYPES[type].hint) return null
  const bytes = value.reveal()
  const end = bytes.subarray(-4)
  if (end.some((byte) => byte < 0x21 || byte > 0x7e)) return null
  return countCodePoints(bytes) < 12 ? null : `••••${end.toString('latin1')}`
}

/** Of UTF-8: every byte that does not continue a character begins one. */
function countCodePoints(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count++
  return count
}

function invalid(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, hint)
}
