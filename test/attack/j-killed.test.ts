/**
 * Out of memory, a node that is gone: the process is killed at any moment between the record of a release and the bytes that
 * it is for. Every value that an upstream saw has its release event in a log that verifies.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { openTunnel } from '../support/sandbox-client.ts'
import { ServerProcess } from '../support/server-process.ts'
import { TestAuthority } from '../support/test-authority.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

const HOST = 'api.test'
const ROUNDS = 8
const CLIENTS = 6
/** Of one exchange, about; the moment of death is spread over it. */
const SPREAD_MS = 8

interface Created {
  readonly placeholder: string
  readonly name: string
  readonly token: string
}

const value = canary('killed')
const seen: Buffer[] = []
let authority: TestAuthority
let upstream: RecordingUpstream
let server: ServerProcess
let placeholder: string
let sandbox: Created
let ca: string

beforeAll(async () => {
  authority = await TestAuthority.create()
  upstream = await RecordingUpstream.start({ authority, host: HOST })
  server = await ServerProcess.prepare({
    COATCHECK_UPSTREAM_EXTRACA: authority.caFile,
    COATCHECK_UPSTREAM_RESOLVE: JSON.stringify({ [HOST]: '127.0.0.1' }),
    COATCHECK_EGRESS_PRIVATEADDRESSES: '["127.0.0.0/8"]',
    COATCHECK_EGRESS_PORTS: JSON.stringify([upstream.port]),
  })
  const secret = await server.command(['secret', 'create', 'key', '--hosts', HOST, '--value-stdin'], value)
  placeholder = (secret as Created).placeholder
  sandbox = (await server.command(['sandbox', 'create', 'box', '--mount', 'KEY=key'])) as Created
  ca = await readFile(join(server.folder, 'data', 'authority.cert.pem'), 'utf8')
})
afterAll(async () => {
  await server.kill()
  const files = await server.files()
  await Promise.all([server.remove(), upstream.stop(), authority.remove()])
  assertNoLeak(value, { 'what the sandbox saw': Buffer.concat(seen), 'what it printed': server.printed, ...files })
})

/** One request after another, a tunnel for every five, until it dies. */
async function sendUntilDeath(prefix: string): Promise<void> {
  const proxyUrl = `http://127.0.0.1:${server.proxyPort}`
  for (let n = 0; ; ) {
    const tunnel = await openTunnel({ ...sandbox, proxyUrl, env: {} }, `${HOST}:${upstream.port}`)
    const secure = tls.connect({ socket: tunnel, ca, servername: HOST })
    const wire = new Wire(secure, (chunk) => seen.push(chunk))
    for (const end = n + 5; n < end; n += 1) {
      const head = `Host: ${HOST}:${upstream.port}\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`
      wire.write(`GET /${prefix}/${n} HTTP/1.1\r\n${head}`)
      await wire.message()
    }
    secure.destroy()
  }
}

/** Paths of the release events on disk. */
function released(): ReadonlySet<string> {
  const database = new DatabaseSync(server.databaseFile)
  const rows = database.prepare('SELECT body FROM audit_events').all() as { body: string }[]
  database.close()
  const events = rows.map(({ body }) => JSON.parse(body) as { kind: string; path: string })
  return new Set(events.filter(({ kind }) => kind === 'release').map(({ path }) => path))
}

it(`J19 no value that left is without its release event after ${ROUNDS} kills at any moment, and the log verifies`, async () => {
  const sent: string[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    await server.start()
    upstream.clear()
    const clients = Array.from({ length: CLIENTS }, (_none, i) =>
      sendUntilDeath(`${round}-${i}`).catch(() => undefined),
    )
    await until(() => upstream.requests.length > CLIENTS * 4)
    await sleep(Math.random() * SPREAD_MS)
    await server.kill()
    await Promise.all(clients)
    await until(() => upstream.sockets.size === 0)
    const arrived = upstream.requests.filter(({ headers }) => headers.authorization === `Bearer ${value}`)
    expect(arrived).toHaveLength(upstream.requests.length)
    sent.push(...arrived.map(({ target }) => target))
  }
  const recorded = released()
  expect(sent.length).toBeGreaterThan(ROUNDS * CLIENTS * 4)
  expect(sent.filter((path) => !recorded.has(path))).toEqual([])
  expect(await server.command(['audit', 'verify'])).toMatchObject({ ok: true, firstBad: null })
}, 120_000)
