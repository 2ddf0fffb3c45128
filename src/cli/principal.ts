/** `coatcheck principal`: the users and agents of the account, and who one is oneself. */
import { type Command, Option } from 'commander'
import { type CallerDocument, type PrincipalDocument, ROLE_NAMES } from '../api/contract/tokens.ts'
import { type CommonOptions, type Context, inSession, segment, withScopeOptions } from './command.ts'
import { printFields, printJson, printLine, printTable } from './output.ts'

interface CreateOptions extends CommonOptions {
  readonly kind: string
  readonly role: string
  readonly email?: string
  readonly externalId?: string
}

const PRINCIPALS = '/v1/principals'
const ROLES = ROLE_NAMES.filter((role) => role !== 'runner')

export function registerPrincipal(program: Command, context: Context): void {
  const group = program.command('principal').description('users and agents of the account')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  command('self', 'show who you are and where you act').action((options: CommonOptions) => self(context, options))
  command('create <name>', 'make a user or an agent')
    .addOption(new Option('--kind <kind>', 'what it is').choices(['user', 'agent']).default('user'))
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .option('--email <address>', 'its address')
    .option('--external-id <id>', 'its id elsewhere')
    .action((name: string, options: CreateOptions) => create(context, name, options))
  command('list', 'list principals, oldest first')
    .addOption(new Option('--kind <kind>', 'only this kind').choices(['user', 'api_key', 'agent', 'system']))
    .action((options: CommonOptions & { kind?: string }) => list(context, options))
  command('get <id>', 'show a principal').action((id: string, options: CommonOptions) =>
    inSession(context, options, async (session) =>
      show(context, options, await session.call<PrincipalDocument>('GET', `${PRINCIPALS}/${segment(id)}`)),
    ),
  )
  command('delete <id>', 'delete a principal; its tokens stop working at once').action(
    (id: string, options: CommonOptions) =>
      inSession(context, options, async (session) => {
        await session.call('DELETE', `${PRINCIPALS}/${segment(id)}`)
        if (options.json !== true) await printLine(context.io, `Deleted principal ${id}.`)
      }),
  )
}

async function self(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const caller = await session.call<CallerDocument>('GET', `${PRINCIPALS}/self`)
    if (options.json === true) return await printJson(context.io, caller)
    await printFields(context.io, [
      ['name', caller.name],
      ['id', caller.id],
      ['kind', caller.kind],
      ['role', caller.role],
      ['account', caller.accountId],
      ['workspace', caller.workspaceId],
      ['acts in', caller.scopeId],
    ])
  })
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const { kind, role, email, externalId } = options
  const body = {
    kind,
    name,
    role,
    ...(email === undefined ? {} : { email }),
    ...(externalId === undefined ? {} : { externalId }),
  }
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<PrincipalDocument>('POST', PRINCIPALS, body)),
  )
}

async function list(context: Context, options: CommonOptions & { kind?: string }): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<PrincipalDocument>(PRINCIPALS, { kind: options.kind })
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map(({ name, id, kind, role, createdAt }) => [name, id, kind, role, createdAt])
    await printTable(context.io, ['NAME', 'ID', 'KIND', 'ROLE', 'CREATED'], rows, 'There are no principals.')
  })
}

async function show({ io }: Context, options: CommonOptions, principal: PrincipalDocument): Promise<void> {
  if (options.json === true) return await printJson(io, principal)
  await printFields(io, [
    ['name', principal.name],
    ['id', principal.id],
    ['kind', principal.kind],
    ['role', principal.role],
    ['email', principal.email],
    ['external id', principal.externalId],
    ['created', principal.createdAt],
  ])
}
