/**
 * `coatcheck demo`: the main job on this machine, without the internet. Everything is real (TLS, sockets, database, a
 * child process) and everything it prints was observed; it fails if any of it is not as promised.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import type { SandboxCredentials } from '../api/contract/sandboxes.ts'
import type { SecretDocument } from '../api/contract/secrets.ts'
import { App } from '../app.ts'
import { loadSettings } from '../config.ts'
import { type ChildAnswer, requestFromChild } from './demo-client.ts'
import { DemoUpstream } from './demo-upstream.ts'

const ALLOWED = 'api.demo.test'
const OTHER = 'elsewhere.demo.test'
const VARIABLE = 'DEMO_API_KEY'

/** Prints a story and keeps count of what was not as promised. */
class Story {
  failures = 0
  readonly #out: Writable

  constructor(out: Writable) {
    this.#out = out
  }

  say(text = ''): void {
    this.#out.write(`${text}\n`)
  }

  promise(what: string, kept: boolean): void {
    if (!kept) this.failures += 1
    this.say(`  ${kept ? 'ok  ' : 'FAIL'}  ${what}`)
  }
}

export async function demo(io: { readonly stdout: Writable }): Promise<number> {
  const story = new Story(io.stdout)
  const dir = await mkdtemp(join(tmpdir(), 'coatcheck-demo-'))
  const upstream = await DemoUpstream.start(join(dir, 'upstream'), [ALLOWED, OTHER])
  try {
    const app = await startApp(dir, upstream)
    try {
      await tell(story, app, upstream)
    } finally {
      await app.close(0)
    }
  } finally {
    await upstream.stop()
    await rm(dir, { recursive: true, force: true })
  }
  story.say(story.failures === 0 ? '\nEverything was as promised.' : `\n${story.failures} promises were broken.`)
  return story.failures === 0 ? 0 : 1
}

async function startApp(dir: string, upstream: DemoUpstream): Promise<App> {
  const extraCa = join(dir, 'upstream-ca.pem')
  await writeFile(extraCa, upstream.certificatePem)
  const settings = loadSettings({
    file: null,
    env: {},
    overrides: {
      dataDir: join(dir, 'data'),
      'log.level': 'error',
      'proxy.listen': '127.0.0.1:0',
      'upstream.extraCa': extraCa,
      'upstream.resolve': { [ALLOWED]: '127.0.0.1', [OTHER]: '127.0.0.1' },
      'egress.privateAddresses': ['127.0.0.0/8'],
      'egress.ports': [80, 443, upstream.port],
    },
  })
  return await App.start({ settings, env: {}, exportDir: null, ship: false, listen: { proxy: true, api: false } })
}

interface Cast {
  /** Made up for the demo, so it may be printed. */
  readonly value: string
  readonly secret: SecretDocument
  readonly env: Record<string, string>
}

async function call<T>(app: App, method: string, path: string, body?: unknown): Promise<T> {
  const api = app.localApi()
  try {
    return JSON.parse((await api.request(method, path, body)).body) as T
  } finally {
    await api.close()
  }
}

async function cast(app: App): Promise<Cast> {
  const value = `demo-value-${randomBytes(12).toString('hex')}`
  const secret = await call<SecretDocument>(app, 'POST', '/v1/secrets', { name: 'demo-key', value, hosts: [ALLOWED] })
  const mounts = { [VARIABLE]: 'demo-key' }
  const sandbox = await call<SandboxCredentials>(app, 'POST', '/v1/sandboxes', { name: 'demo-sandbox', mounts })
  return { value, secret, env: { PATH: process.env['PATH'] ?? '', ...sandbox.env } }
}

async function tell(story: Story, app: App, upstream: DemoUpstream): Promise<void> {
  const actors = await cast(app)
  const { value, secret, env } = actors
  story.say(`A secret "demo-key" may go to ${ALLOWED}. A child process has only its placeholder:`)
  story.say(`  ${VARIABLE}=${env[VARIABLE]}`)
  story.promise('the value is nowhere in the environment of the child', !JSON.stringify(env).includes(value))
  story.promise('what it has is the placeholder', env[VARIABLE] === secret.placeholder)
  const seen = [
    await allowedHost(story, upstream, actors),
    await otherHost(story, upstream, env),
    await plainHttp(story, upstream, env),
  ]
  story.promise('the value is nowhere in what the child saw', !seen.some((answer) => answer.output.includes(value)))
  await auditTrail(story, app, value)
}

async function allowedHost(story: Story, upstream: DemoUpstream, { value, secret, env }: Cast): Promise<ChildAnswer> {
  const answer = await requestFromChild(`https://${ALLOWED}:${upstream.port}/v1/models`, VARIABLE, env)
  story.say(`\n$ ${answer.command}\n${answer.body}`)
  story.say(`  the upstream received   ${upstream.received.at(-1)?.authorization}`)
  story.promise('the upstream has the real value', upstream.received.at(-1)?.authorization === `Bearer ${value}`)
  story.promise('the echo came back as the placeholder', answer.body.includes(secret.placeholder))
  return answer
}

async function otherHost(story: Story, upstream: DemoUpstream, env: Record<string, string>): Promise<ChildAnswer> {
  const answer = await requestFromChild(`https://${OTHER}:${upstream.port}/collect`, VARIABLE, env)
  story.say(`\n$ ${answer.command}\n${answer.body}`)
  story.promise('a host that is not allowed is refused with 403', answer.status === 403)
  story.promise('and received nothing', !upstream.received.some((request) => request.host.startsWith(OTHER)))
  return answer
}

async function plainHttp(story: Story, upstream: DemoUpstream, env: Record<string, string>): Promise<ChildAnswer> {
  const before = upstream.received.length
  const answer = await requestFromChild(`http://${ALLOWED}:${upstream.port}/v1/models`, VARIABLE, env)
  story.say(`\n$ ${answer.command}\n${answer.body}`)
  story.promise('plain HTTP is refused with 403', answer.status === 403)
  story.promise('and nothing was sent', upstream.received.length === before)
  return answer
}

async function auditTrail(story: Story, app: App, value: string): Promise<void> {
  const principal = app.data.tokens.systemPrincipal()
  const { items } = await app.data.records.list(principal, { limit: 50, cursor: null })
  story.say('\nThe audit log, oldest first:')
  for (const event of [...items].reverse()) {
    const line =
      event.kind === 'change'
        ? `${event.action} ${event.target.name}`
        : `${event.method} ${event.host}${event.path ?? ''} ${event.kind === 'exchange' ? `${event.decision} ${event.status}${event.reason === null ? '' : ` (${event.reason})`}` : event.secrets.map((each) => `${each.name} v${each.version} in ${each.placement}`).join(', ')}`
    story.say(`  #${event.seq}  ${event.kind.padEnd(8)}  ${line}`)
  }
  const releases = items.filter((event) => event.kind === 'release')
  story.promise('one release was recorded', releases.length === 1)
  story.promise('the value is nowhere in the log', !JSON.stringify(items).includes(value))
  story.promise('the chain of the log verifies', (await app.data.records.verify()).ok)
}
