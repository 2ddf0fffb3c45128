/** `coatcheck sandbox`: identities for workloads, and the environment that each workload gets. */
import { type Command, Option } from 'commander'
import type { SandboxCredentials, SandboxDocument, SandboxEnvironment } from '../api/contract/sandboxes.ts'
import { type CommonOptions, type Context, collect, inSession, pairs, segment, withScopeOptions } from './command.ts'
import { commentFor, ENVIRONMENT_FORMATS, type EnvironmentFormat, formatEnvironment } from './environment-format.ts'
import { note, printFields, printJson, printLine, printTable, write } from './output.ts'
import { effective } from './secret-reports.ts'

interface EnvOptions extends CommonOptions {
  readonly format: EnvironmentFormat
  readonly rotateToken?: boolean
}

interface MountOptions extends CommonOptions {
  readonly remove?: readonly string[]
  readonly replace?: boolean
}

export function registerSandbox(program: Command, context: Context): void {
  const group = program.command('sandbox').description('workloads, each with an identity and mounted secrets')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  command('create <name>', 'make a sandbox; its token is shown this once')
    .option('--mount <ENV=SECRET>', 'mount a secret as an environment variable (repeatable)', collect)
    .action((name: string, options: CommonOptions & { mount?: string[] }) => create(context, name, options))
  command('list', 'list sandboxes').action((options: CommonOptions) => list(context, options))
  command('get <name>', 'show a sandbox').action((name: string, options: CommonOptions) => get(context, name, options))
  command('rotate-token <name>', 'make a new token, shown this once; the old one stops working at once').action(
    (name: string, options: CommonOptions) => rotateToken(context, name, options),
  )
  command('effective <name>', 'explain which secret each mount means, and where it may go').action(
    (name: string, options: CommonOptions) => effective(context, name, options),
  )
  command('env <name>', "print a sandbox's environment: placeholders, proxy and trust variables")
    .addOption(new Option('--format <format>', 'how to write it').choices(ENVIRONMENT_FORMATS).default('shell'))
    .option('--rotate-token', 'make a new token and include it; the old one stops working at once')
    .action((name: string, options: EnvOptions) => env(context, name, options))
  command('mount <name> [mounts...]', 'mount secrets, each ENV=SECRET, next to those already mounted')
    .option('--remove <ENV>', 'take a mount away (repeatable)', collect)
    .option('--replace', 'take all other mounts away')
    .action((name: string, mounts: string[], options: MountOptions) => mount(context, name, mounts, options))
  command('delete <name>', 'delete a sandbox; its token stops working at once').action(
    (name: string, options: CommonOptions) => remove(context, name, options),
  )
}

async function create(context: Context, name: string, options: CommonOptions & { mount?: string[] }): Promise<void> {
  const mounts = pairs(options.mount ?? [], 'mount', 'ENV=SECRET')
  await inSession(context, options, async (session) =>
    showCredentials(
      context,
      options,
      'Made',
      await session.call<SandboxCredentials>('POST', '/v1/sandboxes', { name, mounts }),
    ),
  )
}

async function rotateToken(context: Context, name: string, options: CommonOptions): Promise<void> {
  const path = `/v1/sandboxes/${segment(name)}/token`
  await inSession(context, options, async (session) =>
    showCredentials(context, options, 'Gave a new token to', await session.call<SandboxCredentials>('POST', path)),
  )
}

async function showCredentials(
  { io }: Context,
  options: CommonOptions,
  done: string,
  sandbox: SandboxCredentials,
): Promise<void> {
  if (options.json === true) return await printJson(io, sandbox)
  await note(io, `${done} sandbox ${sandbox.name}. Its token, inside the proxy variables below, is not shown again.`)
  await write(io.stdout, formatEnvironment('shell', sandbox.env))
}

async function get(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) =>
    show(context, options, await session.call<SandboxDocument>('GET', `/v1/sandboxes/${segment(name)}`)),
  )
}

async function list(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<SandboxDocument>('/v1/sandboxes')
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((sandbox) => [sandbox.name, sandbox.id, mountsText(sandbox), sandbox.createdAt])
    await printTable(context.io, ['NAME', 'ID', 'MOUNTS', 'CREATED'], rows, 'There are no sandboxes.')
  })
}

async function env(context: Context, name: string, options: EnvOptions): Promise<void> {
  const path = `/v1/sandboxes/${segment(name)}`
  const { io } = context
  await inSession(context, options, async (session) => {
    const rotated = options.rotateToken === true
    const environment = rotated
      ? await session.call<SandboxCredentials>('POST', `${path}/token`)
      : await session.call<SandboxEnvironment>('GET', `${path}/env`)
    if (options.json === true) return await printJson(io, environment)
    const text = formatEnvironment(options.format, environment.env)
    const missing = 'The proxy variables lack the token, which was shown once; --rotate-token makes a new one.'
    await write(io.stdout, `${rotated ? '' : commentFor(options.format, missing)}${text}`)
  })
}

async function mount(context: Context, name: string, added: string[], options: MountOptions): Promise<void> {
  const mounts = pairs(added, 'mount', 'ENV=SECRET')
  const path = `/v1/sandboxes/${segment(name)}`
  await inSession(context, options, async (session) => {
    const before = options.replace === true ? {} : (await session.call<SandboxDocument>('GET', path)).mounts
    const kept = Object.entries(before).filter(([variable]) => options.remove?.includes(variable) !== true)
    const body = { mounts: { ...Object.fromEntries(kept), ...mounts } }
    await show(context, options, await session.call<SandboxDocument>('PUT', `${path}/mounts`, body))
  })
}

async function show({ io }: Context, options: CommonOptions, sandbox: SandboxDocument): Promise<void> {
  if (options.json === true) return await printJson(io, sandbox)
  await printFields(io, [
    ['name', sandbox.name],
    ['id', sandbox.id],
    ['mounts', mountsText(sandbox) || null],
  ])
}

async function remove(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    await session.call('DELETE', `/v1/sandboxes/${segment(name)}`)
    if (options.json !== true) await printLine(context.io, `Deleted sandbox ${name}.`)
  })
}

function mountsText(sandbox: SandboxDocument): string {
  return Object.entries(sandbox.mounts)
    .map(([variable, secret]) => `${variable}=${secret}`)
    .join(', ')
}
