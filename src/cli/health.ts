/** `coatcheck health`, `metrics` and `reference`: what the server says of itself. */
import type { Command } from 'commander'
import type { ReadyDocument } from '../api/contract/server.ts'
import { type CommonOptions, type Context, inSession, withCommonOptions } from './command.ts'
import { EXIT, Failure } from './failure.ts'
import { printFields, printJson, printText } from './output.ts'
import type { Session } from './session.ts'

export function registerHealth(program: Command, context: Context): void {
  withCommonOptions(program.command('health').description('tell whether exchanges can be made; fails when not')).action(
    (options: CommonOptions) => health(context, options),
  )
  printing(program, context, 'metrics', "print the server's figures, as Prometheus reads them", '/metrics')
  withCommonOptions(program.command('reference').description('print the reference of the API'))
    .option('--html', 'as a page; otherwise as an OpenAPI 3.1 document')
    .action((options: CommonOptions & { html?: boolean }) =>
      inSession(context, options, async (session) => {
        if (options.html === true) return await printText(context.io, await session.text('/reference'))
        await printJson(context.io, await session.call('GET', '/openapi.json'))
      }),
    )
}

function printing(program: Command, context: Context, name: string, description: string, path: string): void {
  program
    .command(name)
    .description(description)
    .option('--config <file>', 'settings file, when working on the data directory itself')
    .action((options: CommonOptions) =>
      inSession(context, options, async (session) => printText(context.io, await session.text(path))),
    )
}

async function health(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    await session.call('GET', '/healthz')
    const ready = await readiness(session)
    if (options.json === true) await printJson(context.io, ready)
    else {
      const checks = Object.entries(ready.checks).map(([name, ok]) => [name, ok ? 'ok' : 'FAILED'] as const)
      await printFields(context.io, [['status', ready.status === 'ready' ? 'ready' : 'not ready'], ...checks])
    }
    return ready.status === 'ready' ? EXIT.done : EXIT.failed
  })
}

/** Not ready is an answer, with its status. */
async function readiness(session: Session): Promise<ReadyDocument> {
  const { body } = await session.answer('GET', '/readyz')
  try {
    const document = JSON.parse(body) as Partial<ReadyDocument> | null
    if (document?.checks !== undefined) return document as ReadyDocument
  } catch {
    // Told below: what answered is no coatcheck server.
  }
  throw new Failure('unreachable', 'What answered there is not a coatcheck server.', 'Correct COATCHECK_URL.')
}
