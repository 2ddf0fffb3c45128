/** `coatcheck token`: API tokens for people and programs. A token is printed once, alone on standard output. */
import { type Command, Option } from 'commander'
import { ROLE_NAMES, TOKEN_PREFIX_NAMES, type TokenCreated, type TokenDocument } from '../api/contract/tokens.ts'
import { type CommonOptions, type Context, inSession, segment, withScopeOptions } from './command.ts'
import { note, printJson, printLine, printTable } from './output.ts'
import { parseExpiry } from './when.ts'

interface CreateOptions extends CommonOptions {
  readonly expires?: string
  readonly role?: string
  readonly scope?: string
  readonly prefix?: string
  readonly principal?: string
  readonly sandbox?: string
}

const HEADINGS = ['NAME', 'ID', 'ROLE', 'CREATED', 'EXPIRES', 'LAST USED']

export function registerToken(program: Command, context: Context): void {
  const group = program.command('token').description('API tokens')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  command('create <name>', 'make a token; it is shown this once')
    .option('--expires <when>', '30d, 12h, a time, or never')
    .addOption(new Option('--role <role>', 'what it may do; never more than you (default: member)').choices(ROLE_NAMES))
    .option('--scope <id>', 'where it is valid, by id (default: where you act)')
    .addOption(new Option('--prefix <prefix>', 'what it begins with (default: cct_)').choices(TOKEN_PREFIX_NAMES))
    .option('--principal <id>', 'the user or agent that it speaks for (default: one of its own)')
    .option('--sandbox <id>', 'of a runner: the only sandbox that it serves')
    .action((name: string, options: CreateOptions) => create(context, name, options))
  command('list', 'list tokens').action((options: CommonOptions) => list(context, options))
  command('revoke <name>', 'make a token stop working at once').action((name: string, options: CommonOptions) =>
    revoke(context, name, options),
  )
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const fields = {
    name,
    expiresAt: options.expires === undefined ? undefined : parseExpiry(options.expires, context.now),
    role: options.role,
    scopeId: options.scope,
    prefix: options.prefix,
    principalId: options.principal,
    sandboxId: options.sandbox,
  }
  const body = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  await inSession(context, options, async (session) => {
    const created = await session.call<TokenCreated>('POST', '/v1/tokens', body)
    if (options.json === true) return await printJson(context.io, created)
    await note(
      context.io,
      `Made token ${created.name}, expires ${created.expiresAt ?? 'never'}. It is not shown again.`,
    )
    await printLine(context.io, created.token)
  })
}

async function list(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<TokenDocument>('/v1/tokens')
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((token) => [
      token.name,
      token.id,
      token.role,
      token.createdAt,
      token.expiresAt ?? 'never',
      token.lastUsedAt ?? 'never',
    ])
    await printTable(context.io, HEADINGS, rows, 'There are no tokens.')
  })
}

async function revoke(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `/v1/tokens/${segment(name)}`)
    if (options.json !== true) await printLine(context.io, `Revoked token ${name}.`)
  })
}
