/** The command line: reads arguments, runs one command, and answers with its exit code. It never throws. */
import { Command, CommanderError } from 'commander'
import { registerAudit } from './audit.ts'
import { registerCa } from './ca.ts'
import type { Context } from './command.ts'
import { registerCompletion } from './completion.ts'
import { registerDoctor } from './doctor.ts'
import { EXIT, type Failure, failureOf, usage } from './failure.ts'
import { registerHealth } from './health.ts'
import type { CliDeps, CliIo } from './io.ts'
import { registerMaintenance } from './maintenance.ts'
import { printFailure, printJson, printLine, write } from './output.ts'
import { registerPolicy } from './policy.ts'
import { registerPrincipal } from './principal.ts'
import { registerProcesses } from './processes.ts'
import { registerSandbox } from './sandbox.ts'
import { registerScopes } from './scope.ts'
import { registerSecret } from './secret.ts'
import { registerToken } from './token.ts'

/** `argv` holds the arguments alone: `['secret', 'list', '--json']`. Resolves with the exit code. */
export async function runCli(argv: readonly string[], io: CliIo, deps: CliDeps): Promise<number> {
  const context: Context = { io, deps, now: Date.now(), exitCode: EXIT.done }
  // A reader that left (`| head`) ends the output, not the program; writes report it themselves.
  const ignore = (): void => undefined
  io.stdout.on('error', ignore)
  try {
    refuseValueArguments(argv)
    await programFor(context).parseAsync(argv, { from: 'user' })
    return context.exitCode
  } catch (thrown) {
    return await end(io, thrown, own(argv).includes('--json'))
  } finally {
    io.stdout.off('error', ignore)
  }
}

/** Every command, in the order help shows them. */
export function programFor(context: Context): Command {
  const { io, deps } = context
  const program = new Command('coatcheck')
    .description('A coat check for secrets: sandboxes get placeholders, the real values are put in at the edge.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      // Help that follows a mistake; the mistake itself is printed by `end`.
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .version(deps.version, '-V, --version')
    .showSuggestionAfterError(true)
  registerProcesses(program, context)
  registerSecret(program, context)
  registerSandbox(program, context)
  registerScopes(program, context)
  registerPolicy(program, context)
  registerPrincipal(program, context)
  registerToken(program, context)
  registerAudit(program, context)
  registerCa(program, context)
  registerMaintenance(program, context)
  registerHealth(program, context)
  registerDoctor(program, context)
  registerCompletion(program, context)
  program
    .command('version')
    .description('print the version')
    .option('--json', 'print one JSON document')
    .action((options: { json?: boolean }) =>
      options.json === true
        ? printJson(io, { version: deps.version, node: process.versions.node })
        : printLine(io, `coatcheck ${deps.version}`),
    )
  return program
}

/** A value among the arguments has already been seen by the process list: say so before anything is done with it. */
function refuseValueArguments(argv: readonly string[]): void {
  const given = own(argv).flatMap((argument) => /^--(value|passphrase)(?:=|$)/.exec(argument)?.[1] ?? [])
  if (given.length === 0) return
  if (given.includes('passphrase')) {
    throw usage(
      'A passphrase is never given as an argument: other users and the shell history can see it.',
      'Use the prompt, --passphrase-stdin or --passphrase-file; if it was real, choose another one.',
    )
  }
  throw usage(
    'A value is never given as an argument: other users and the shell history can see it.',
    'Use the prompt, --value-stdin or --value-file; if the value was real, rotate it.',
  )
}

/** The arguments before `--`: what follows belongs to another command. */
function own(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--')
  return end === -1 ? argv : argv.slice(0, end)
}

async function end(io: CliIo, thrown: unknown, json: boolean): Promise<number> {
  if (thrown instanceof CommanderError && isHelp(thrown)) return thrown.exitCode === 0 ? EXIT.done : EXIT.usage
  const failure = thrown instanceof CommanderError ? usageFailure(thrown) : failureOf(thrown)
  await printFailure(io, failure, json)
  if (failure.document.error.code === 'internal' && (io.env['COATCHECK_DEBUG'] ?? '') !== '') {
    await write(io.stderr, `${thrown instanceof Error ? thrown.stack : ''}\n`)
  }
  return failure.exitCode
}

function isHelp(error: CommanderError): boolean {
  return ['commander.help', 'commander.helpDisplayed', 'commander.version'].includes(error.code)
}

/** Commander's message without the arguments it quotes: one of them may be a value in the wrong place. */
function usageFailure(error: CommanderError): Failure {
  const message = error.message.replace(/^error: /, '')
  const quoting = error.code === 'commander.excessArguments' || error.code === 'commander.unknownOption'
  const safe = quoting ? message.replace(/(but got \d+): [\s\S]*/, '$1.').replace(/=[\s\S]*?'/, "'") : message
  return usage(safe.replaceAll('\n', ' '), 'See --help of this command.')
}
