/** `coatcheck secret`: values go in and are never shown, asked for or echoed. */
import type { Command } from 'commander'
import type { SecretCreate, SecretDocument, SecretUpdate, VersionDocument } from '../api/contract/secrets.ts'
import {
  type CommonOptions,
  type Context,
  collect,
  collectList,
  inSession,
  pairs,
  segment,
  withCommonOptions,
} from './command.ts'
import { usage } from './failure.ts'
import { note, printFields, printJson, printLine, printTable } from './output.ts'
import { readValue, type ValueSource } from './value.ts'
import { parseExpiry } from './when.ts'

interface FieldOptions extends CommonOptions {
  readonly hosts?: readonly string[]
  readonly anyHost?: boolean
  readonly placement?: readonly string[]
  readonly description?: string
  readonly label?: readonly string[]
  readonly expires?: string
  readonly allowPlaintext?: boolean
}

interface CreateOptions extends FieldOptions, ValueSource {
  readonly dress?: string
  readonly type?: string
}

export function registerSecret(program: Command, context: Context): void {
  const group = program.command('secret').description('named values with the hosts they may go to')
  const command = (name: string, description: string) => withCommonOptions(group.command(name).description(description))

  withValue(withFields(command('create <name>', 'store a value and get its placeholder')))
    .option('--dress <prefix>', "text before the placeholder, so that a client's own format check passes")
    .option('--type <type>', 'api_key, password, private_key … (default: generic)')
    .action((name: string, options: CreateOptions) => create(context, name, options))
  command('list', 'list secrets')
    .option('--name <part>', 'only names that contain this')
    .option('--label <key=value>', 'only those with this label')
    .action((options: CommonOptions & { name?: string; label?: string }) => list(context, options))
  command('get <name>', 'show a secret, without its value').action((name: string, options: CommonOptions) =>
    get(context, name, options),
  )
  withFields(command('update <name>', 'change hosts, placements, labels …; what is not named stays'))
    .option('--no-allow-plaintext', 'never let the value go over plain HTTP')
    .action((name: string, options: FieldOptions) => update(context, name, options))
  withValue(command('rotate <name>', 'store a new value; the placeholder stays the same')).action(
    (name: string, options: CommonOptions & ValueSource) => rotate(context, name, options),
  )
  command('delete <name>', 'delete a secret with all its versions').action((name: string, options: CommonOptions) =>
    remove(context, name, options),
  )
  command('versions <name>', 'list the versions of a secret').action((name: string, options: CommonOptions) =>
    versions(context, name, options),
  )
}

function withValue(command: Command): Command {
  return command
    .option('--value-stdin', 'read the value from standard input')
    .option('--value-file <file>', 'read the value from a file')
}

function withFields(command: Command): Command {
  return command
    .option('--hosts <a,b>', 'hosts it may go to, such as api.example.com or *.example.com', collectList)
    .option('--any-host', 'let it go to any host')
    .option('--placement <placement>', 'where it may be put: header:x-api-key, basic … (repeatable)', collect)
    .option('--description <text>', 'a note for people')
    .option('--label <key=value>', 'a label (repeatable)', collect)
    .option('--expires <when>', '30d, 12h, a time, or never')
    .option('--allow-plaintext', 'let the value go over plain HTTP too')
}

/** The fields of a request, as far as they were named. */
function fieldsOf(options: FieldOptions, now: number): Omit<SecretUpdate, 'value'> {
  if (options.anyHost === true && options.hosts !== undefined) {
    throw usage('--hosts and --any-host exclude each other.', 'Give one of them.')
  }
  return {
    ...(options.hosts === undefined ? {} : { hosts: options.hosts }),
    ...(options.anyHost === true ? { hosts: null } : {}),
    ...(options.placement === undefined ? {} : { placements: options.placement }),
    ...(options.description === undefined
      ? {}
      : { description: options.description === '' ? null : options.description }),
    ...(options.label === undefined ? {} : { labels: pairs(options.label, 'label', 'key=value') }),
    ...(options.expires === undefined ? {} : { expiresAt: parseExpiry(options.expires, now) }),
    ...(options.allowPlaintext === undefined ? {} : { allowPlaintext: options.allowPlaintext }),
  }
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const fields = fieldsOf(options, context.now)
  const value = await readValue(context.io, options, `Value of ${name} (not shown): `)
  const body: Omit<SecretCreate, 'type'> & { type?: string } = {
    name,
    value,
    ...fields,
    ...(options.dress === undefined ? {} : { dress: options.dress }),
    ...(options.type === undefined ? {} : { type: options.type }),
  }
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<SecretDocument>('POST', '/v1/secrets', body)),
  )
}

async function list(context: Context, options: CommonOptions & { name?: string; label?: string }): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<SecretDocument>('/v1/secrets', { name: options.name, label: options.label })
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((secret) => [
      secret.name,
      hostsText(secret),
      secret.placeholder,
      String(secret.version),
      secret.expiresAt ?? 'never',
    ])
    await printTable(context.io, ['NAME', 'HOSTS', 'PLACEHOLDER', 'VERSION', 'EXPIRES'], rows, 'There are no secrets.')
  })
}

async function get(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<SecretDocument>('GET', `/v1/secrets/${segment(name)}`)),
  )
}

async function update(context: Context, name: string, options: FieldOptions): Promise<void> {
  const fields = fieldsOf(options, context.now)
  if (Object.keys(fields).length === 0) {
    throw usage('Nothing to change is named.', 'Add --hosts, --expires …; a new value is stored with secret rotate.')
  }
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<SecretDocument>('PATCH', `/v1/secrets/${segment(name)}`, fields)),
  )
}

async function rotate(context: Context, name: string, options: CommonOptions & ValueSource): Promise<void> {
  const value = await readValue(context.io, options, `New value of ${name} (not shown): `)
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<SecretDocument>('PATCH', `/v1/secrets/${segment(name)}`, { value })),
  )
}

async function remove(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `/v1/secrets/${segment(name)}`)
    if (options.json !== true) await printLine(context.io, `Deleted secret ${name}.`)
  })
}

async function versions(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<VersionDocument>(`/v1/secrets/${segment(name)}/versions`)
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((version) => [
      String(version.version),
      version.createdAt,
      version.createdBy,
      version.disabledAt ?? '-',
    ])
    await printTable(context.io, ['VERSION', 'CREATED', 'BY', 'DISABLED'], rows, 'There are no versions.')
  })
}

/** The secret on standard output; warnings beside it, and in the JSON document as the API sends them. */
async function show(context: Context, options: CommonOptions, secret: SecretDocument): Promise<void> {
  if (options.json === true) await printJson(context.io, secret)
  else {
    await printFields(context.io, [
      ['name', secret.name],
      ['id', secret.id],
      ['placeholder', secret.placeholder],
      ['hosts', hostsText(secret)],
      ['placements', secret.placements.join(', ')],
      ['type', secret.type],
      ['version', String(secret.version)],
      ['expires', secret.expiresAt ?? 'never'],
      [
        'labels',
        Object.entries(secret.labels)
          .map((label) => label.join('='))
          .join(', ') || null,
      ],
      ['description', secret.description],
      ['plain HTTP', secret.allowPlaintext ? 'allowed' : 'refused'],
      ['updated', secret.updatedAt],
    ])
    for (const warning of secret.warnings ?? []) await note(context.io, `warning: ${warning}`)
  }
}

function hostsText(secret: SecretDocument): string {
  return secret.hosts === null ? 'any' : secret.hosts.join(', ')
}
