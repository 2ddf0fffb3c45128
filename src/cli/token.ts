/** `coatcheck token`: API tokens for people and programs. A token is printed once, alone on standard output. */
import type { Command } from 'commander'
import type { TokenCreated, TokenDocument } from '../api/contract/tokens.ts'
import { type CommonOptions, type Context, inSession, segment, withCommonOptions } from './command.ts'
import { note, printJson, printLine, printTable } from './output.ts'
import { parseExpiry } from './when.ts'

type CreateOptions = CommonOptions & { readonly expires?: string }

export function registerToken(program: Command, context: Context): void {
  const group = program.command('token').description('API tokens')
  const command = (name: string, description: string) => withCommonOptions(group.command(name).description(description))

  command('create <name>', 'make a token; it is shown this once')
    .option('--expires <when>', '30d, 12h, a time, or never')
    .action((name: string, options: CreateOptions) => create(context, name, options))
  command('list', 'list tokens').action((options: CommonOptions) => list(context, options))
  command('revoke <name>', 'make a token stop working at once').action((name: string, options: CommonOptions) =>
    revoke(context, name, options),
  )
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const expiry = options.expires === undefined ? {} : { expiresAt: parseExpiry(options.expires, context.now) }
  await inSession(context, options, async (session) => {
    const created = await session.call<TokenCreated>('POST', '/v1/tokens', { name, ...expiry })
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
      token.createdAt,
      token.expiresAt ?? 'never',
      token.lastUsedAt ?? 'never',
    ])
    await printTable(context.io, ['NAME', 'ID', 'CREATED', 'EXPIRES', 'LAST USED'], rows, 'There are no tokens.')
  })
}

async function revoke(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `/v1/tokens/${segment(name)}`)
    if (options.json !== true) await printLine(context.io, `Revoked token ${name}.`)
  })
}
