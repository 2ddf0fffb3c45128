/** The values of a secret over time: made at random, switched off and on, brought back, and read where that is allowed. */
import { promises as fs } from 'node:fs'
import { type Command, Option } from 'commander'
import type { RevealDocument, SecretDocument, VersionDocument } from '../api/contract/secrets.ts'
import { type CommonOptions, type Context, inSession, segment, wholeNumber } from './command.ts'
import { usage } from './failure.ts'
import { isPlain, note, printFields, printJson, printTable, write } from './output.ts'
import { showSecret } from './secret-shown.ts'

type MakeCommand = (name: string, description: string) => Command

interface GenerateOptions extends CommonOptions {
  readonly length?: string
  readonly charset?: string
  readonly type?: string
}

interface RevealOptions extends CommonOptions {
  readonly atVersion?: string
  readonly output?: string
}

const CHARSETS = ['hex', 'base64', 'alphanumeric', 'ascii']
const pathOf = (name: string, ...rest: readonly string[]): string =>
  ['/v1/secrets', segment(name), ...rest.map(segment)].join('/')

export function registerSecretVersions(command: MakeCommand, context: Context): void {
  command('generate <name>', 'store a random value that nobody sees; makes the secret when there is none')
    .option('--length <n>', 'how many characters (default: 64)')
    .addOption(new Option('--charset <charset>', 'of which (default: hex)').choices(CHARSETS))
    .option('--type <type>', 'of a new secret: api_key, password … (default: generic)')
    .action((name: string, options: GenerateOptions) => generate(context, name, options))
  command('revive <name>', 'bring back a secret that was deleted with --soft').action(
    (name: string, options: CommonOptions) => change(context, pathOf(name, 'revive'), options),
  )
  command('reveal <name>', 'read the value, where its read policy and your permissions allow it; recorded and counted')
    .option('--at-version <n>', 'of this version (default: the current one)')
    .option('--output <file>', 'write it into a new file that only you can read')
    .action((name: string, options: RevealOptions) => reveal(context, name, options))
  command('versions <name>', 'list the versions of a secret').action((name: string, options: CommonOptions) =>
    list(context, name, options),
  )
  command('version <name> <version>', 'show a version').action(
    (name: string, version: string, options: CommonOptions) => one(context, 'GET', name, [version], options),
  )
  for (const [verb, description] of [
    ['disable', 'never release or read a version until it is enabled'],
    ['enable', 'let a version be released and read again'],
  ] as const) {
    command(`${verb} <name> <version>`, description).action((name: string, version: string, options: CommonOptions) =>
      one(context, 'POST', name, [version, verb], options),
    )
  }
}

async function generate(context: Context, name: string, options: GenerateOptions): Promise<void> {
  const { length, charset, type } = options
  const body = {
    ...(length === undefined ? {} : { length: wholeNumber(length, '--length') }),
    ...(charset === undefined ? {} : { charset }),
    ...(type === undefined ? {} : { type }),
  }
  await change(context, pathOf(name, 'generate'), options, body)
}

async function change(context: Context, path: string, options: CommonOptions, body?: object): Promise<void> {
  await inSession(context, options, async (session) =>
    showSecret(context, options, await session.call<SecretDocument>('POST', path, body)),
  )
}

async function list(context: Context, name: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<VersionDocument>(pathOf(name, 'versions'))
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

async function one(
  context: Context,
  method: string,
  name: string,
  rest: readonly string[],
  options: CommonOptions,
): Promise<void> {
  await inSession(context, options, async (session) => {
    const version = await session.call<VersionDocument>(method, pathOf(name, 'versions', ...rest))
    if (options.json === true) return await printJson(context.io, version)
    const reads = version.maxAccessCount === null ? '' : ` of ${version.maxAccessCount}`
    await printFields(context.io, [
      ['version', String(version.version)],
      ['state', version.state],
      ['type', version.type],
      ['created', version.createdAt],
      ['by', version.createdBy],
      ['disabled', version.disabledAt],
      ['expires', version.expiresAt ?? 'never'],
      ['accesses', `${version.accessCount}${reads}`],
    ])
  })
}

async function reveal(context: Context, name: string, options: RevealOptions): Promise<void> {
  const path =
    options.atVersion === undefined
      ? pathOf(name, 'value')
      : pathOf(name, 'versions', String(wholeNumber(options.atVersion, '--at-version')), 'value')
  await inSession(context, options, async (session) => {
    const document = await session.call<RevealDocument>('POST', path)
    if (options.json === true) return await printJson(context.io, document)
    const bytes = Buffer.from(document.value, document.encoding)
    if (options.output !== undefined) await fs.writeFile(options.output, bytes, { flag: 'wx', mode: 0o600 })
    else await printValue(context, bytes)
    const left = document.maxAccessCount === null ? '' : ` of ${document.maxAccessCount}`
    await note(context.io, `Version ${document.version} of ${document.name}, access ${document.accessCount}${left}.`)
  })
}

/** Byte for byte, so that it can be piped on; on a terminal only what a terminal shows as it is, and a line break after it. */
async function printValue({ io }: Context, bytes: Buffer): Promise<void> {
  if (!io.isTty) return await write(io.stdout, bytes)
  const text = bytes.toString('utf8')
  const isText = Buffer.from(text).equals(bytes) && text.split('\n').every(isPlain)
  if (isText) return await write(io.stdout, text.endsWith('\n') ? text : `${text}\n`)
  throw usage('The value holds what a terminal would take as commands.', 'Add --output FILE, --json, or pipe it on.')
}
