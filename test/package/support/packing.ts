/** Packs the checkout as a release would, away from it, and runs what comes out of the tarball. */
import { execFile, spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export const CHECKOUT = join(import.meta.dirname, '../../..')

/** What a release is made from; the rest of a checkout plays no part in it. */
const MANIFESTS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'tsconfig.client.json']
const SOURCES = [...MANIFESTS, 'src', 'config', 'docs']
const TEXTS = ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'CONTRIBUTING.md', 'LICENSE']

/** Files that lie in real checkouts and must never be published. */
const PRIVATE = [
  'data/keyring.json',
  'data/coatcheck.db',
  'dist/stale.js',
  'certs/coatcheck-ca.pem',
  'config/local.yaml',
  'coatcheck.yaml',
  '.env',
  'sandbox.env',
  'audit.log',
  'src/core/notes.txt',
  'test/secret.test.ts',
]

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end; `input` is its standard input. */
export function run(
  file: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly input?: string },
): Promise<Ended> {
  return new Promise((resolve) => {
    const { cwd, env = process.env, input = '' } = options
    const child = execFile(file, args, { cwd, env, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      resolve({ code, stdout, stderr })
    })
    // A program that does not read its input may be gone by now.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** As `run`; throws with what the program said when it fails. */
export async function succeed(...given: Parameters<typeof run>): Promise<Ended> {
  const ended = await run(...given)
  if (ended.code !== 0) throw new Error(`${given[0]} ${given[1].join(' ')}: ${ended.stdout}${ended.stderr}`)
  return ended
}

/** `npm pack` on a copy of the sources, private files beside them; the path of the tarball. */
export async function pack(dir: string): Promise<string> {
  const checkout = join(dir, 'checkout')
  await mkdir(checkout)
  for (const name of [...SOURCES, ...TEXTS]) await cp(join(CHECKOUT, name), join(checkout, name), { recursive: true })
  for (const name of PRIVATE) {
    await mkdir(dirname(join(checkout, name)), { recursive: true })
    await writeFile(join(checkout, name), 'private')
  }
  await symlink(join(CHECKOUT, 'node_modules'), join(checkout, 'node_modules'))
  await succeed('npm', ['pack', '--pack-destination', dir], { cwd: checkout })
  const tarball = (await readdir(dir)).find((name) => name.endsWith('.tgz'))
  if (tarball === undefined) throw new Error('npm pack made no tarball')
  return join(dir, tarball)
}

/** Installs the tarball in an empty folder, as a user would; the folder. */
export async function install(dir: string, tarball: string): Promise<string> {
  const folder = join(dir, 'installed')
  await mkdir(folder)
  await writeFile(join(folder, 'package.json'), '{ "private": true }\n')
  const options = ['--omit=dev', '--no-audit', '--no-fund', '--prefer-offline']
  await succeed('npm', ['install', ...options, tarball], { cwd: folder })
  return folder
}

export async function temporary(): Promise<{ dir: string; remove: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-pack-'))
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) }
}

/** The environment of a user who has this Node and nothing of ours: no trust variables, no settings. */
export function userEnvironment(nodeDir: string, extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const system = (process.env['PATH'] ?? '').split(delimiter).filter((each) => !each.includes('node_modules'))
  return { PATH: [nodeDir, ...system].join(delimiter), HOME: process.env['HOME'] ?? '', ...extra }
}

/** The folder of a Node on this machine that is older than the program needs; undefined when there is none. */
export function oldNodeDir(): string | undefined {
  return (process.env['PATH'] ?? '').split(delimiter).find((dir) => {
    const { status, stdout } = spawnSync(join(dir, 'node'), ['--version'], { encoding: 'utf8' })
    const [major = 0, minor = 0] = status === 0 ? stdout.slice(1).split('.').map(Number) : [99]
    return major >= 18 && (major < 24 || (major === 24 && minor < 15))
  })
}

/** Whether a package of ours can be fetched from the registry that npm is set to. */
export function registryAnswers(): boolean {
  const options = ['--fetch-retries=0', '--fetch-timeout=10000']
  return spawnSync('npm', ['view', 'commander', 'name', ...options], { timeout: 20_000 }).status === 0
}
