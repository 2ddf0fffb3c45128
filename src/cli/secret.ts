/** `coatcheck secret`: values go in and are not shown, but by `reveal` and `export`. */
import { type Command, Option } from 'commander'
import type { SecretDocument } from '../api/contract/secrets.ts'
import {
  type CommonOptions,
  type Context,
  collect,
  inSession,
  segment,
  wholeNumber,
  withScopeOptions,
} from './command.ts'
import { usage } from './failure.ts'
import { note, printJson, printLine, printTable } from './output.ts'
import { type FieldOptions, fieldsOf, withFields, withRetractions } from './secret-fields.ts'
import { registerSecretReports } from './secret-reports.ts'
import { SECRET_HEADINGS, secretRow, showSecret } from './secret-shown.ts'
import { registerSecretTransfer } from './secret-transfer.ts'
import { registerSecretVersions } from './secret-versions.ts'
import { allWithTotal, type Query } from './session.ts'
import { readValue, type ValueSource } from './value.ts'

const SECRETS = '/v1/secrets'

interface CreateOptions extends FieldOptions, ValueSource {
  readonly dress?: string
}

interface ChangeOptions extends CommonOptions {
  readonly ifVersion?: string
}

interface ListOptions extends CommonOptions {
  readonly name?: string
  readonly prefix?: string
  readonly query?: string
  readonly label?: readonly string[]
  readonly type?: string
  readonly externalId?: string
  readonly from?: string
  readonly deleted?: boolean
  readonly sort?: string
  readonly order?: string
  readonly total?: boolean
}

export function registerSecret(program: Command, context: Context): void {
  const group = program.command('secret').description('named values with the hosts they may go to')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  withValue(withFields(command('create <name>', 'store a value and get its placeholder')))
    .option('--dress <prefix>', "text before the placeholder, so that a client's own format check passes")
    .action((name: string, options: CreateOptions) => create(context, name, options))
  withFilters(command('list', 'list secrets')).action((options: ListOptions) => list(context, options))
  command('get <name>', 'show a secret, without its value').action((name: string, options: CommonOptions) =>
    get(context, name, options),
  )
  withPrecondition(
    withRetractions(
      withFields(command('update <name>', 'change hosts, placements, labels …; what is not named stays')),
    ),
  )
    .option('--rename <name>', 'give it another name')
    .action((name: string, options: FieldOptions & ChangeOptions & { rename?: string }) =>
      update(context, name, options),
    )
  withPrecondition(withValue(command('rotate <name>', 'store a new value; the placeholder stays the same'))).action(
    (name: string, options: ChangeOptions & ValueSource) => rotate(context, name, options),
  )
  command('delete <name>', 'delete a secret and destroy all its values')
    .option('--soft', 'keep the values, for revive')
    .action((name: string, options: CommonOptions & { soft?: boolean }) => remove(context, name, options))
  registerSecretVersions(command, context)
  registerSecretReports(command, context)
  registerSecretTransfer(command, context)
}

function withValue(command: Command): Command {
  return command
    .option('--value-stdin', 'read the value from standard input')
    .option('--value-file <file>', 'read the value from a file')
}

function withPrecondition(command: Command): Command {
  return command.option('--if-version <n>', 'only while it is at this version')
}

function withFilters(command: Command): Command {
  return command
    .option('--name <part>', 'only names that contain this')
    .option('--prefix <text>', 'only names that begin with this')
    .option('--query <text>', 'only those with this in name, description or external id')
    .option('--label <key=value>', 'only those with this label (repeatable)', collect)
    .option('--type <type>', 'only this type')
    .option('--external-id <id>', 'only the one with this id elsewhere')
    .addOption(
      new Option('--from <where>', 'which of those that are visible here').choices(['effective', 'own', 'inherited']),
    )
    .option('--deleted', 'softly deleted ones too')
    .addOption(new Option('--sort <field>', 'by what to sort').choices(['name', 'createdAt', 'updatedAt']))
    .addOption(new Option('--order <order>', 'in which order').choices(['asc', 'desc']))
    .option('--total', 'tell how many there are')
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const fields = fieldsOf(options, context.now)
  const value = await readValue(context.io, options, `Value of ${name} (not shown): `)
  const body = { name, value, ...fields, ...(options.dress === undefined ? {} : { dress: options.dress }) }
  await inSession(context, options, async (session) =>
    showSecret(context, options, await session.call<SecretDocument>('POST', SECRETS, body)),
  )
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const { io } = context
  await inSession(context, options, async (session) => {
    const page = await allWithTotal<SecretDocument>(session, SECRETS, queryOf(options))
    if (options.json === true) return await printJson(io, page)
    await printTable(io, SECRET_HEADINGS, page.items.map(secretRow), 'There are no secrets.')
    if (page.total !== undefined) await note(io, `${page.total} in all.`)
  })
}

function queryOf(options: ListOptions): Query {
  const { name, prefix, query, type, externalId, from, sort, order, label = [] } = options
  return {
    name,
    prefix,
    query,
    type,
    externalId,
    from,
    sort,
    order,
    // One may hold a comma; several are separated by commas.
    label: label.length === 1 ? label[0] : undefined,
    labels: label.length > 1 ? label.join(',') : undefined,
    deleted: options.deleted === true ? 'true' : undefined,
    total: options.total === true ? 'true' : undefined,
  }
}

async function get(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) =>
    showSecret(context, options, await session.call<SecretDocument>('GET', `${SECRETS}/${segment(name)}`)),
  )
}

async function update(
  context: Context,
  name: string,
  options: FieldOptions & ChangeOptions & { rename?: string },
): Promise<void> {
  const fields = {
    ...fieldsOf(options, context.now),
    ...(options.rename === undefined ? {} : { name: options.rename }),
  }
  if (Object.keys(fields).length === 0) {
    throw usage('Nothing to change is named.', 'Add --hosts, --expires …; a new value is stored with secret rotate.')
  }
  await change(context, name, options, fields)
}

async function rotate(context: Context, name: string, options: ChangeOptions & ValueSource): Promise<void> {
  const value = await readValue(context.io, options, `New value of ${name} (not shown): `)
  await change(context, name, options, { value })
}

async function change(context: Context, name: string, options: ChangeOptions, body: object): Promise<void> {
  const { ifVersion } = options
  const headers = ifVersion === undefined ? {} : { 'if-match': `"${wholeNumber(ifVersion, '--if-version')}"` }
  await inSession(context, options, async (session) => {
    const path = `${SECRETS}/${segment(name)}`
    await showSecret(context, options, await session.call<SecretDocument>('PATCH', path, body, headers))
  })
}

async function remove(context: Context, name: string, options: CommonOptions & { soft?: boolean }): Promise<void> {
  const soft = options.soft === true
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `${SECRETS}/${segment(name)}${soft ? '?soft=true' : ''}`)
    const how = soft ? `Deleted secret ${name}; secret revive brings it back.` : `Deleted secret ${name}.`
    if (options.json !== true) await printLine(context.io, how)
  })
}
