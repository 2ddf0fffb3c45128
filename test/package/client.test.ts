/**
 * Contract: `import { Coatcheck } from 'coatcheck/client'` works from an installed package, on the real API, in Node, Deno and Bun,
 * and its types hold from outside, with the strictest settings and without any types of Node.
 */
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest, CANARY } from '../api/support/api-under-test.ts'
import { lacks } from '../support/client-sandbox.ts'
import { CHECKOUT, install, pack, registryAnswers, run, temporary, userEnvironment } from './support/packing.ts'

const SLOW_MS = 180_000
const TSC = join(CHECKOUT, 'node_modules/.bin/tsc')
const CURRENT_NODE = dirname(process.execPath)

const SETTINGS = {
  compilerOptions: {
    target: 'es2024',
    lib: ['es2024', 'dom', 'esnext.disposable'],
    module: 'nodenext',
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    skipLibCheck: false,
    noEmit: true,
  },
  files: ['right.ts'],
}

const RIGHT = `
import { Coatcheck, CoatcheckError, type AuditEvent, type Secret } from 'coatcheck/client'
export async function use(coatcheck: Coatcheck, signal: AbortSignal): Promise<readonly Secret[]> {
  const secret: Secret = await coatcheck.secrets.create({ name: 'a', value: 'b', hosts: ['a.example'] }, { signal })
  const hosts: readonly string[] | null = secret.hosts
  await coatcheck.secrets.update(secret.id, { hosts: null, expiresAt: null })
  const { value } = await coatcheck.secrets.reveal('a', { version: 1 })
  for await (const each of coatcheck.secrets.list({ labels: { a: 'b' }, deleted: true })) each.placeholder.at(0)
  for await (const event of coatcheck.audit.follow()) (event satisfies AuditEvent).kind
  await coatcheck.secrets.delete('a').catch((error: unknown) => {
    if (CoatcheckError.is(error, 'not_found', 'gone')) {
      const code: 'not_found' | 'gone' = error.code
      return code
    }
    throw error
  })
  return [await coatcheck.within({ workspace: hosts?.[0] ?? value }).secrets.get('a'), ...(await coatcheck.secrets.list())]
}
`

/** Each line is a mistake of its own. */
const WRONG = [
  `await coatcheck.secrets.create({ name: 'a' })`,
  `await coatcheck.secrets.create({ name: 'a', value: 'b', type: 'unheard-of' })`,
  `await coatcheck.secrets.create({ name: 'a', value: 'b', unheardOf: 1 })`,
  `await coatcheck.secrets.update('a', { hosts: 'a.example' })`,
  `coatcheck.secrets.list({ sort: 'size' })`,
  `await coatcheck.policies.create({ path: 'a', permissions: ['fly'] })`,
  `void (await coatcheck.secrets.get('a')).value`,
  `new Coatcheck({ url: 'http://127.0.0.1' })`,
]

const PROGRAM = `
import process from 'node:process'
import { inspect } from 'node:util'
import { Coatcheck, CoatcheckError } from 'coatcheck/client'
const [url, token] = process.argv.slice(2)
const coatcheck = new Coatcheck({ url, token })
await coatcheck.secrets.create({ name: 'one', value: '${CANARY}', readPolicy: 'permission' })
const revealed = await coatcheck.secrets.reveal('one')
const thrown = await coatcheck.secrets.get('two').catch((error) => error)
console.log(inspect({ coatcheck, revealed, thrown }))
const names = []
for await (const { name } of coatcheck.secrets.list()) names.push(name)
// From now on, which is when the connection is there: something happens until the first event comes.
const events = coatcheck.audit.follow()
let followed = null
const first = events.next().then(({ value }) => (followed = value.kind))
for (let i = 0; followed === null; i += 1) {
  await coatcheck.secrets.update('one', { description: String(i) })
  await new Promise((resolve) => setTimeout(resolve, 20))
}
await first
await events.return()
console.log(JSON.stringify({ names, length: revealed.value.length, missing: CoatcheckError.is(thrown, 'not_found'), followed }))
`

/** Each runs a module of an installed package. */
const RUNTIMES = [
  { name: 'Node', missing: null, program: join(CURRENT_NODE, 'node'), args: [] },
  {
    name: 'Deno',
    missing: lacks('deno'),
    program: 'deno',
    args: ['run', '--quiet', '--no-prompt', '--node-modules-dir=manual', '--allow-net=127.0.0.1'],
  },
  { name: 'Bun', missing: lacks('bun'), program: 'bun', args: ['run'] },
] as const

describe.skipIf(!registryAnswers())('installed in an empty folder (skipped where no registry answers)', () => {
  let folder = ''
  let place: Awaited<ReturnType<typeof temporary>>
  beforeAll(async () => {
    place = await temporary()
    folder = await install(place.dir, await pack(place.dir))
    await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(SETTINGS))
  }, SLOW_MS)
  afterAll(() => place.remove())

  const checked = async (text: string) => {
    await writeFile(join(folder, 'right.ts'), text)
    return await run(TSC, ['-p', folder, '--pretty', 'false'], { cwd: folder })
  }

  it('is typed', { timeout: SLOW_MS }, async () => {
    expect(await checked(RIGHT)).toMatchObject({ code: 0, stdout: '' })
  })

  it('lets no mistake through', { timeout: SLOW_MS }, async () => {
    const lines = WRONG.map((line) => `  ${line}\n`).join('')
    const text = `import { Coatcheck } from 'coatcheck/client'\nexport async function use(coatcheck: Coatcheck) {\n${lines}}\n`
    const { stdout } = await checked(text)
    const at = new Set([...stdout.matchAll(/^right\.ts\((\d+),/gm)].map(([, line]) => WRONG[Number(line) - 3]))
    expect(WRONG.filter((line) => !at.has(line))).toEqual([])
  })

  for (const { name, missing, program, args } of RUNTIMES) {
    const title = `works in ${name} on the real API, and prints neither token nor value`
    const skipped = missing === null ? '' : ` (skipped: ${missing})`
    it.skipIf(missing !== null)(`${title}${skipped}`, { timeout: SLOW_MS }, async () => {
      const api = await ApiUnderTest.start()
      try {
        await writeFile(join(folder, 'program.js'), PROGRAM)
        const env = { ...userEnvironment(CURRENT_NODE), PATH: process.env['PATH'], HOME: place.dir }
        const ended = await run(program, [...args, 'program.js', api.url, api.adminToken], { cwd: folder, env })
        expect(ended).toMatchObject({ code: 0, stderr: '' })
        expect(JSON.parse(ended.stdout.trim().split('\n').at(-1) ?? '')).toEqual({
          names: ['one'],
          length: CANARY.length,
          missing: true,
          followed: 'change',
        })
        for (const text of [CANARY, api.adminToken]) expect(ended.stdout).not.toContain(text)
      } finally {
        await api.stop()
      }
    })
  }
})
