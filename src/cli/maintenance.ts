/** `coatcheck backup` and `keyring`: work on the data directory itself, and on no server's. */
import type { Command } from 'commander'
import { type CommonOptions, type Context, withCommonOptions } from './command.ts'
import { usage } from './failure.ts'
import type { BackupDone, LocalOptions } from './io.ts'
import { note, printJson, printLine } from './output.ts'
import { isAsked, readValue } from './value.ts'

interface BackupOptions extends CommonOptions {
  readonly passphraseStdin?: boolean
  readonly passphraseFile?: string
}

export function registerMaintenance(program: Command, context: Context): void {
  const backup = program.command('backup').description('the data directory as one encrypted file')
  withPassphrase(backup.command('create <file>'))
    .description('write everything into a new file, while the server runs or not')
    .action((file: string, options: BackupOptions) => create(context, file, options))
  withPassphrase(backup.command('restore <file>'))
    .description('fill an empty data directory from a backup')
    .action((file: string, options: BackupOptions) => restore(context, file, options))

  const keyring = program.command('keyring').description('the keys that open every value')
  withCommonOptions(keyring.command('rotate'))
    .description('add a key, make it the current one, and wrap every data key anew')
    .action((options: CommonOptions) => rotate(context, options))
}

function withPassphrase(command: Command): Command {
  return withCommonOptions(command)
    .option('--passphrase-stdin', 'read the passphrase from standard input')
    .option('--passphrase-file <file>', 'read the passphrase from a file')
}

async function create(context: Context, file: string, options: BackupOptions): Promise<void> {
  const { io, deps } = context
  const local = localOnly(context, options)
  const passphrase = await readPassphrase(context, options, 'Passphrase of the backup (not shown): ')
  if (isAsked(io, sourceOf(options))) {
    const again = await readPassphrase(context, options, 'The same again: ')
    if (again !== passphrase) throw usage('The two passphrases differ.', 'Nothing was written; try again.')
  }
  const transport = await deps.openLocal(local)
  try {
    await told(context, options, 'Wrote', file, await transport.backup(file, passphrase))
  } finally {
    await transport.close()
  }
}

async function restore(context: Context, file: string, options: BackupOptions): Promise<void> {
  const local = localOnly(context, options)
  const passphrase = await readPassphrase(context, options, 'Passphrase of the backup (not shown): ')
  await told(context, options, 'Restored', file, await context.deps.restore(local, file, passphrase))
}

async function rotate(context: Context, options: CommonOptions): Promise<void> {
  const transport = await context.deps.openLocal(localOnly(context, options))
  try {
    const rotated = await transport.rotateKeyring()
    if (options.json === true) return await printJson(context.io, rotated)
    await printLine(
      context.io,
      `The current key is ${rotated.keyId}; ${rotated.rewrapped} data keys were wrapped anew.`,
    )
    await note(context.io, 'Older keys stay in the keyring: backups from before need them.')
  } finally {
    await transport.close()
  }
}

async function told(
  { io }: Context,
  options: CommonOptions,
  done: string,
  file: string,
  report: BackupDone,
): Promise<void> {
  if (options.json === true) return await printJson(io, report)
  await printLine(io, `${done} ${file}: ${report.files.length} files, ${report.bytes} bytes.`)
  await note(io, 'Keep its passphrase elsewhere: without it nobody opens the backup, and with it anybody.')
}

function sourceOf({ passphraseStdin, passphraseFile }: BackupOptions) {
  return {
    ...(passphraseStdin === undefined ? {} : { valueStdin: passphraseStdin }),
    ...(passphraseFile === undefined ? {} : { valueFile: passphraseFile }),
  }
}

async function readPassphrase({ io }: Context, options: BackupOptions, prompt: string): Promise<string> {
  return await readValue(io, sourceOf(options), prompt, 'passphrase')
}

/** Throws `usage` when a server is named: its data directory is not ours to open. */
function localOnly({ io }: Context, { config }: CommonOptions): LocalOptions {
  if ((io.env['COATCHECK_URL'] ?? '') === '') return config === undefined ? {} : { config }
  throw usage(
    'This works on the data directory itself, and COATCHECK_URL names a server.',
    'Run it on that machine, without COATCHECK_URL.',
  )
}
