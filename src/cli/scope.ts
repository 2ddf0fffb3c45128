/** `coatcheck account`, `workspace` and `vault`: where secrets live, and what a workspace decides for itself. */
import { type Command, Option } from 'commander'
import type { ScopeDocument, SettingsDocument } from '../api/contract/scopes.ts'
import { type CommonOptions, type Context, collect, inSession, segment, withScopeOptions } from './command.ts'
import { usage } from './failure.ts'
import { printFields, printJson, printLine, printTable } from './output.ts'

interface CreateOptions extends CommonOptions {
  readonly description?: string
  readonly externalKey?: string
}

interface SettingsOptions extends CommonOptions {
  readonly requireHosts?: 'yes' | 'no' | 'default'
  readonly onDenied?: string
  readonly inBody?: string
  readonly placement?: readonly string[]
}

/** A level: its word, and where it is in the API. */
interface Level {
  readonly noun: string
  readonly path: string
}

const ANSWERS = ['refuse', 'withhold', 'report', 'default']

export function registerScopes(program: Command, context: Context): void {
  withScopeOptions(program.command('account').description('show the account')).action((options: CommonOptions) =>
    inSession(context, options, async (session) =>
      show(context, options, await session.call<ScopeDocument>('GET', '/v1/account')),
    ),
  )
  const workspace = { noun: 'workspace', path: '/v1/workspaces' }
  const group = program
    .command('workspace')
    .description('parts of the account, each with its own secrets and sandboxes')
  registerLevel(group, context, workspace)
  withSettings(withScopeOptions(group.command('settings <name>'))).action((name: string, options: SettingsOptions) =>
    settings(context, name, options),
  )
  registerLevel(program.command('vault').description('parts of a workspace that hold secrets'), context, {
    noun: 'vault',
    path: '/v1/vaults',
  })
}

function registerLevel(group: Command, context: Context, level: Level): void {
  const { noun } = level
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))
  command('create <name>', `make a ${noun}`)
    .option('--description <text>', 'a note for people')
    .option('--external-key <key>', 'its name elsewhere')
    .action((name: string, options: CreateOptions) => create(context, level, name, options))
  command('list', `list ${noun}s`).action((options: CommonOptions) => list(context, level, options))
  command('get <name>', `show a ${noun}`).action((name: string, options: CommonOptions) =>
    inSession(context, options, async (session) =>
      show(context, options, await session.call<ScopeDocument>('GET', `${level.path}/${segment(name)}`)),
    ),
  )
  command('delete <name>', `delete a ${noun} and destroy all that is in it`)
    .option('--yes', 'really')
    .action((name: string, options: CommonOptions & { yes?: boolean }) => remove(context, level, name, options))
}

function withSettings(command: Command): Command {
  const answer = (flag: string, description: string) =>
    new Option(`${flag} <what>`, `${description}: refuse, withhold, report, or default`).choices(ANSWERS)
  return command
    .description("show a workspace's settings, or change those that are named; default is the server's setting")
    .addOption(
      new Option('--require-hosts <what>', 'whether secrets must have hosts').choices(['yes', 'no', 'default']),
    )
    .addOption(answer('--on-denied', 'placeholders where a secret may not go'))
    .addOption(answer('--in-body', 'placeholders in bodies'))
    .option('--placement <placement>', 'placements of new secrets (repeatable), or default', collect)
}

async function create(context: Context, { noun, path }: Level, name: string, options: CreateOptions): Promise<void> {
  const { description, externalKey } = options
  const body = {
    name,
    ...(description === undefined ? {} : { description }),
    ...(externalKey === undefined ? {} : { externalKey }),
  }
  await inSession(context, options, async (session) => {
    const made = await session.call<ScopeDocument>('POST', path, body)
    if (options.json === true) return await printJson(context.io, made)
    await printLine(context.io, `Made ${noun} ${made.name}.`)
    await show(context, options, made)
  })
}

async function list(context: Context, { noun, path }: Level, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<ScopeDocument>(path)
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((each) => [each.name, each.id, each.externalKey ?? '-', each.createdAt])
    await printTable(context.io, ['NAME', 'ID', 'EXTERNAL KEY', 'CREATED'], rows, `There are no ${noun}s.`)
  })
}

async function show({ io }: Context, options: CommonOptions, scope: ScopeDocument): Promise<void> {
  if (options.json === true) return await printJson(io, scope)
  await printFields(io, [
    ['name', scope.name],
    ['id', scope.id],
    ['external key', scope.externalKey],
    ['description', scope.description],
    ['created', scope.createdAt],
    ['by', scope.createdBy],
  ])
}

async function remove(
  context: Context,
  { noun, path }: Level,
  name: string,
  options: CommonOptions & { yes?: boolean },
): Promise<void> {
  if (options.yes !== true) {
    throw usage(`This destroys all secrets of the ${noun}, for good.`, 'Add --yes if that is what you want.')
  }
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `${path}/${segment(name)}`)
    if (options.json !== true) await printLine(context.io, `Deleted ${noun} ${name}.`)
  })
}

async function settings(context: Context, name: string, options: SettingsOptions): Promise<void> {
  const changes = changesOf(options)
  const path = `/v1/workspaces/${segment(name)}/settings`
  await inSession(context, options, async (session) => {
    const changed = Object.keys(changes).length > 0
    const document = await session.call<SettingsDocument>(
      changed ? 'PATCH' : 'GET',
      path,
      changed ? changes : undefined,
    )
    if (options.json === true) return await printJson(context.io, document)
    const { requireHosts, onDenied, inBody, placements } = document
    const hosts = requireHosts === null ? null : requireHosts ? 'yes' : 'no'
    await printFields(context.io, [
      ['require hosts', hosts ?? 'default'],
      ['on denied', onDenied ?? 'default'],
      ['in body', inBody ?? 'default'],
      ['placements', placements?.join(', ') ?? 'default'],
    ])
  })
}

function changesOf({ requireHosts, onDenied, inBody, placement }: SettingsOptions): Readonly<Record<string, unknown>> {
  const orNull = (text: string | undefined) => (text === 'default' ? null : text)
  const fields = {
    requireHosts: requireHosts === undefined ? undefined : { yes: true, no: false, default: null }[requireHosts],
    onDenied: orNull(onDenied),
    inBody: orNull(inBody),
    placements: placement?.includes('default') === true ? null : placement,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
