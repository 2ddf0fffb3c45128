/** Many secrets from one file and into one. What is read is not printed; what is written, only its owner can read. */
import { promises as fs } from 'node:fs'
import { type Command, Option } from 'commander'
import type { ExportDocument, ImportReport } from '../api/contract/secret-reports.ts'
import { type CommonOptions, type Context, inSession } from './command.ts'
import { EXIT, usage } from './failure.ts'
import { note, printJson, printLine, write } from './output.ts'
import { readStandardInput, readValue } from './value.ts'

const FORMATS = ['dotenv', 'json']

interface ImportOptions extends CommonOptions {
  readonly format?: string
  readonly ifExists?: string
}

interface ExportOptions extends CommonOptions {
  readonly format: string
  readonly prefix?: string
  readonly output?: string
}

export function registerSecretTransfer(
  command: (name: string, description: string) => Command,
  context: Context,
): void {
  command('import <file>', 'store every secret of a dotenv or JSON file; - is standard input')
    .addOption(new Option('--format <format>', 'what the file is (default: by its name)').choices(FORMATS))
    .addOption(
      new Option('--if-exists <what>', 'what to do with names that are there (default: refuse)').choices([
        'refuse',
        'skip',
        'replace',
      ]),
    )
    .action((file: string, options: ImportOptions) => importFrom(context, file, options))
  command('export', 'write secrets with their values, those that may be read; recorded and counted')
    .addOption(new Option('--format <format>', 'what to write').choices(FORMATS).default('dotenv'))
    .option('--prefix <text>', 'only names that begin with this')
    .option('--output <file>', 'write into a new file that only you can read')
    .action((options: ExportOptions) => exportTo(context, options))
}

async function importFrom(context: Context, file: string, options: ImportOptions): Promise<void> {
  const { io } = context
  const format = options.format ?? (file.endsWith('.json') ? 'json' : 'dotenv')
  const text = file === '-' ? await readStandardInput(io) : await readValue(io, { valueFile: file }, '', 'text')
  const body = { format, text, ...(options.ifExists === undefined ? {} : { ifExists: options.ifExists }) }
  await inSession(context, options, async (session) => {
    const report = await session.call<ImportReport>('POST', '/v1/secrets/import', body)
    const { created, replaced, skipped, failed } = report
    if (options.json === true) await printJson(io, report)
    else {
      const counts = { Created: created, Replaced: replaced, Skipped: skipped }
      for (const [what, names] of Object.entries(counts)) {
        if (names.length > 0) await printLine(io, `${what} ${names.join(', ')}.`)
      }
      for (const { name, message, hint } of failed) {
        await note(io, `error: ${name}: ${message}`)
        await note(io, `  fix: ${hint}`)
      }
      if (Object.values(report).every((names) => names.length === 0)) await note(io, 'There is nothing in it.')
    }
    return failed.length === 0 ? EXIT.done : EXIT.failed
  })
}

async function exportTo(context: Context, options: ExportOptions): Promise<void> {
  const { io } = context
  if (options.json !== true && options.output === undefined && io.isTty) {
    throw usage('An export shows every value.', 'Add --output FILE, or pipe it on.')
  }
  const { format, prefix } = options
  const body = { format, ...(prefix === undefined ? {} : { prefix }) }
  await inSession(context, options, async (session) => {
    const exported = await session.call<ExportDocument>('POST', '/v1/secrets/export', body)
    if (options.json === true) return await printJson(io, exported)
    if (options.output === undefined) await write(io.stdout, exported.text)
    else await fs.writeFile(options.output, exported.text, { flag: 'wx', mode: 0o600 })
    await note(io, `Exported ${exported.count}.`)
    for (const { name, code } of exported.leftOut) await note(io, `Left out ${name}: ${code}.`)
  })
}
