/** `coatcheck serve`: runs until it is told to stop, then lets exchanges finish. It prints where things are, never what. */
import { join } from 'node:path'
import { App } from '../app.ts'
import { loadSettings } from '../config.ts'
import { nodeCheck } from './doctor-checks.ts'
import type { CliIo, LocalOptions } from './io.ts'
import { note } from './output.ts'

const FOLDER_FOR_PEOPLE = 'certs'

export async function serve(options: LocalOptions, io: CliIo): Promise<number> {
  const settings = loadSettings({ file: options.config, env: io.env })
  const app = await App.start({
    settings,
    env: io.env,
    exportDir: join(process.cwd(), FOLDER_FOR_PEOPLE),
    ship: true,
    listen: { proxy: true, api: true },
  })
  const stopped = stopSignal()
  keepRunning(app)
  // An inspector would show every value; taking the signal keeps Node from opening one.
  process.on('SIGUSR1', () => app.log.warn({}, 'SIGUSR1 ignored: no inspector is opened'))
  for (const line of greeting(app)) await note(io, line)
  const runtime = nodeCheck(process.versions.node)
  if (runtime.fix !== null) app.log.warn({ node: process.versions.node }, runtime.fix)
  app.log.info({ proxy: app.proxyUrl, api: app.apiUrl }, 'started')
  await stopped
  app.log.info({}, 'stopping: exchanges under way may finish')
  await app.close()
  return 0
}

function greeting(app: App): readonly string[] {
  const { path, adminToken, trust } = app.data
  return [
    `proxy        ${app.proxyUrl}`,
    `API          ${app.apiUrl}`,
    ...otherWaysIn(app),
    `data         ${path}`,
    `authority    ${trust.caFile} (copied to ${FOLDER_FOR_PEOPLE}/)`,
    `admin token  ${adminToken.path}${adminToken.created ? ' (created)' : ''}`,
  ]
}

const OTHER_WAYS_IN = [
  { setting: 'gateway.listen', name: 'gateway      ' },
  { setting: 'socks.listen', name: 'SOCKS5       ' },
  { setting: 'transparent.listenTls', name: 'redirected   TLS to ' },
  { setting: 'transparent.listenHttp', name: 'redirected   HTTP to ' },
] as const

function otherWaysIn(app: App): readonly string[] {
  return OTHER_WAYS_IN.flatMap(({ setting, name }) => {
    const at = app.addressOf(setting)
    if (at === null) return []
    return `${name}${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}`
  })
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    const onSignal = () => {
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}

/** A socket that fails where nobody listens must not end every other sandbox's exchanges; anything else must. */
function keepRunning(app: App): void {
  process.on('unhandledRejection', (cause) => app.log.error({ cause }, 'a promise was rejected unnoticed'))
  process.on('uncaughtException', (cause: NodeJS.ErrnoException) => {
    app.log.error({ cause }, 'an error reached nobody')
    if (!['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED'].includes(cause.code ?? '')) process.exit(1)
  })
}
