/**
 * Everything that a program does with Daytona's own client: DIR PACKAGE UPSTREAM VALUE. Prints one JSON document of what it saw, then
 * exits, because the client keeps a socket open.
 */
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'

const [dir = '', name = '', upstream = '', value = ''] = process.argv.slice(2)
const run = promisify(execFile)

interface Secret {
  readonly id: string
  readonly name: string
  readonly placeholder: string
  readonly hosts: readonly string[]
}
interface Page {
  readonly items: readonly Secret[]
  readonly total: number
  readonly nextCursor: string | null
}
interface Sandbox {
  readonly env: Readonly<Record<string, string>>
  /** Not in the oldest client with secrets. */
  updateSecrets?(secrets: Readonly<Record<string, string>>): Promise<void>
}
interface Client {
  readonly secret: {
    create(input: object): Promise<Secret>
    get(id: string): Promise<Secret>
    list(query?: object): Promise<readonly Secret[] | Page>
    update(id: string, input: object): Promise<Secret>
    delete(id: string): Promise<void>
  }
  create(input: object): Promise<Sandbox>
}
type Sdk = Readonly<Record<string, new (...args: never[]) => Error>> & {
  readonly Daytona: new (options: object) => Client
}

const sdk = createRequire(join(dir, 'package.json'))(name) as Sdk

/** The names of the client's error classes that what was thrown is an instance of. */
async function thrownBy(call: () => Promise<unknown>): Promise<readonly string[]> {
  try {
    await call()
    return []
  } catch (error) {
    return Object.entries(sdk).flatMap(([each, type]) =>
      /^Daytona\w+Error$/.test(each) && error instanceof type ? [each] : [],
    )
  }
}

/** A request of the workload, with what the client was given for it. */
async function requestFrom(env: Readonly<Record<string, string>>): Promise<unknown> {
  const program = join(import.meta.dirname, 'node-client.ts')
  const { stdout } = await run(process.execPath, [program, 'fetch', upstream], { env })
  return JSON.parse(stdout) as unknown
}

/** What the same request gets once nothing is mounted any more. */
async function afterDetaching(sandbox: Sandbox): Promise<unknown> {
  const { env } = sandbox
  await sandbox.updateSecrets?.({})
  return await requestFrom(env)
}

async function main(): Promise<object> {
  const client = new sdk.Daytona({ useDeprecatedPolling: process.env['POLLING'] === 'yes' })
  const secret = await client.secret.create({ name: 'daytona-key', value, hosts: ['api.test'] })
  const conflict = await thrownBy(() => client.secret.create({ name: 'daytona-key', value: 'x' }))
  const got = await client.secret.get(secret.id)
  const listed = await client.secret.list()
  const searched = await client.secret.list({ limit: 50, name: 'daytona', sort: 'name', order: 'asc' })
  const updated = await client.secret.update(secret.id, {
    description: 'of the tests',
    hosts: ['api.test', '*.api.test'],
  })
  const sandbox = await client.create({ language: 'typescript', secrets: { API_KEY: 'daytona-key' } })
  const { env } = sandbox
  const mounted = await requestFrom(env)
  const unknown = await thrownBy(() => client.create({ language: 'typescript', secrets: { KEY: 'no-such' } }))
  const detached = sandbox.updateSecrets === undefined ? null : await afterDetaching(sandbox)
  await client.secret.delete(secret.id)
  const missing = await thrownBy(() => client.secret.get(secret.id))
  const invalid = await thrownBy(() => client.secret.create({ name: 'not/a/name', value: 'x' }))
  const stranger = new sdk.Daytona({ apiKey: 'dtn_no', useDeprecatedPolling: true })
  const unauthenticated = await thrownBy(() => stranger.secret.list())
  const errors = { conflict, missing, invalid, unknown, unauthenticated }
  return { secret, got, listed, searched, updated, placeholder: env['API_KEY'], mounted, detached, errors }
}

const document = await main()
process.stdout.write(JSON.stringify(document), () => process.exit(0))
