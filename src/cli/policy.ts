/** `coatcheck policy`: who may, or may not, do what with the secrets under some paths. Deny wins. */
import { type Command, Option } from 'commander'
import type { PolicyDocument } from '../api/contract/scopes.ts'
import {
  type CommonOptions,
  type Context,
  collectList,
  inSession,
  jsonObject,
  segment,
  withScopeOptions,
} from './command.ts'
import { usage } from './failure.ts'
import { printFields, printJson, printLine, printTable } from './output.ts'
import { parseExpiry } from './when.ts'

interface WriteOptions extends CommonOptions {
  readonly permission: readonly string[]
  readonly effect?: string
  readonly priority?: string
  readonly principal?: string
  readonly kind?: string
  readonly expires?: string
  readonly conditions?: string
}

const POLICIES = '/v1/policies'
const KINDS = ['user', 'api_key', 'agent', 'system']

export function registerPolicy(program: Command, context: Context): void {
  const group = program.command('policy').description('who may do what with the secrets under some paths')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  withFields(command('create <path>', 'make a policy for a path such as prod/** or team-a/*')).action(
    (path: string, options: WriteOptions) => write(context, 'POST', POLICIES, path, options),
  )
  command('list', 'list policies, oldest first').action((options: CommonOptions) => list(context, options))
  command('get <id>', 'show a policy').action((id: string, options: CommonOptions) =>
    inSession(context, options, async (session) =>
      show(context, options, await session.call<PolicyDocument>('GET', `${POLICIES}/${segment(id)}`)),
    ),
  )
  withFields(command('replace <id> <path>', 'replace a policy: what is not named is as in a new one')).action(
    (id: string, path: string, options: WriteOptions) =>
      write(context, 'PUT', `${POLICIES}/${segment(id)}`, path, options),
  )
  command('delete <id>', 'delete a policy').action((id: string, options: CommonOptions) =>
    inSession(context, options, async (session) => {
      await session.call('DELETE', `${POLICIES}/${segment(id)}`)
      if (options.json !== true) await printLine(context.io, `Deleted policy ${id}.`)
    }),
  )
}

function withFields(command: Command): Command {
  return command
    .requiredOption('--permission <a,b>', 'list, read, write, delete, use', collectList)
    .addOption(new Option('--effect <effect>', 'allow (default) or deny').choices(['allow', 'deny']))
    .option('--priority <n>', 'from -1000 to 1000; the highest that matches decides')
    .option('--principal <id>', 'only for this principal')
    .addOption(new Option('--kind <kind>', 'only for principals of this kind').choices(KINDS))
    .option('--expires <when>', '30d, 12h, a time, or never')
    .option('--conditions <json>', 'a JSON object that is kept and never evaluated')
}

async function write(
  context: Context,
  method: string,
  target: string,
  path: string,
  options: WriteOptions,
): Promise<void> {
  const { permission: permissions, effect, principal: principalId, kind: principalKind } = options
  const fields = {
    path,
    permissions,
    effect,
    principalId,
    principalKind,
    priority: options.priority === undefined ? undefined : priorityOf(options.priority),
    expiresAt: options.expires === undefined ? undefined : parseExpiry(options.expires, context.now),
    conditions: options.conditions === undefined ? undefined : jsonObject(options.conditions, '--conditions'),
  }
  const body = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<PolicyDocument>(method, target, body)),
  )
}

function priorityOf(text: string): number {
  if (/^-?\d{1,4}$/.test(text)) return Number(text)
  throw usage('--priority is not a whole number.', 'Write --priority=10 or --priority=-10.')
}

async function list(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<PolicyDocument>(POLICIES)
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((policy) => [
      policy.id,
      policy.path,
      policy.effect,
      policy.permissions.join(', '),
      String(policy.priority),
      whom(policy),
      policy.expiresAt ?? 'never',
    ])
    const headings = ['ID', 'PATH', 'EFFECT', 'PERMISSIONS', 'PRIORITY', 'WHO', 'EXPIRES']
    await printTable(context.io, headings, rows, 'There are no policies.')
  })
}

async function show({ io }: Context, options: CommonOptions, policy: PolicyDocument): Promise<void> {
  if (options.json === true) return await printJson(io, policy)
  await printFields(io, [
    ['id', policy.id],
    ['path', policy.path],
    ['effect', policy.effect],
    ['permissions', policy.permissions.join(', ')],
    ['priority', String(policy.priority)],
    ['who', whom(policy)],
    ['expires', policy.expiresAt ?? 'never'],
    ['conditions', Object.keys(policy.conditions).length === 0 ? null : JSON.stringify(policy.conditions)],
    ['updated', policy.updatedAt],
  ])
}

function whom({ principalId, principalKind }: PolicyDocument): string {
  if (principalId !== null) return principalId
  return principalKind === null ? 'anyone' : `every ${principalKind}`
}
