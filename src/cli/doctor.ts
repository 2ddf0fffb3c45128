/** `coatcheck doctor`: looks at what usually goes wrong and says how to fix it. It changes nothing. */
import type { Command } from 'commander'
import { type CommonOptions, type Context, withCommonOptions } from './command.ts'
import { type Check, caCheck, dataDirectoryCheck, environmentCheck, nodeCheck, serverCheck } from './doctor-checks.ts'
import { EXIT } from './failure.ts'
import { note, printJson, printTable } from './output.ts'

export function registerDoctor(program: Command, context: Context): void {
  withCommonOptions(
    program.command('doctor').description('check data directory, server, certificate, environment, clock and Node'),
  ).action((options: CommonOptions) => doctor(context, options))
}

async function doctor(context: Context, options: CommonOptions): Promise<void> {
  const { io, deps, now } = context
  const locations = await deps.locate(options.config === undefined ? {} : { config: options.config })
  const remote = io.env['COATCHECK_URL'] ?? ''
  const checks: Check[] = [
    nodeCheck(process.versions.node),
    await dataDirectoryCheck(locations.dataDir),
    ...(await serverCheck(remote === '' ? locations.apiUrl : remote, remote !== '', now)),
    await caCheck(locations.caFile, now),
    ...(await environmentCheck(io.env, locations)),
  ]
  const failed = checks.some(({ state }) => state === 'failed')
  context.exitCode = failed ? EXIT.failed : EXIT.done
  if (options.json === true) return await printJson(io, { ok: !failed, checks })
  const rows = checks.map(({ name, state, detail }) => [state === 'ok' ? 'ok' : state.toUpperCase(), name, detail])
  await printTable(io, ['STATE', 'CHECK', 'DETAIL'], rows, '')
  for (const { name, fix } of checks) if (fix !== null) await note(io, `${name}: ${fix}`)
  if (!failed) await note(io, 'Nothing stops coatcheck from working here.')
}
