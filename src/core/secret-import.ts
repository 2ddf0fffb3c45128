/**
 * Many secrets as one text, in and out: dotenv (names and values) and JSON (these and what goes with them).
 *
 * JSON is `{"NAME": "value", …}` or `{"secrets": [{"name", "value", …}, …]}`; written is the second. What is read is checked for its
 * shape here and for its rules by the store. No message repeats a value.
 */
import { formatDotenv, parseDotenv } from './dotenv.ts'
import { CoatcheckError } from './errors.ts'
import { SecretValue } from './secret.ts'
import type { NewSecret } from './secret-store.ts'

export type ImportFormat = 'dotenv' | 'json'

/** A secret as it goes out: its value was opened by who may read it. */
export type ExportedSecret = Pick<NewSecret, 'name' | 'value'> & Partial<NewSecret>

const MAX_SECRETS = 10_000

/** The kinds of fields that JSON may give besides name and value. */
const FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  description: isTextOrNull,
  type: isText,
  hosts: (value) => value === null || isTexts(value),
  placements: isTexts,
  allowPlaintext: (value) => typeof value === 'boolean',
  labels: (value) => isObject(value) && Object.values(value).every(isText),
  metadata: isObject,
  externalId: isTextOrNull,
  readPolicy: isText,
  expiresAt: isTextOrNull,
  maxAccessCount: (value) => value === null || typeof value === 'number',
  countUses: (value) => typeof value === 'boolean',
  maxOccurrences: (value) => typeof value === 'number',
  rotationPolicy: (value) => value === null || isObject(value),
}

/** Throws `invalid_input` with the place of each mistake. */
export function parseSecrets(format: ImportFormat, text: string): readonly NewSecret[] {
  if (format === 'json') return parseJson(text)
  return parseDotenv(text).map(({ name, value }) => ({ name, value: SecretValue.fromText(value) }))
}

/** Throws `invalid_input` for a value that is not UTF-8 text, and for a name that a dotenv file cannot hold. */
export function formatSecrets(format: ImportFormat, secrets: readonly ExportedSecret[]): string {
  const texts = secrets.map((secret) => ({ ...secret, value: textOf(secret) }))
  return format === 'dotenv' ? formatDotenv(texts) : `${JSON.stringify({ secrets: texts }, null, 2)}\n`
}

function parseJson(text: string): readonly NewSecret[] {
  const document = readDocument(text)
  const list = document['secrets']
  if (!Array.isArray(list)) {
    return Object.entries(document).map(([name, value]) => {
      if (!isText(value)) throw invalid([`${place(name)} is not a string`])
      return { name, value: SecretValue.fromText(value) }
    })
  }
  const mistakes: string[] = []
  const names = new Set<string>()
  const secrets = (list as readonly unknown[]).map((entry, at) => readEntry(entry, `secrets[${at}]`, names, mistakes))
  if (secrets.length > MAX_SECRETS) mistakes.push(`there are more than ${MAX_SECRETS} secrets`)
  if (mistakes.length > 0) throw invalid(mistakes)
  return secrets
}

function readEntry(entry: unknown, at: string, names: Set<string>, mistakes: string[]): NewSecret {
  const { name, value, ...rest } = isObject(entry) ? entry : {}
  if (!isText(name)) mistakes.push(`${at}.name is not a string`)
  else if (names.has(name)) mistakes.push(`${at}.name is there twice`)
  else names.add(name)
  if (!isText(value)) mistakes.push(`${at}.value is not a string`)
  for (const [field, content] of Object.entries(rest)) {
    const fits = Object.hasOwn(FIELDS, field) ? FIELDS[field] : undefined
    if (fits === undefined) mistakes.push(`${at} has a field that is not known`)
    else if (!fits(content)) mistakes.push(`${at}.${field} is not of its kind`)
  }
  const read = { ...rest, name: String(name), value: SecretValue.fromText(isText(value) ? value : '') }
  return read
}

function readDocument(text: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(text)
    if (isObject(document)) return document
  } catch {
    // Not passed on as a cause: the parser's message quotes the text it failed at, which may be a value.
  }
  throw invalid(['it is not a JSON object'])
}

function textOf({ name, value }: ExportedSecret): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value.reveal())
  } catch {
    throw new CoatcheckError(
      'invalid_input',
      `The value of ${name} is not UTF-8 text.`,
      'Leave it out, or use a backup, which holds any value.',
    )
  }
}

function invalid(mistakes: readonly string[]): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    `The JSON has mistakes: ${mistakes.slice(0, 20).join('; ')}.`,
    'Write {"NAME": "value"} or {"secrets": [{"name": "NAME", "value": "value"}]}.',
  )
}

/** A key that could not be a secret's name is not repeated: it may be a value that slipped. */
function place(name: string): string {
  return /^[A-Za-z0-9_./-]{1,64}$/.test(name) ? name : 'one of the names'
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isTextOrNull(value: unknown): boolean {
  return value === null || isText(value)
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
