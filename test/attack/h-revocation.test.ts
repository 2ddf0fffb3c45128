/**
 * Revocation raced within one exchange. A value that was opened and recorded before its secret was withdrawn may still leave
 * with its exchange; nothing is opened afterwards, whatever is under way. A sandbox that is deleted loses what it has open.
 */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent, releasesOf } from '../support/audited.ts'
import { canary } from '../support/leak-check.ts'
import { ALLOWED, Rig, type RigSandbox } from '../support/rig.ts'
import { headText, openTunnel, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

let rig: Rig
/** An upstream that takes connections, and goes on with none before it is told to. */
let slow: net.Server
let waiting: Socket[]
beforeAll(async () => {
  waiting = []
  slow = net.createServer((socket) => {
    socket.on('error', () => undefined)
    waiting.push(socket)
  })
  await once(slow.listen(0, '127.0.0.1'), 'listening')
  rig = await Rig.start({ ports: [portOfSlow()] })
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  for (const socket of waiting) socket.destroy()
  slow.close()
  await rig.stop()
})

const portOfSlow = () => (slow.address() as AddressInfo).port

async function secretIn(placements: readonly string[], maxOccurrences = 1) {
  const name = `s${crypto.randomUUID().slice(0, 8)}`
  const value = canary('revoked')
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: SecretValue.fromText(value),
    hosts: [ALLOWED],
    placements,
    maxOccurrences,
  })
  const sandbox = await rig.sandboxWith(`with-${name}`, { S: name })
  const remove = () => rig.app.data.secrets.delete(rig.principal, name)
  return { value, sandbox, placeholder: secret.placeholder, remove }
}

it('H09 a secret that is deleted in the middle of an upload is put into nothing that comes later in it', async () => {
  const { value, sandbox, placeholder, remove } = await secretIn(['body'], 9)
  const wire = await openWire(rig, { sandbox })
  const framing = ['Content-Type', 'text/plain', 'Transfer-Encoding', 'chunked']
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
  wire.write(headText(rig, 'POST /upload', framing) + chunk(`first ${placeholder} then\n`.padEnd(200, '.')))
  await until(() => rig.upstream.received.includes(value))
  await remove()
  wire.write(`${chunk(`second ${placeholder} end\n`)}0\r\n\r\n`)
  expect((await wire.message()).status).toBe(200)
  wire.socket.destroy()
  const body = rig.upstream.last.body.toString()
  expect(body.split(value)).toHaveLength(2)
  expect(body).toContain(`second ${placeholder} end`)
  expect(await closingEvent(rig, { path: '/upload' })).toMatchObject({ decision: 'released', reported: 1 })
})

it('H09 requests that race a deletion have the value only when that was recorded, and never afterwards', async () => {
  for (let round = 0; round < 5; round += 1) {
    const { value, sandbox, placeholder, remove } = await secretIn(['header'])
    const path = `/race-${round}`
    const ask = () => send(rig, { path, sandbox, headers: ['Authorization', `Bearer ${placeholder}`] })
    const racing = Array.from({ length: 12 }, ask)
    if (round > 0) await until(() => rig.upstream.requests.length >= round)
    await remove()
    const late = await ask()
    const early = await Promise.all(racing)
    expect([late.status, late.error?.code]).toEqual([403, 'unknown_placeholder'])
    const sent = rig.upstream.requests.filter(({ headers }) => headers.authorization === `Bearer ${value}`)
    expect(rig.upstream.requests).toHaveLength(sent.length)
    expect(early.filter(({ status }) => status === 200)).toHaveLength(sent.length)
    expect(await releasesOf(rig, { path })).toHaveLength(sent.length)
    rig.upstream.clear()
  }
})

it('H09 an exchange that waits for its answer finishes with what it opened, and masks it', async () => {
  const { value, sandbox, placeholder, remove } = await secretIn(['header'])
  const asked = new Promise<ServerResponse>((resolve) => {
    rig.upstream.answerWith((_request, response) => resolve(response))
  })
  const answer = send(rig, { path: '/waits', sandbox, headers: ['Authorization', `Bearer ${placeholder}`] })
  const response = await asked
  await remove()
  response.end(`you said ${value}`)
  expect((await answer).body.toString()).toBe(`you said ${placeholder}`)
})

it.each([
  ['deleted', (sandbox: RigSandbox) => rig.app.data.sandboxes.delete(rig.principal, sandbox.name)],
  ['given another token', (sandbox: RigSandbox) => rig.app.data.sandboxes.rotateToken(rig.principal, sandbox.name)],
])('H09 a sandbox that is %s while its request waits for a connection sends nothing', async (_how, withdraw) => {
  const { value, sandbox, placeholder } = await secretIn(['header'])
  const connected = once(slow, 'connection')
  const tunnel = await openTunnel(sandbox, `${ALLOWED}:${portOfSlow()}`)
  const wire = new Wire(await tlsIn(tunnel), (chunk) => rig.seen.push(chunk))
  wire.write(`GET / HTTP/1.1\r\nHost: ${ALLOWED}:${portOfSlow()}\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`)
  const [socket] = (await connected) as [Socket]
  await withdraw(sandbox)
  await wire.closed
  const onwards = net.connect(rig.upstream.port, '127.0.0.1')
  onwards.on('error', () => undefined)
  const over = Promise.all([once(socket, 'close'), once(onwards, 'close')])
  socket.pipe(onwards).pipe(socket)
  await over
  expect(rig.upstream.received.includes(value)).toBe(false)
  expect(rig.upstream.requests).toEqual([])
})

async function tlsIn(socket: Socket): Promise<Socket> {
  const secure = tls.connect({ socket, servername: ALLOWED, ca: rig.app.data.authority.certificatePem })
  await once(secure, 'secureConnect')
  return secure
}
