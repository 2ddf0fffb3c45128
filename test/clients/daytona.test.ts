/**
 * Contract: Daytona's own clients, unmodified and pointed here by their two settings, manage secrets and mount them in a sandbox whose
 * requests then get the value through the proxy. They are installed by this test, outside the checkout.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bare, echo } from '../support/client-sandbox.ts'
import { ALLOWED, Rig } from '../support/rig.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 'daytona.ts')
const VALUE = 'sk-ant-of-the-daytona-clients'
const PACKAGES = {
  '@daytona/sdk': '@daytona/sdk@0.216.0',
  'daytona-sdk-0192': 'daytona-sdk-0192@npm:@daytona/sdk@0.192.0',
  '@daytonaio/sdk': '@daytonaio/sdk@0.218.0',
} as const
const run = promisify(execFile)

interface Seen {
  readonly secret: { readonly id: string; readonly placeholder: string; readonly hosts: readonly string[] }
  readonly got: object
  readonly listed: unknown
  readonly searched: unknown
  readonly updated: object
  readonly placeholder: string
  readonly mounted: { readonly authorization: string }
  readonly detached: { readonly error: { readonly code: string } } | null
  readonly errors: Readonly<Record<string, readonly string[]>>
}

let dir: string
let unreachable: string | null = null

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coatcheck-daytona-'))
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', dir]
  try {
    await run('npm', ['install', ...options, ...Object.values(PACKAGES)], { cwd: dir, timeout: 150_000 })
  } catch {
    unreachable = 'skipped: the npm registry cannot be reached'
  }
}, 180_000)

afterAll(async () => {
  await rm(dir, { recursive: true, force: true })
})

/** Everything the program saw with that client, and what the upstream got last. */
async function seenWith(name: string, polling: boolean) {
  const rig = await Rig.start()
  try {
    rig.upstream.answerWith(echo)
    const { secret: token } = await rig.app.data.tokens.create(rig.principal, {
      name: 'daytona',
      role: 'member',
      prefix: 'dtn_',
    })
    const env = {
      ...bare(dir),
      DAYTONA_API_KEY: token,
      DAYTONA_API_URL: `${rig.app.apiUrl}/api`,
      POLLING: polling ? 'yes' : 'no',
    }
    const { stdout, stderr } = await run(process.execPath, [PROGRAM, dir, name, rig.url(), VALUE], { env, cwd: dir })
    return { seen: JSON.parse(stdout) as Seen, printed: stdout + stderr, upstream: rig.upstream.last.headers }
  } finally {
    await rig.stop()
  }
}

describe.each([
  ['@daytona/sdk 0.216.0', '@daytona/sdk', { paginated: true }],
  ['@daytona/sdk 0.192.0', 'daytona-sdk-0192', { paginated: false }],
  ['@daytonaio/sdk', '@daytonaio/sdk', { paginated: true }],
] as const)('%s', (_title, name, { paginated }) => {
  it('creates, lists, updates and deletes, mounts, and its sandbox gets the value through the proxy', async (context) => {
    context.skip(unreachable !== null, unreachable ?? '')
    const { seen, printed, upstream } = await seenWith(name, true)
    const { secret } = seen
    expect(secret).toMatchObject({ name: 'daytona-key', hosts: [ALLOWED] })
    expect(secret.placeholder).toMatch(/^dtn_secret_xcoat_[0-9a-z]{26}$/)
    expect(seen.got).toEqual(secret)
    const page = { items: [secret], total: 1, nextCursor: null }
    // The old list knows no search: the rig's own secret is in it too.
    const all = [secret, { name: 'openai' }]
    expect(seen.searched).toMatchObject(paginated ? page : all)
    expect(seen.updated).toMatchObject({
      placeholder: secret.placeholder,
      description: 'of the tests',
      hosts: [ALLOWED, `*.${ALLOWED}`],
    })
    expect(seen.placeholder).toBe(secret.placeholder)
    expect(upstream.authorization).toBe(`Bearer ${VALUE}`)
    expect(seen.mounted.authorization).toBe(`Bearer ${secret.placeholder}`)
    expect(printed).not.toContain(VALUE)
    expect(seen.errors['conflict']).toContain('DaytonaConflictError')
    expect(seen.errors['missing']).toContain('DaytonaNotFoundError')
    if (seen.detached !== null) expect(seen.detached.error.code).toBe('unknown_placeholder')
  }, 60_000)
})

describe('@daytona/sdk 0.216.0 in detail', () => {
  it('tells every class of failure apart, and works with the socket it opens by default refused', async (context) => {
    context.skip(unreachable !== null, unreachable ?? '')
    const { seen } = await seenWith('@daytona/sdk', false)
    const classes = Object.entries(seen.errors).map(([what, names]) => [
      what,
      names.filter((each) => each !== 'DaytonaError'),
    ])
    expect(Object.fromEntries(classes)).toEqual({
      conflict: ['DaytonaConflictError'],
      missing: ['DaytonaNotFoundError'],
      invalid: ['DaytonaBadRequestError', 'DaytonaValidationError'],
      unknown: ['DaytonaBadRequestError', 'DaytonaValidationError'],
      unauthenticated: ['DaytonaAuthenticationError'],
    })
  }, 60_000)
})
