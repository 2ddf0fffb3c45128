/** Registers the commands that run the product in this process; what they do is given to the command line. */
import type { Command } from 'commander'
import { type Context, collect } from './command.ts'
import { usage } from './failure.ts'
import type { LocalOptions } from './io.ts'

export function registerProcesses(program: Command, context: Context): void {
  const { io, deps } = context
  program
    .command('serve')
    .description('start the proxy, the API and the console')
    .option('--config <file>', 'settings file')
    .action(async (options: LocalOptions) => {
      context.exitCode = await deps.serve(options, io)
    })
  program
    .command('run')
    .description('run one command behind a private proxy, with placeholders in its environment')
    .usage('[--mount ENV=SECRET[@HOST,HOST]]... -- CMD ARG...')
    .argument('[command...]', 'the command and its arguments, after --')
    .option('--mount <mount>', 'ENV=SECRET or ENV=SECRET@HOST,HOST (repeatable)', collect)
    .option('--config <file>', 'settings file')
    .action(async (command: string[], options: LocalOptions & { mount?: string[] }) => {
      if (command.length === 0)
        throw usage('There is no command to run.', 'Write it after --: coatcheck run -- CMD ARG')
      const { mount: mounts = [], ...local } = options
      context.exitCode = await deps.run({ ...local, mounts, command }, io)
    })
  program
    .command('demo')
    .description('show the main job on this machine, without the internet')
    .option('--config <file>', 'settings file')
    .action(async (options: LocalOptions) => {
      context.exitCode = await deps.demo(options, io)
    })
}
