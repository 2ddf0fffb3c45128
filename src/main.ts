#!/usr/bin/env node
/**
 * The process: checks the runtime before anything that needs it is loaded, gives the command line its streams and its
 * ports, and ends with its exit code.
 */
import type { CliDeps, CliIo, LocalOptions } from './cli/io.ts'

const OLDEST = [24, 15] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  process.stderr.write(
    `coatcheck needs Node ${OLDEST.join('.')} or newer; this is ${process.versions.node}.\nInstall a current Node, or run: npx -p node@26 -p coatcheck coatcheck\n`,
  )
  process.exit(1)
}

const stop = new AbortController()
const io: CliIo = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  isTty: process.stdout.isTTY,
  signal: stop.signal,
}

const deps: CliDeps = {
  version: (await import('./version.ts')).VERSION,
  openLocal: async (options: LocalOptions) => (await import('./cli/local.ts')).openLocal(options, io),
  restore: async (options, file, passphrase) => (await import('./cli/local.ts')).restore(options, io, file, passphrase),
  locate: async (options: LocalOptions) => (await import('./cli/local.ts')).locate(options, io),
  serve: async (options, given) => (await import('./cli/serve.ts')).serve(options, given),
  run: async (options, given) => (await import('./cli/run.ts')).run(options, given),
  demo: async (_options, given) => (await import('./demo/demo.ts')).demo(given),
}

const { runCli } = await import('./cli/main.ts')
process.exitCode = await runCli(process.argv.slice(2), io, deps)
