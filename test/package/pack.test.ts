/**
 * Contract: the published package holds what is needed to run and nothing else of the checkout; installed in an empty
 * folder it works as `npx coatcheck`, on a current Node, and says what is wrong on an old one.
 */
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CHECKOUT,
  type Ended,
  install,
  oldNodeDir,
  pack,
  registryAnswers,
  run,
  succeed,
  temporary,
  userEnvironment,
} from './support/packing.ts'

const SLOW_MS = 180_000
const CURRENT_NODE = dirname(process.execPath)

const place = await temporary()
let tarball = ''
beforeAll(async () => {
  tarball = await pack(place.dir)
}, SLOW_MS)
afterAll(() => place.remove())

/** Every file below a folder, relative to the checkout. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(join(CHECKOUT, folder), { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return paths.map((path) => path.slice(CHECKOUT.length + 1))
}

describe('the tarball', () => {
  it('holds the built program, its settings, its documents and nothing else, whatever lies in the checkout', async () => {
    const { stdout } = await succeed('tar', ['-tzf', tarball], { cwd: place.dir })
    const packed = stdout.trim().split('\n').sort()
    const sources = (await filesBelow('src')).filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    const typed = sources.filter((path) => /^src\/(?:client\/|api\/contract(?:\.ts$|\/))/.test(path))
    const expected = [
      ...sources.map((path) => path.replace(/^src/, 'dist').replace(/\.ts$/, '.js')),
      ...typed.map((path) => path.replace(/^src/, 'dist').replace(/\.ts$/, '.d.ts')),
      ...(await filesBelow('docs')),
      'config/coatcheck.yaml',
      'config/coatcheck.schema.json',
      'package.json',
      'README.md',
      'CHANGELOG.md',
      'SECURITY.md',
      'LICENSE',
    ]
    expect(packed).toEqual(expected.map((path) => `package/${path}`).sort())
  })

  it('has a client that loads nothing but itself, so that it runs wherever fetch is', async () => {
    const { stdout } = await succeed('tar', ['-xzOf', tarball, '--wildcards', 'package/dist/client/*.js'], {
      cwd: place.dir,
    })
    const loaded = [
      ...stdout.matchAll(/^(?:import|export) (?:[^'"]* from )?['"]([^'"]+)['"]|\b(?:import|require)\(['"]/gm),
    ]
    expect(loaded.length).toBeGreaterThan(10)
    expect(loaded.map(([, name]) => name).filter((name) => !/^\.\/[a-z-]+\.js$/.test(name ?? ''))).toEqual([])
    expect(stdout).not.toMatch(/\b(?:Buffer|process|globalThis\.process)\b\./)
  })

  it('needs nothing at install time: no script of its own, and every dependency pinned', async () => {
    const { stdout } = await succeed('tar', ['-xOzf', tarball, 'package/package.json'], { cwd: place.dir })
    const manifest = JSON.parse(stdout) as {
      scripts: Record<string, string>
      dependencies: Record<string, string>
    }
    expect(Object.keys(manifest.scripts)).not.toContain('install')
    expect(Object.keys(manifest.scripts)).not.toContain('preinstall')
    expect(Object.keys(manifest.scripts)).not.toContain('postinstall')
    for (const version of Object.values(manifest.dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  })
})

describe.skipIf(!registryAnswers())('installed in an empty folder (skipped where no registry answers)', () => {
  const old = oldNodeDir()
  const dataDir = join(place.dir, 'data')
  let folder = ''
  beforeAll(async () => {
    folder = await install(place.dir, tarball)
  }, SLOW_MS)

  const coatcheck = (args: readonly string[], input = ''): Promise<Ended> =>
    run('npx', ['--no-install', 'coatcheck', ...args], {
      cwd: folder,
      env: userEnvironment(CURRENT_NODE, { COATCHECK_DATADIR: dataDir }),
      input,
    })

  it('is the version of this package', async () => {
    const { version } = JSON.parse(await readFile(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string }
    expect(await coatcheck(['version'])).toMatchObject({ code: 0, stdout: `coatcheck ${version}\n` })
  })

  it('keeps every promise of the demo', { timeout: SLOW_MS }, async () => {
    const { code, stdout } = await coatcheck(['demo'])
    expect(stdout).toMatch(/Everything was as promised\.\n$/)
    expect(stdout).not.toContain('FAIL')
    expect(code).toBe(0)
  })

  it('stores a secret on its first start, lists it without its value and verifies its log', async () => {
    const value = `pack-test-${'v'.repeat(24)}`
    const args = ['secret', 'create', 'openai', '--hosts', 'api.openai.com', '--value-stdin', '--json']
    const created = await coatcheck(args, value)
    expect(created).toMatchObject({ code: 0 })
    const { placeholder } = JSON.parse(created.stdout) as { placeholder: string }
    expect(placeholder).toMatch(/^xcoat_[0-9a-z]{26}$/)

    const listed = await coatcheck(['secret', 'list'])
    expect(listed.code).toBe(0)
    expect(listed.stdout).toContain(placeholder)
    expect(created.stdout + listed.stdout + listed.stderr).not.toContain(value)
    expect(await coatcheck(['audit', 'verify'])).toMatchObject({ code: 0 })
  })

  it.skipIf(old === undefined)(
    'says which Node it needs on an old one, and ends with 1 (needs an old Node)',
    async () => {
      const bin = join(folder, 'node_modules/.bin/coatcheck')
      const ended = await run(bin, ['version'], { cwd: folder, env: userEnvironment(old ?? '') })
      expect(ended).toMatchObject({ code: 1, stdout: '' })
      expect(ended.stderr).toMatch(/^coatcheck needs Node 24\.15 or newer; this is \d+\.\d+\.\d+\.\n/)
    },
  )
})
