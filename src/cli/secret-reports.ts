/** Reports: which secret each mount of a sandbox means and why, what nobody uses, and what is due for rotation. */
import type { Command } from 'commander'
import type { EffectiveDocument, UnusedPage } from '../api/contract/secret-reports.ts'
import type { SecretDocument } from '../api/contract/secrets.ts'
import { type CommonOptions, type Context, inSession } from './command.ts'
import { note, printJson, printTable } from './output.ts'
import { hostsText } from './secret-shown.ts'
import { withQuery } from './session.ts'
import { parsePast } from './when.ts'

export function registerSecretReports(command: (name: string, description: string) => Command, context: Context): void {
  command('effective', 'explain which secret each mount of a sandbox means, and where it may go')
    .requiredOption('--sandbox <name>', 'the sandbox')
    .action((options: CommonOptions & { sandbox: string }) => effective(context, options.sandbox, options))
  command('unused', 'list secrets that were not used, the longest first')
    .option('--since <when>', '90d, or a time', '90d')
    .action((options: CommonOptions & { since: string }) => unused(context, options))
  command('rotation-due', 'list secrets that are due for rotation, the longest first').action(
    (options: CommonOptions) => due(context, options),
  )
}

export async function effective(context: Context, sandbox: string, options: CommonOptions): Promise<void> {
  const { io } = context
  await inSession(context, options, async (session) => {
    const report = await session.call<EffectiveDocument>('GET', withQuery('/v1/secrets/effective', { sandbox }))
    if (options.json === true) return await printJson(io, report)
    const rows = report.mounts.map(({ env, ref, secret, refusal, hosts, placements }) => [
      env,
      secret === null ? ref : `${secret.name}@${secret.version}`,
      refusal === null ? 'current' : refusal.state,
      secret === null ? '-' : hostsText({ hosts }),
      placements.join(', ') || '-',
    ])
    await printTable(io, ['ENV', 'SECRET', 'STATE', 'HOSTS', 'PLACEMENTS'], rows, 'There are no mounts.')
    for (const { env, refusal, others } of report.mounts) {
      if (refusal !== null) await note(io, `${env}: ${refusal.message}`)
      for (const other of others) await note(io, `${env}: not ${other.id}: ${other.message}`)
    }
    const names = report.notMounted.map(({ name }) => name)
    if (names.length > 0) await note(io, `Not mounted: ${names.join(', ')}.`)
  })
}

async function unused(context: Context, options: CommonOptions & { since: string }): Promise<void> {
  const query = { since: parsePast(options.since, context.now, '--since') }
  await inSession(context, options, async (session) => {
    const page = await session.all<UnusedPage['items'][number]>('/v1/secrets/unused', query)
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map(({ secret, days }) => [secret.name, secret.lastUsedAt ?? 'never', String(days)])
    await printTable(context.io, ['NAME', 'LAST USED', 'DAYS'], rows, 'Every secret was used.')
  })
}

async function due(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<SecretDocument>('/v1/secrets/rotation-due')
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map((secret) => [secret.name, String(secret.version), secret.rotateAt ?? '-'])
    await printTable(context.io, ['NAME', 'VERSION', 'DUE SINCE'], rows, 'No secret is due.')
  })
}
