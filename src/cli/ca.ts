/** `coatcheck ca`: the authority's public certificate, for clients to trust. There is no command that shows a key. */
import { randomBytes } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { AuthorityDocument } from '../api/contract/server.ts'
import { type CommonOptions, type Context, inSession, withCommonOptions } from './command.ts'
import { printFields, printJson, printLine, printText } from './output.ts'

const CERTIFICATE_FILE = 'coatcheck-ca.pem'
const BUNDLE_FILE = 'coatcheck-bundle.pem'

export function registerCa(program: Command, context: Context): void {
  const group = program.command('ca').description("the authority's public certificate")
  const command = (name: string, description: string) => withCommonOptions(group.command(name).description(description))

  command('show', 'show the certificate')
    .option('--pem', 'print it as PEM')
    .action((options: CommonOptions & { pem?: boolean }) => show(context, options))
  command('bundle', "print the system's certificates and ours as PEM").action((options: CommonOptions) =>
    inSession(context, options, async (session) => {
      await printText(context.io, await session.text('/v1/authority/bundle'))
    }),
  )
  command('export <dir>', `write ${CERTIFICATE_FILE} and ${BUNDLE_FILE} into a directory`).action(
    (dir: string, options: CommonOptions) => exportTo(context, dir, options),
  )
}

async function show(context: Context, options: CommonOptions & { pem?: boolean }): Promise<void> {
  await inSession(context, options, async (session) => {
    const authority = await session.call<AuthorityDocument>('GET', '/v1/authority')
    if (options.json === true) await printJson(context.io, authority)
    else if (options.pem === true) await printText(context.io, authority.certificate)
    else {
      await printFields(context.io, [
        ['fingerprint', `sha256 ${authority.fingerprint}`],
        ['valid until', authority.notAfter],
      ])
    }
  })
}

async function exportTo(context: Context, dir: string, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const certificate = await session.text('/v1/authority/certificate')
    const bundle = await session.text('/v1/authority/bundle')
    await fs.mkdir(dir, { recursive: true })
    const files = { certificate: resolve(dir, CERTIFICATE_FILE), bundle: resolve(dir, BUNDLE_FILE) }
    await replaceFile(files.certificate, certificate)
    await replaceFile(files.bundle, bundle)
    if (options.json === true) await printJson(context.io, files)
    else for (const file of Object.values(files)) await printLine(context.io, file)
  })
}

/** Readers see the old file or the new one, never half of it. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(path, '..', `.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await fs.writeFile(temporary, text, { mode: 0o644, flag: 'wx' })
    await fs.rename(temporary, path)
  } finally {
    await fs.rm(temporary, { force: true })
  }
}
