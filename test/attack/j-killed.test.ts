/**
 * Out of memory, a node that is gone: the process is killed at any moment between the record of a release and the bytes that
 * it is for. Every value that an upstream saw has its release event in a log that verifies.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HOST, ProcessRig } from '../support/process-rig.ts'
import { openTunnel } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

const ROUNDS = 8
const CLIENTS = 6
/** Of one exchange, about; the moment of death is spread over it. */
const SPREAD_MS = 8

let rig: ProcessRig

beforeAll(async () => {
  rig = await ProcessRig.prepare('killed')
})
afterAll(async () => {
  await rig.stop()
})

/** One request after another, a tunnel for every five, until it dies. */
async function sendUntilDeath(prefix: string): Promise<void> {
  const { server, upstream, sandbox, ca, placeholder } = rig.parts
  const proxyUrl = `http://127.0.0.1:${server.proxyPort}`
  for (let n = 0; ; ) {
    const tunnel = await openTunnel({ ...sandbox, proxyUrl, env: {} }, `${HOST}:${upstream.port}`)
    const secure = tls.connect({ socket: tunnel, ca, servername: HOST })
    const wire = new Wire(secure, (chunk) => rig.seen.push(chunk))
    for (const end = n + 5; n < end; n += 1) {
      const head = `Host: ${HOST}:${upstream.port}\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`
      wire.write(`GET /${prefix}/${n} HTTP/1.1\r\n${head}`)
      await wire.message()
    }
    secure.destroy()
  }
}

it(`J19 no value that left is without its release event after ${ROUNDS} kills at any moment, and the log verifies`, async () => {
  const { server, upstream, value } = rig.parts
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
  const recorded = rig.released()
  expect(sent.length).toBeGreaterThan(ROUNDS * CLIENTS * 4)
  expect(sent.filter((path) => !recorded.has(path))).toEqual([])
  expect(await server.command(['audit', 'verify'])).toMatchObject({ ok: true, firstBad: null })
}, 120_000)
