/** The options that say what a secret is, and the fields of a request that they make: what is not named is not in it. */
import { type Command, Option } from 'commander'
import type { SecretUpdate } from '../api/contract/secrets.ts'
import { type CommonOptions, collect, collectList, jsonObject, numberOrNone, pairs, wholeNumber } from './command.ts'
import { usage } from './failure.ts'
import { parseExpiry } from './when.ts'

export interface FieldOptions extends CommonOptions {
  readonly hosts?: readonly string[]
  readonly anyHost?: boolean
  readonly placement?: readonly string[]
  readonly description?: string
  readonly type?: string
  readonly label?: readonly string[]
  readonly metadata?: string
  readonly externalId?: string | false
  readonly readPolicy?: string
  readonly expires?: string
  readonly maxAccessCount?: string
  readonly countUses?: boolean
  readonly maxOccurrences?: string
  readonly rotateEvery?: string
  readonly rotationPolicy?: string
  readonly allowPlaintext?: boolean
}

/** The type is left to the server: a newer one knows more. */
export type Fields = Omit<SecretUpdate, 'value' | 'type' | 'readPolicy'> & { type?: string; readPolicy?: string }

export function withFields(command: Command): Command {
  return command
    .option('--hosts <a,b>', 'hosts it may go to, such as api.example.com or *.example.com', collectList)
    .option('--any-host', 'let it go to any host')
    .option('--placement <placement>', 'where it may be put: header:x-api-key, basic … (repeatable)', collect)
    .option('--description <text>', 'a note for people')
    .option('--type <type>', 'api_key, password, private_key … (default: generic)')
    .option('--label <key=value>', 'a label (repeatable; all of them together)', collect)
    .option('--metadata <json>', 'a JSON object, kept as it is; never a value')
    .option('--external-id <id>', 'its id elsewhere')
    .addOption(new Option('--read-policy <policy>', 'whether its value may be read').choices(['never', 'permission']))
    .option('--expires <when>', '30d, 12h, a time, or never')
    .option('--max-access-count <n>', 'how often its value may be read, or none')
    .option('--count-uses', 'let releases count as well as reads')
    .option('--max-occurrences <n>', 'how often one request may hold it outside of headers')
    .option('--rotate-every <days>', 'remind of rotation after so many days, or none')
    .option('--rotation-policy <json>', 'the whole rotation policy as a JSON object')
    .option('--allow-plaintext', 'let the value go over plain HTTP too')
}

/** The options that take back what `withFields` gives; for a secret that is there. */
export function withRetractions(command: Command): Command {
  return command
    .option('--no-external-id', 'forget its id elsewhere')
    .option('--no-count-uses', 'let only reads count')
    .option('--no-allow-plaintext', 'never let the value go over plain HTTP')
}

/** The fields of a request, as far as they were named. */
export function fieldsOf(options: FieldOptions, now: number): Fields {
  if (options.anyHost === true && options.hosts !== undefined) {
    throw usage('--hosts and --any-host exclude each other.', 'Give one of them.')
  }
  const { description, type, readPolicy, allowPlaintext, countUses, label, metadata } = options
  const fields = {
    hosts: options.anyHost === true ? null : options.hosts,
    placements: options.placement,
    description,
    type,
    labels: label === undefined ? undefined : pairs(label, 'label', 'key=value'),
    metadata: metadata === undefined ? undefined : jsonObject(metadata, '--metadata'),
    externalId: options.externalId === false ? null : options.externalId,
    readPolicy,
    expiresAt: options.expires === undefined ? undefined : parseExpiry(options.expires, now),
    ...counts(options),
    countUses,
    rotationPolicy: rotationPolicy(options),
    allowPlaintext,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function counts({ maxAccessCount, maxOccurrences }: FieldOptions) {
  return {
    maxAccessCount: maxAccessCount === undefined ? undefined : numberOrNone(maxAccessCount, '--max-access-count'),
    maxOccurrences: maxOccurrences === undefined ? undefined : wholeNumber(maxOccurrences, '--max-occurrences'),
  }
}

function rotationPolicy({ rotateEvery, rotationPolicy: policy }: FieldOptions) {
  if (rotateEvery !== undefined && policy !== undefined) {
    throw usage('--rotate-every and --rotation-policy exclude each other.', 'Give one of them.')
  }
  if (policy !== undefined) return jsonObject(policy, '--rotation-policy')
  if (rotateEvery === undefined) return undefined
  const everyDays = numberOrNone(rotateEvery.replace(/d$/, ''), '--rotate-every')
  return everyDays === null ? null : { everyDays }
}
