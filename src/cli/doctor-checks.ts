/** The single checks of `coatcheck doctor`: each looks at one thing and answers with what it saw and the fix. */
import { X509Certificate } from 'node:crypto'
import { promises as fs, type Stats } from 'node:fs'
import { join } from 'node:path'
import { Failure } from './failure.ts'
import type { Locations } from './io.ts'

export interface Check {
  readonly name: string
  readonly state: 'ok' | 'warning' | 'failed'
  readonly detail: string
  /** How to fix it; null when there is nothing to fix. */
  readonly fix: string | null
}

/** First releases of each line with the October 2026 security fixes. */
const NODE_FLOORS: Readonly<Record<number, readonly [number, number]>> = { 24: [22, 1], 26: [12, 1] }
const MAX_CLOCK_DIFFERENCE_MS = 60_000
/** Variables that name certificates: a wrong one breaks every TLS connection of a client. */
const FILE_VARIABLE = /(_CERTS?|_FILE|_BUNDLE|_CAINFO|cafile)$/

export function nodeCheck(version: string): Check {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const floor = NODE_FLOORS[major]
  const old = floor === undefined ? major < 26 : minor < floor[0] || (minor === floor[0] && patch < floor[1])
  return check(
    'node',
    old ? 'warning' : 'ok',
    `Node ${version}`,
    old ? 'Use Node 26.12.1 or newer (24.22.1 or newer of the 24 line): older ones lack security fixes.' : null,
  )
}

/** The directory and the files in it belong to one user alone; public keys and folders of public files are no secret. */
export async function dataDirectoryCheck(dataDir: string): Promise<Check> {
  const directory = await statOf(dataDir)
  if (directory === undefined) return check('data directory', 'ok', `${dataDir} is made by the first start`)
  const open = (await Promise.all([othersMayOpen(dataDir), ...(await entriesOf(dataDir)).map(othersMayRead)])).filter(
    (path) => path !== '',
  )
  if (process.platform === 'win32' || open.length === 0) return check('data directory', 'ok', dataDir)
  return check(
    'data directory',
    'failed',
    `others may open ${open.join(', ')}`,
    `chmod go= ${open.map((path) => `'${path}'`).join(' ')}`,
  )
}

/** Whether the server answers, and whether its clock is ours. */
export async function serverCheck(url: string, required: boolean, now: number): Promise<Check[]> {
  const { httpTransport } = await import('./api-client.ts')
  const transport = httpTransport(url, undefined)
  try {
    const answer = await transport.request('GET', '/readyz')
    const ready = answer.status === 200
    const state = ready ? 'ok' : 'failed'
    const fix = ready ? null : `Look at ${url}/readyz and at the log of the server.`
    return [
      check('server', state, `${url} ${ready ? 'is ready' : `answers ${answer.status}`}`, fix),
      clockCheck(answer.headers['date'], now),
    ]
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown
    const detail = `${url} does not answer`
    if (required) return [check('server', 'failed', detail, thrown.document.error.hint)]
    return [
      check('server', 'warning', detail, 'coatcheck serve starts it; without it, commands use the data directory.'),
    ]
  } finally {
    await transport.close()
  }
}

export function clockCheck(date: string | undefined, now: number): Check {
  const difference = Math.abs(Date.parse(date ?? '') - now)
  if (Number.isNaN(difference))
    return check('clock', 'warning', 'the server told no time', 'Is this a coatcheck server?')
  const far = difference > MAX_CLOCK_DIFFERENCE_MS
  const detail = `${Math.round(difference / 1000)} s from the server's`
  return check(
    'clock',
    far ? 'failed' : 'ok',
    detail,
    far ? 'Set the clock: certificates and expiry depend on it.' : null,
  )
}

export async function caCheck(caFile: string, now: number): Promise<Check> {
  const name = 'certificate'
  const pem = await fs.readFile(caFile).catch(() => undefined)
  if (pem === undefined)
    return check(name, 'warning', `${caFile} is not there`, 'coatcheck serve exports it when it starts.')
  const certificate = parsed(pem)
  if (certificate === undefined)
    return check(name, 'failed', `${caFile} is not a certificate`, 'coatcheck ca export DIR')
  const expired = certificate.validToDate.getTime() < now
  const detail = `${caFile}, valid until ${certificate.validToDate.toISOString()}`
  return check(
    name,
    expired ? 'failed' : 'ok',
    detail,
    expired ? 'Make a new authority; every client must trust it.' : null,
  )
}

/** What clients started from here would read: all of it set as a sandbox has it, or none of it. */
export async function environmentCheck(
  env: Readonly<Record<string, string | undefined>>,
  locations: Locations,
): Promise<Check[]> {
  const wanted = Object.entries(locations.clientEnvironment)
  const dangling = await danglingFiles(
    wanted.map(([name]) => name),
    env,
  )
  const proxied = env['HTTPS_PROXY']?.includes('@') === true || env['https_proxy']?.includes('@') === true
  const different = wanted
    .filter(([name, value]) => FILE_VARIABLE.test(name) && env[name] !== value)
    .map(([name]) => name)
  const checks = [
    ...dangling.map((name) =>
      check(`environment ${name}`, 'failed', 'names a file that is not there', `unset ${name}`),
    ),
    ...(proxied && different.length > 0
      ? [
          check(
            'environment',
            'warning',
            `set for a proxy, but not ${different.join(', ')}`,
            'eval "$(coatcheck sandbox env NAME)"',
          ),
        ]
      : []),
  ]
  if (checks.length > 0) return checks
  return [
    check('environment', 'ok', proxied ? 'set for a sandbox' : 'not set for a sandbox: run and sandbox env set it'),
  ]
}

async function danglingFiles(
  names: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string[]> {
  const found = await Promise.all(
    names.map(async (name) => {
      const file = env[name] ?? ''
      return FILE_VARIABLE.test(name) && file !== '' && (await statOf(file)) === undefined ? name : ''
    }),
  )
  return found.filter((name) => name !== '')
}

async function entriesOf(directory: string): Promise<string[]> {
  const names = await fs.readdir(directory).catch(() => [])
  return names.filter((name) => !name.endsWith('.pub.pem')).map((name) => join(directory, name))
}

/** The path when group or others have any right on it, else ''. */
async function othersMayOpen(path: string): Promise<string> {
  const stats = await statOf(path)
  return stats !== undefined && (stats.mode & 0o077) !== 0 ? path : ''
}

async function othersMayRead(path: string): Promise<string> {
  return (await statOf(path))?.isFile() === true ? await othersMayOpen(path) : ''
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await fs.stat(path).catch(() => undefined)
}

function parsed(pem: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

function check(name: string, state: Check['state'], detail: string, fix: string | null = null): Check {
  return { name, state, detail, fix }
}
